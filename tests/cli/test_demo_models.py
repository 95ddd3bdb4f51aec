"""What an operator's commands say of the models that ship with the package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ourvidz_worker.cli.doctor.weights import examine_weights
from ourvidz_worker.settings import QwenSettings, read_settings
from tests.support.demo_shelf import FILES, Shelf
from tests.support.said import said_by, set_environment


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf(tmp_path, monkeypatch)
    set_environment(
        monkeypatch,
        {
            "OURVIDZ_MODELS": "demo",
            "OURVIDZ_MODELS_DIR": str(tmp_path / "volume"),
        },
    )
    return shelf


class TestTheDoctor:
    def looks(self, shelf: Shelf) -> Iterator[tuple[bool, str]]:
        for diagnosis in examine_weights(read_settings(QwenSettings), shelf.models()):
            yield diagnosis.finding.ok, diagnosis.finding.sentence

    def test_it_finds_them_whole(self, shelf: Shelf) -> None:
        whole = "OURVIDZ_MODELS=demo: the small {} models that ship with this package are whole"
        assert list(self.looks(shelf)) == [(True, whole.format(part)) for part in ("sdxl", "wan", "qwen")]

    def test_it_names_what_is_damaged(self, shelf: Shelf) -> None:
        shelf.write("wan/model_index.json", "{}")
        damage = f"{shelf.weights}/wan/model_index.json has 2 bytes instead of 20"
        assert [sentence for ok, sentence in self.looks(shelf) if not ok] == [damage]

    def test_it_looks_at_nothing_that_no_worker_loads(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OURVIDZ_WORKERS", "sdxl")
        shelf.write("qwen/config.json", "{}")
        assert [ok for ok, _ in self.looks(shelf)] == [True]


class TestTheModelsCommand:
    def test_they_are_listed_besides_the_volume_s(self, shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
        said = said_by(capsys, "models", "list")
        assert "demo.wan: ships with this package" in said.out
        assert "demo" not in said_by(capsys, "models", "list", "wan").out
        document = said_by(capsys, "models", "list", "--json").document
        assert sum(stock["files"] for stock in document["demo"]) == len(FILES)

    def test_they_are_verified(self, shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
        said = said_by(capsys, "models", "verify", "demo")
        assert (said.code, said.err) == (0, "")
        assert "demo.sdxl: whole (files: 4, compared by hash: 4)" in said.out
        (shelf.weights / "qwen/config.json").unlink()
        said = said_by(capsys, "models", "verify", "demo")
        assert said.code == 1
        assert said.err == (
            f"demo.qwen: {shelf.weights}/qwen/config.json is missing; "
            "install the package again, or check the file out again\n"
        )

    def test_there_is_nothing_to_fetch_or_to_convert(self, shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
        said = said_by(capsys, "models", "fetch", "demo")
        assert (said.code, said.out) == (0, "demo: ships with this package, there is nothing to fetch\n")
        assert said_by(capsys, "models", "convert", "demo").code == 0
        said = said_by(capsys, "models", "fetch", "--needed")
        assert (said.code, said.out) == (0, "models: the workers of this pod need no weights\n")
