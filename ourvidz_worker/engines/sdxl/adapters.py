"""The adapters of one SDXL model: loaded when a job first needs them, and evicted first when memory is short."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import StableDiffusionXLPipeline

from ourvidz_worker.engines.embedding_cache import RecentlyUsed
from ourvidz_worker.engines.fitting import Fit, fit
from ourvidz_worker.engines.residency import workspace
from ourvidz_worker.engines.residency.ranks import Rank
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.residency.weights import ModuleWeights
from ourvidz_worker.engines.sdxl.components import UNET
from ourvidz_worker.engines.sdxl.controlnets import ControlNet, load_controlnet
from ourvidz_worker.engines.sdxl.image_encoder import ImageEncoder, load_image_encoder
from ourvidz_worker.engines.sdxl.ip_adapters import IpAdapter, load_ip_adapter
from ourvidz_worker.engines.turns import TURNS
from ourvidz_worker.engines.volume.footprint import loaded_bytes
from ourvidz_worker.engines.volume.model_config import SdxlModel
from ourvidz_worker.engines.volume.safetensors_header import DamagedFile
from ourvidz_worker.errors import AdapterUnusable
from ourvidz_worker.ports import ReferenceImage

Loaded = TypeVar("Loaded", IpAdapter, ImageEncoder, ControlNet)

PICTURES_KEPT = 32


class Adapters:
    """Adapters by their keys in the table [sdxl] of `models.toml`, which are also the names of their components."""

    def __init__(
        self, model: SdxlModel, models_dir: Path, pipe: StableDiffusionXLPipeline, residency: Residency
    ) -> None:
        paths = {
            "image_encoder": model.image_encoder,
            "ip_adapter": model.ip_adapter,
            "ip_adapter_face": model.ip_adapter_face,
            "controlnet": model.controlnet,
        }
        self.style_everywhere = model.style_everywhere
        self._paths = {key: models_dir / path for key, path in paths.items() if path is not None}
        self._pipe = pipe
        self._device: torch.device = pipe.device
        self._residency = residency
        self._held: dict[str, Any] = {}
        self._embeddings: RecentlyUsed[tuple[str, Fit, str], torch.Tensor] = RecentlyUsed(PICTURES_KEPT)

    @property
    def present(self) -> frozenset[str]:
        """The keys whose weights lie on the volume now; whether they fit shows when they are loaded."""
        return frozenset(key for key, path in self._paths.items() if path.is_file() or any(path.glob("*.safetensors")))

    def ip_adapter(self, key: str) -> IpAdapter:
        return self._get(key, lambda path: load_ip_adapter(self._pipe, path))

    def controlnet(self, key: str) -> ControlNet:
        return self._get(key, lambda path: load_controlnet(path, self._pipe.unet))

    def embedding(self, key: str, image: ReferenceImage, mode: Fit) -> torch.Tensor:
        """What an IP-Adapter reads of a picture, first nothing and then the picture; each is looked at once."""
        digest = hashlib.sha256(image.pixels.tobytes() + repr(image.pixels.shape).encode()).hexdigest()
        return self._embeddings.get((key, mode, digest), lambda: self._embedded(key, image, mode))

    def _embedded(self, key: str, image: ReferenceImage, mode: Fit) -> torch.Tensor:
        adapter = self.ip_adapter(key)
        encoder = self._get("image_encoder", self._load_image_encoder)
        width = encoder.width(hidden_states=adapter.reads_hidden_states)
        if width != adapter.image_width:
            raise AdapterUnusable(
                f"{self._paths[key]} reads image embeddings of width {adapter.image_width}, and "
                f"{self._paths['image_encoder']} gives {width}; put the image encoder there that the IP-Adapter needs"
            )
        picture = fit(image.pixels, encoder.side, encoder.side, mode)
        with self._residency.stage("reference", needs=("image_encoder",), workspace=workspace.image_encoder()):
            return encoder.embedding(picture, hidden_states=adapter.reads_hidden_states)

    def _load_image_encoder(self, path: Path) -> ImageEncoder:
        return load_image_encoder(path, self._device, self._pipe.unet.dtype)

    def _get(self, key: str, load: Callable[[Path], Loaded]) -> Loaded:
        if key not in self._held:
            self._held[key] = self._loaded(key, load)
        held: Loaded = self._held[key]
        return held

    def _loaded(self, key: str, load: Callable[[Path], Loaded]) -> Loaded:
        """Adapters are fitted to the UNet, which therefore has to be on the card."""
        room = workspace.weights(key, _bytes_of(self._paths[key], self._pipe.unet.dtype))
        with (
            self._residency.stage("reference", needs=(UNET,), workspace=room),
            TURNS.loading(),
            torch.random.fork_rng(devices=[]),  # some models draw weights before they read them
        ):
            loaded = load(self._paths[key])
        self._residency.add(key, ModuleWeights(loaded.modules, self._device), rank=Rank.ADAPTER)
        return loaded


def _bytes_of(path: Path, dtype: torch.dtype) -> int:
    """Nothing for a damaged file, about which its loader has more to say."""
    try:
        return loaded_bytes(path, str(dtype).removeprefix("torch."))
    except DamagedFile:
        return 0
