"""`models fetch --needed`: what the workers of this pod load, and nothing else."""

from __future__ import annotations

import pytest

from ourvidz_worker.cli.models.needed import needed_parts
from ourvidz_worker.settings import QwenSettings, read_settings
from tests.support.said import said_by, set_environment


@pytest.mark.parametrize(
    ("variables", "parts"),
    [
        ({}, ("sdxl", "wan", "qwen")),
        ({"OURVIDZ_WORKERS": "sdxl"}, ("sdxl",)),
        ({"OURVIDZ_WORKERS": "wan"}, ("wan", "qwen")),
        ({"OURVIDZ_WORKERS": "qwen"}, ("qwen",)),
        ({"OURVIDZ_LANGUAGE_MODEL_URL": "https://vllm.example"}, ("sdxl", "wan")),
        ({"OURVIDZ_WORKERS": "wan,qwen", "OURVIDZ_LANGUAGE_MODEL_URL": "https://vllm.example"}, ("wan",)),
        ({"OURVIDZ_ENHANCER_URL": "https://qwen.example", "OURVIDZ_QWEN_TOKEN": "token"}, ("sdxl", "wan")),
        ({"OURVIDZ_MODELS": "testcard"}, ()),
        ({"OURVIDZ_MODELS": "demo"}, ()),
        ({"OURVIDZ_MODELS": "tiny", "OURVIDZ_WORKERS": "qwen"}, ()),
    ],
    ids=str,
)
def test_each_worker_needs_its_own(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], parts: tuple[str, ...]
) -> None:
    set_environment(monkeypatch, variables)
    assert needed_parts(read_settings(QwenSettings)) == parts


def test_the_command_looks_at_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    set_environment(
        monkeypatch, {"OURVIDZ_WORKERS": "qwen", "OURVIDZ_MODELS_DIR": str(tmp_path_factory.mktemp("models"))}
    )
    said = said_by(capsys, "models", "verify", "--needed", "--json")
    assert said.code == 1
    assert "qwen.path" in said.out
    assert "wan.path" not in said.out
    monkeypatch.setenv("OURVIDZ_MODELS", "tiny")
    assert said_by(capsys, "models", "fetch", "--needed").out == "models: the workers of this pod need no weights\n"
    assert said_by(capsys, "models", "fetch", "--needed", "wan").code == 2
