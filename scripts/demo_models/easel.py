"""Draws as the worker does: a payload through the contract, then the real engine with the demo models."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from ourvidz_worker.cli.chosen import read_catalogue, read_models
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.catalogue import ModelFamily
from ourvidz_worker.contract.envelope import Delivery
from ourvidz_worker.contract.job import ReferenceRole
from ourvidz_worker.contract.parse import parse_job
from ourvidz_worker.engines.assembly import Selection, assemble
from ourvidz_worker.engines.demo.models import WEIGHTS
from ourvidz_worker.engines.volume.tiers import EXACT, build_tier
from ourvidz_worker.ports import GenerationRequest, ReferenceImage
from scripts.demo_models.painting import Pixels

SEED = 7
_NO_SETTINGS: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Guide:
    """A reference picture, and what of it is to come back."""

    role: ReferenceRole
    pixels: Pixels
    strength: float = 0.7


class Easel:
    """Draws with one engine.

    `tier` is one of the tiers of speed that `models.toml` has for real models, and `without` names adapters to leave
    out, as a worker does that has no weights for them; both are for demo models alone.
    """

    def __init__(
        self,
        family: ModelFamily,
        *,
        selection: Selection = "demo",
        tier: str = EXACT.name,
        without: Sequence[str] = (),
    ) -> None:
        files = ConfigFiles()
        models = read_models(files)
        if models.demo and selection == "demo":
            tables = tomllib.loads(files.text("models.toml"))[family].get("tiers", {})
            changes: dict[str, Any] = {"tier": build_tier(tier, tables), **dict.fromkeys(without)}
            changed = replace(getattr(models.demo, family), **changes)
            models = replace(models, demo=replace(models.demo, **{family: changed}))
        self._catalogue = read_catalogue(files)
        self._engine = assemble(
            family,
            selection=selection,
            models=models,
            models_dir=Path(gettempdir()),
            cache_dir=Path(gettempdir()) / "ourvidz-cache",
            prompts=files.texts("prompts"),
            own_language_model=False,
        ).engine

    def draw(
        self,
        job_type: str,
        prompt: str,
        *,
        seed: int = SEED,
        negative: str = "",
        guides: Sequence[Guide] = (),
        settings: Mapping[str, Any] = _NO_SETTINGS,
    ) -> Pixels:
        """The picture or the frames, shape (n, height, width, 3); `settings` are the payload's `config`."""
        payload = {
            "id": "drawn",
            "user_id": "easel",
            "type": job_type,
            "prompt": prompt,
            "negative_prompt": negative,
            "config": {"num_images": 1, **settings},
            "metadata": {"references": [_listed(guide) for guide in guides]},
        }
        job = parse_job(Delivery(json.dumps(payload)), self._catalogue)
        references = tuple(
            ReferenceImage(reference, guide.pixels) for reference, guide in zip(job.references, guides, strict=True)
        )
        return self._engine.generate(GenerationRequest(job, job.prompt, seed, references), _ignored).frames


def _listed(guide: Guide) -> Mapping[str, Any]:
    return {"type": guide.role, "url": f"reference_images/easel/{guide.role}.png", "strength": guide.strength}


def _ignored(_done: int, _total: int) -> None: ...


def weights_digest(family: str) -> str:
    """Twelve hexadecimal digits that change with the published weights of a family."""
    digest = hashlib.sha256()
    for file in sorted((WEIGHTS / family).rglob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
