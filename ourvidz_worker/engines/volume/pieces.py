"""What `models.toml` asks for on the volume, key by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ourvidz_worker.engines.volume.kinds import Kind
from ourvidz_worker.engines.volume.model_config import ModelsConfig, Part, SdxlModel
from ourvidz_worker.engines.volume.sources import Source


@dataclass(frozen=True, slots=True)
class Piece:
    """The weights behind one key: `path` is where they lie, and `kinds` what they may be (anything, if empty).

    `contents` are what a single file must hold: by the start of tensors' names what they make up, and what to do
    where they are not in it. Without an `optional` piece the part still runs, and does less.
    """

    part: Part
    key: str
    path: Path
    kinds: tuple[Kind, ...] = ()
    optional: bool = False
    source: Source | None = None
    contents: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.part}.{self.key}"

    @property
    def label(self) -> str:
        return f"[{self.part}] {self.key}"

    @property
    def fetching(self) -> str:
        """What a person does to get it from its source."""
        return f"run `ourvidz-worker models fetch {self.name}`"


def all_pieces(models: ModelsConfig, models_dir: Path) -> list[Piece]:
    """In the order of the file; keys that are not set ask for nothing."""
    return list(_pieces(models, models_dir))


def pieces_of(models: ModelsConfig, models_dir: Path, part: Part) -> list[Piece]:
    return [piece for piece in _pieces(models, models_dir) if piece.part == part]


def _pieces(models: ModelsConfig, models_dir: Path) -> Iterator[Piece]:
    sdxl, wan, qwen = models.sdxl, models.wan, models.qwen
    union = (Kind.CONTROLNET_UNION, Kind.CONTROLNET)
    asked: tuple[tuple[Part, str, str | None, tuple[Kind, ...], bool], ...] = (
        ("sdxl", "path", sdxl.path, (Kind.SDXL,), False),
        ("sdxl", "vae", sdxl.vae, (Kind.VAE,), False),
        ("sdxl", "image_encoder", sdxl.image_encoder, (Kind.IMAGE_ENCODER,), True),
        ("sdxl", "ip_adapter", sdxl.ip_adapter, (Kind.IP_ADAPTER, Kind.IP_ADAPTER_PLUS), True),
        ("sdxl", "ip_adapter_face", sdxl.ip_adapter_face, (Kind.IP_ADAPTER_PLUS,), True),
        ("sdxl", "controlnet", sdxl.controlnet, union, True),
        ("sdxl", "tier.distilled_lora", sdxl.tier.distilled_lora, (Kind.LORA,), False),
        ("wan", "path", wan.path, (Kind.WAN,), False),
        ("wan", "vace", wan.vace, (Kind.WAN_VACE,), True),
        ("wan", "tier.distilled_lora", wan.tier.distilled_lora, (Kind.LORA,), False),
        ("qwen", "path", qwen.path, (), False),
    )
    for part, key, path, kinds, optional in asked:
        if path is not None:
            source = next((source for source in models.sources if source.provides(path)), None)
            contents = _checkpoint_contents(sdxl) if (part, key) == ("sdxl", "path") else {}
            yield Piece(part, key, models_dir / path, kinds, optional, source, contents)


def _checkpoint_contents(sdxl: SdxlModel) -> Mapping[str, tuple[str, str]]:
    whole = "point the key at a whole checkpoint"
    vae = {"first_stage_model.": ("VAE", f"set [sdxl] vae to one, or {whole}")} if sdxl.vae is None else {}
    return {"conditioner.embedders.0.": ("first text encoder", whole)} | vae
