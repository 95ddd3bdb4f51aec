"""Shared pieces: jobs of any type and size, and the tiny engines, built once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ourvidz_worker.contract.catalogue import Catalogue, JobType, parse_catalogue
from ourvidz_worker.contract.job import Job, Reference, ReferenceRole
from ourvidz_worker.engines.assembly import Engines, assemble
from ourvidz_worker.engines.deferred import DeferredEngine
from ourvidz_worker.engines.volume.model_config import ModelsConfig, parse_models
from ourvidz_worker.ports import GenerationRequest, ReferenceImage

CONFIGS = Path(__file__).parents[2] / "configs"

MakeRequest = Callable[..., GenerationRequest]


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return parse_catalogue((CONFIGS / "job_types.toml").read_text())


@pytest.fixture(scope="session")
def models() -> ModelsConfig:
    return parse_models((CONFIGS / "models.toml").read_text())


@pytest.fixture(scope="session")
def prompts() -> Mapping[str, str]:
    return {path.stem: path.read_text() for path in (CONFIGS / "prompts").iterdir()}


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models stay between runs where OURVIDZ_CACHE names a place for them."""
    configured = os.environ.get("OURVIDZ_CACHE")
    return Path(configured) if configured else tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny_sdxl(models: ModelsConfig, cache_dir: Path, prompts: Mapping[str, str]) -> Engines:
    return _built(
        assemble(
            "sdxl", selection="tiny", models=models, models_dir=Path("unused"), cache_dir=cache_dir, prompts=prompts
        )
    )


@pytest.fixture(scope="session")
def tiny_wan(models: ModelsConfig, cache_dir: Path, prompts: Mapping[str, str]) -> Engines:
    return _built(
        assemble(
            "wan", selection="tiny", models=models, models_dir=Path("unused"), cache_dir=cache_dir, prompts=prompts
        )
    )


def _built(engines: Engines) -> Engines:
    """With the engine itself, for tests that reach inside."""
    assert isinstance(engines.engine, DeferredEngine)
    return replace(engines, engine=engines.engine.itself())


@pytest.fixture(scope="session")
def make_request(catalogue: Catalogue) -> MakeRequest:
    """A request for a job type with four steps at 256x256 and nine frames, unless told otherwise."""

    def make(
        name: str, *, seed: int = 7, references: tuple[ReferenceImage, ...] = (), **changes: Any
    ) -> GenerationRequest:
        job = replace(_job(catalogue[name]), **changes)
        return GenerationRequest(job, job.prompt, seed, references)

    return make


@pytest.fixture(scope="session")
def make_reference() -> Callable[..., ReferenceImage]:
    """A picture with structure: a gradient with a bright square, told apart by `shade`."""

    def make(role: ReferenceRole, *, strength: float = 0.7, shade: int = 200) -> ReferenceImage:
        pixels = np.zeros((90, 160, 3), dtype=np.uint8)
        pixels[..., 0] = np.linspace(0, 255, 160, dtype=np.uint8)
        pixels[30:60, 60:100] = shade
        return ReferenceImage(Reference(role, "reference_images/u/ref.png", strength, "reference_image_url"), pixels)

    return make


def _job(job_type: JobType) -> Job:
    frames = 9 if job_type.media == "video" else 1
    return Job(
        id="job-1",
        type=job_type,
        user_id="user-1",
        prompt="a lighthouse on a cliff at dawn",
        negative_prompt="blurry" if job_type.model_family == "sdxl" else "",
        bucket=job_type.bucket,
        num_images=1,
        seed=None,
        width=256,
        height=256,
        num_frames=frames,
        requested_frames=frames,
        num_inference_steps=4,
        guidance_scale=job_type.guidance_scale,
        solver=job_type.solver,
        flow_shift=job_type.flow_shift,
    )
