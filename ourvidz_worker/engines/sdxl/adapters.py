"""The adapters of one SDXL model: loaded when a job first needs them, and held until memory is short."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import StableDiffusionXLPipeline

from ourvidz_worker.engines.embedding_cache import RecentlyUsed
from ourvidz_worker.engines.fitting import Fit, fit
from ourvidz_worker.engines.sdxl.controlnets import ControlNet, load_controlnet
from ourvidz_worker.engines.sdxl.image_encoder import ImageEncoder, load_image_encoder
from ourvidz_worker.engines.sdxl.ip_adapters import IpAdapter, load_ip_adapter
from ourvidz_worker.engines.volume.model_config import SdxlModel
from ourvidz_worker.errors import AdapterUnusable
from ourvidz_worker.ports import ReferenceImage

Loaded = TypeVar("Loaded", IpAdapter, ImageEncoder, ControlNet)

PICTURES_KEPT = 32


class Adapters:
    """Adapters by their keys in the table [sdxl] of `models.toml`."""

    def __init__(self, model: SdxlModel, models_dir: Path, pipe: StableDiffusionXLPipeline) -> None:
        paths = {
            "image_encoder": model.image_encoder,
            "ip_adapter": model.ip_adapter,
            "ip_adapter_face": model.ip_adapter_face,
            "controlnet": model.controlnet,
        }
        self._paths = {key: models_dir / path for key, path in paths.items() if path is not None}
        self._pipe = pipe
        self._held: dict[str, Any] = {}
        self._in_use: Collection[str] = ()
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

    @contextmanager
    def in_use(self, keys: Collection[str]) -> Iterator[None]:
        """While a job draws with these, they are not evicted."""
        self._in_use = keys
        try:
            yield
        finally:
            self._in_use = ()

    def evict_idle(self) -> list[str]:
        """Drop what the job at hand does not use, and return the names of what was dropped."""
        idle = [key for key in self._held if key not in self._in_use]
        for key in idle:
            del self._held[key]
        return idle

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
        return encoder.embedding(picture, hidden_states=adapter.reads_hidden_states)

    def _load_image_encoder(self, path: Path) -> ImageEncoder:
        return load_image_encoder(path, self._pipe.unet.device, self._pipe.unet.dtype)

    def _get(self, key: str, load: Callable[[Path], Loaded]) -> Loaded:
        if key not in self._held:
            with torch.random.fork_rng(devices=[]):  # some models draw weights before they read them
                self._held[key] = load(self._paths[key])
        held: Loaded = self._held[key]
        return held
