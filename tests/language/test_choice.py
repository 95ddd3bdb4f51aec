"""Which language model the settings choose."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ourvidz_worker.backend.language.openai import OpenAILanguageModel
from ourvidz_worker.cli.language import build_prompt_service
from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.engines.language.local_model import LocalLanguageModel
from ourvidz_worker.engines.language.testcard import TestCardLanguageModel
from ourvidz_worker.engines.volume.model_config import parse_models
from ourvidz_worker.errors import ContentRefused
from ourvidz_worker.settings import QwenSettings, read_settings
from tests.language.scripted import CONFIGS, PROMPTS
from tests.support.fakes import OneWordPolicy
from tests.support.stories import story

MODELS = parse_models((CONFIGS / "models.toml").read_text())
SERVER = {"OURVIDZ_LANGUAGE_MODEL_URL": "http://models.test/v1", "OURVIDZ_LANGUAGE_MODEL_NAME": "llama"}


@pytest.mark.parametrize(
    ("environment", "kind", "name"),
    [
        ({"OURVIDZ_MODELS": "real"}, LocalLanguageModel, "Qwen2.5-7B-Instruct"),
        ({"OURVIDZ_MODELS": "tiny"}, LocalLanguageModel, "tiny-qwen"),
        ({"OURVIDZ_MODELS": "demo"}, LocalLanguageModel, "demo-qwen"),
        ({"OURVIDZ_MODELS": "testcard"}, TestCardLanguageModel, "testcard"),
        ({"OURVIDZ_MODELS": "real", **SERVER}, OpenAILanguageModel, "llama"),
        ({"OURVIDZ_MODELS": "tiny", **SERVER}, OpenAILanguageModel, "llama"),
    ],
)
def test_a_server_s_address_goes_before_models_of_one_s_own(
    monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], kind: type, name: str
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    @story
    async def told() -> None:
        service = build_prompt_service(
            read_settings(QwenSettings), models=MODELS, prompts=PROMPTS, policy=OneWordPolicy()
        )
        assert isinstance(service._model._model, kind)
        assert service.model_name == name
        await service.close()

    told()


def test_only_real_checkpoints_are_adult_capable(monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue) -> None:
    told: list[bool] = []

    class Refusing(OneWordPolicy):
        def check(self, prompt: str, *, adult_capable: bool) -> None:
            told.append(adult_capable)
            raise ContentRefused("no")

    @story
    async def asked() -> None:
        service = build_prompt_service(read_settings(QwenSettings), models=MODELS, prompts=PROMPTS, policy=Refusing())
        for name in ("sdxl_image_fast", "video_fast"):
            with pytest.raises(ContentRefused):
                await service.enhance("a fox", catalogue[name], time_limit=1)
        await service.close()

    for selection in ("real", "demo", "tiny"):
        monkeypatch.setenv("OURVIDZ_MODELS", selection)
        asked()
    assert told == [MODELS.sdxl.adult_capable, MODELS.wan.adult_capable, *[False] * 4]
