"""Choosing engines: the right ones, without libraries that the choice does not need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ourvidz_worker.contract.catalogue import ModelFamily
from ourvidz_worker.engines.assembly import Engines, assemble
from ourvidz_worker.engines.deferred import DeferredEngine
from ourvidz_worker.engines.volume.model_config import ModelsConfig
from ourvidz_worker.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
IMPORTS_OF_A_WORKER = """
import sys
from pathlib import Path
from ourvidz_worker import errors
from ourvidz_worker.engines import assembly
from ourvidz_worker.engines.volume import model_config, weights
heavy = {"torch", "diffusers", "transformers"}
assert not (heavy | {"numpy", "av", "PIL"}) & set(sys.modules), "importing the module"
models = model_config.parse_models(Path("configs/models.toml").read_text())
prompts = {path.stem: path.read_text() for path in Path("configs/prompts").iterdir()}
weights.missing_weights(models, Path("nowhere"), "wan")
for selection in ("testcard", "tiny", "demo", "real"):
    for family in ("sdxl", "wan"):
        assembly.assemble(
            family, selection=selection, models=models, models_dir=Path(), cache_dir=Path(), prompts=prompts
        )
    assembly.assemble_language(selection=selection, models=models, models_dir=Path(), cache_dir=Path())
try:
    assembly.assemble(
        "wan", selection="real", models=models, models_dir=Path("nowhere"), cache_dir=Path(), prompts=prompts
    ).engine.load()
except errors.ConfigurationError:
    pass
assert not heavy & set(sys.modules), "assembling, and missing weights"
"""


def test_assembling_and_the_look_for_weights_do_without_torch() -> None:
    subprocess.run([sys.executable, "-c", IMPORTS_OF_A_WORKER], cwd=ROOT, check=True)


def test_tiny_engines_carry_their_own_name(tiny_sdxl: Engines, tiny_wan: Engines) -> None:
    assert tiny_sdxl.engine.model_name == "tiny-sdxl"
    assert tiny_wan.engine.model_name == "tiny-wan"


@pytest.mark.parametrize("family", ["sdxl", "wan"])
def test_missing_real_weights_stop_the_engine_and_are_never_replaced(
    family: ModelFamily, models: ModelsConfig, prompts: Mapping[str, str], tmp_path: Path
) -> None:
    engines = assemble(
        family, selection="real", models=models, models_dir=tmp_path, cache_dir=tmp_path, prompts=prompts
    )
    with pytest.raises(ConfigurationError) as caught:
        engines.engine.load()
    assert str(tmp_path) in caught.value.problems[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("family", ["sdxl", "wan"])
def test_both_families_have_one_rule_for_references_of_another_shape(
    family: ModelFamily, models: ModelsConfig, prompts: Mapping[str, str], tmp_path: Path
) -> None:
    engines = assemble(
        family,
        selection="tiny",
        models=models,
        models_dir=tmp_path,
        cache_dir=tmp_path,
        prompts=prompts,
        reference_fit="pad",
    )
    assert isinstance(engines.engine, DeferredEngine)
    assert vars(engines.engine.itself())["_fit"] == "pad"
