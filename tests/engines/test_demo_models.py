"""The models that ship with the package: what is listed is there and unchanged, and what is not listed is not used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ourvidz_worker.cli.chosen import read_models
from ourvidz_worker.config_files import ConfigFiles
from ourvidz_worker.contract.catalogue import ModelFamily
from ourvidz_worker.engines.assembly import assemble, assemble_language
from ourvidz_worker.engines.demo.models import PARTS, WEIGHTS, files_of, findings, require_shipped, shipped_models
from ourvidz_worker.engines.volume.model_config import ModelsConfig, parse_models
from ourvidz_worker.errors import ConfigurationError, ModelUnavailable
from scripts.demo_models.sums import rewrite, shipped_files
from tests.engines.test_model_config import GOOD
from tests.support.demo_shelf import Shelf
from tests.support.stories import story

MOST_BYTES = 40_000_000


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    return Shelf(tmp_path, monkeypatch)


class TestTheShippedOnes:
    def test_every_file_is_listed_and_every_listed_file_is_there(self, models: ModelsConfig) -> None:
        assert models.demo is not None
        there = [file.relative_to(WEIGHTS).as_posix() for file in shipped_files()]
        assert [file.name for file in models.demo.files] == there

    def test_they_are_what_the_list_says(self, models: ModelsConfig) -> None:
        demo = shipped_models(models)
        assert [problem for part in PARTS if files_of(demo, part) for problem in findings(demo, part)] == []

    def test_they_are_small(self, models: ModelsConfig) -> None:
        assert models.demo is not None
        assert sum(file.bytes for file in models.demo.files) <= MOST_BYTES


class TestTheLook:
    def test_sound_ones_pass(self, shelf: Shelf) -> None:
        demo = shipped_models(shelf.models())
        for part in PARTS:
            require_shipped(demo, part)

    @pytest.mark.parametrize(
        ("name", "text", "problem"),
        [
            ("wan/vace/config.json", None, "is missing"),
            ("wan/vace/config.json", "{}", "has 2 bytes instead of 20"),
            ("wan/vace/config.json", "WAN/vace/config.json", "is damaged: its SHA-256 is "),
            ("qwen/config.json", "QWEN/config.json", "is damaged: its SHA-256 is "),
        ],
    )
    def test_what_is_missing_or_changed_is_a_sentence_with_a_cure(
        self, shelf: Shelf, name: str, text: str | None, problem: str
    ) -> None:
        demo = shipped_models(shelf.models())
        shelf.write(name, text) if text else (shelf.weights / name).unlink()
        with pytest.raises(ConfigurationError) as caught:
            require_shipped(demo, "wan")
        [said] = caught.value.problems
        assert said.startswith(f"{shelf.weights / name} {problem}")
        assert said.endswith("; install the package again, or check the file out again")
        require_shipped(demo, "sdxl")

    def test_what_changes_later_is_found_by_the_next_look(self, shelf: Shelf) -> None:
        demo = shipped_models(shelf.models())
        require_shipped(demo, "qwen")
        shelf.write("qwen/config.json", "QWEN/config.json")
        assert "is damaged" in findings(demo, "qwen")[0]

    def test_a_language_model_elsewhere_is_not_looked_at(self, shelf: Shelf) -> None:
        demo = shipped_models(shelf.models())
        (shelf.weights / "qwen/config.json").unlink()
        require_shipped(demo, "wan", own_language_model=False)
        with pytest.raises(ConfigurationError):
            require_shipped(demo, "wan")

    def test_a_family_that_does_not_ship_is_a_sentence(self, shelf: Shelf) -> None:
        (shelf.weights / "qwen/config.json").unlink()
        shelf.publish()
        said = "OURVIDZ_MODELS=demo: no demo models of qwen ship with this version; choose real, tiny or testcard"
        assert findings(shipped_models(shelf.models()), "qwen") == [said]

    def test_adapters_that_are_not_listed_are_not_there(self, shelf: Shelf) -> None:
        shelf.write("sdxl/adapters/ip_adapter_face.safetensors")
        shelf.write("sdxl/adapters/controlnet/config.json")
        demo = shipped_models(shelf.models())
        assert demo.sdxl.ip_adapter == "sdxl/adapters/ip_adapter.safetensors"
        assert demo.sdxl.image_encoder == "sdxl/adapters/image_encoder"
        assert (demo.sdxl.ip_adapter_face, demo.sdxl.controlnet) == (None, None)
        assert demo.wan.vace == "wan/vace"

    def test_a_configuration_without_any_is_a_sentence(self) -> None:
        with pytest.raises(ConfigurationError, match="no demo models of any kind ship with this version"):
            shipped_models(parse_models(GOOD))


class TestTheEngines:
    @pytest.mark.parametrize("family", ["sdxl", "wan"])
    def test_they_look_before_they_load(
        self, family: ModelFamily, shelf: Shelf, prompts: Mapping[str, str], tmp_path: Path
    ) -> None:
        engine = assemble(
            family, selection="demo", models=shelf.models(), models_dir=tmp_path, cache_dir=tmp_path, prompts=prompts
        ).engine
        assert engine.model_name == f"demo-{family}"
        (shelf.weights / family / "model_index.json").unlink()
        with pytest.raises(ConfigurationError, match="is missing; install the package again"):
            engine.load()

    @story
    async def test_so_does_the_language_model(self, shelf: Shelf, tmp_path: Path) -> None:
        model, sampling = assemble_language(
            selection="demo", models=shelf.models(), models_dir=tmp_path, cache_dir=tmp_path
        )
        assert (model.model_name, sampling.temperature) == ("demo-qwen", 0.7)
        (shelf.weights / "qwen/config.json").unlink()
        with pytest.raises((ConfigurationError, ModelUnavailable), match="is missing; install the package again"):
            await model.load()
        await model.close()


class TestTheList:
    def test_written_twice_it_stays_the_same(self, shelf: Shelf) -> None:
        once = shelf.text()
        shelf.publish()
        assert shelf.text() == once
        assert once.startswith("# Where the weights lie")

    def test_nothing_behind_it_is_lost(self, shelf: Shelf) -> None:
        file = shelf.configs / "models.toml"
        file.write_text(f"{shelf.text()}\n[card]\n")
        with pytest.raises(ValueError, match=r"must end with the table \[demo.files\]"):
            rewrite(file, shelf.weights)
        assert file.read_text().endswith("[card]\n")

    def test_files_that_are_nobody_s_are_left_out(self, shelf: Shelf) -> None:
        shelf.write("sdxl/.DS_Store")
        once = shelf.text()
        shelf.publish()
        assert shelf.text() == once


class TestAnOperatorsOwnFile:
    def test_it_need_not_tell_of_them(self, tmp_path: Path, models: ModelsConfig) -> None:
        (tmp_path / "models.toml").write_text(GOOD)
        read = read_models(ConfigFiles(tmp_path))
        assert read.sdxl.model_name == "m"
        assert read.demo == models.demo

    def test_it_may_say_how_they_are_held_but_not_what_ships(self, shelf: Shelf, tmp_path: Path) -> None:
        """A copy that was made of an older version's would otherwise make sound files damaged ones."""
        own = tmp_path / "own"
        own.mkdir()
        older = shelf.text().replace('dtype = "float32" ', 'dtype = "bfloat16"')
        (own / "models.toml").write_text(older)
        shelf.write("qwen/config.json", "{}")
        shelf.publish()
        demo = shipped_models(read_models(ConfigFiles(own)))
        assert demo.sdxl.dtype == "bfloat16"
        assert findings(demo, "qwen") == []
