"""The product's `enhance-prompt`: its answer's shape, whoever wrote it, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from ourvidz_worker.errors import ContentRefused, EnhancementFailed
from ourvidz_worker.local.enhance_prompt import Enhance
from ourvidz_worker.local.keys import Keys
from tests.support.embedded import RunningBackend

FUNCTION = "/functions/v1/enhance-prompt"
PRODUCTS_OWN = {
    "original_length",
    "enhanced_length",
    "expansion_percentage",
    "job_type",
    "format",
    "quality",
    "content_mode",
    "template_name",
    "model_used",
    "token_count",
    "compression_applied",
    "fallback_level",
    "execution_time_ms",
    "cache_hit",
}
ASKED = {"prompt": "a lighthouse", "jobType": "video_fast", "format": "video", "quality": "fast"}


def answer(tmp_path: Path, enhance: Enhance, body: Mapping[str, Any]) -> httpx.Response:
    """By a backend whose language worker is this."""
    with RunningBackend(tmp_path, enhance=enhance) as running:
        return httpx.post(running.url + FUNCTION, headers=running.service_headers(), json=body)


async def rewritten(question: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "success": True,
        "enhanced_prompt": f"{question['prompt']} of white stone",
        "enhancement_strategy": question["job_type"],
        "enhancement_metadata": {
            "template_name": "wan_video",
            "model_used": "tiny-qwen",
            "token_count": 9,
            "fallback_level": 0,
            "format": "its own",
            "execution_time_ms": 1234,
            "cache_hit": True,
        },
    }


def test_what_the_language_worker_wrote_in_the_products_shape(tmp_path: Path) -> None:
    document = answer(tmp_path, rewritten, ASKED).json()
    metadata = document.pop("enhancement_metadata")
    assert document == {
        "success": True,
        "original_prompt": "a lighthouse",
        "enhanced_prompt": "a lighthouse of white stone",
        "enhancement_strategy": "video_fast",
        "method": "model",
    }
    assert metadata == {
        "original_length": 12,
        "enhanced_length": 27,
        "expansion_percentage": "225.0",
        "job_type": "video_fast",
        "format": "video",
        "quality": "fast",
        "content_mode": "sfw",
        "template_name": "wan_video",
        "model_used": "tiny-qwen",
        "token_count": 9,
        "compression_applied": False,
        "fallback_level": 0,
        "execution_time_ms": 1234,
        "cache_hit": True,
    }


def test_the_language_worker_hears_of_a_wish_for_other_words_and_knows_what_is_for_adults(tmp_path: Path) -> None:
    async def told(question: Mapping[str, Any]) -> Mapping[str, Any]:
        written = "again" if question["regeneration"] else "as before"
        return {"enhanced_prompt": written, "enhancement_metadata": {"content_mode": "nsfw"}}

    document = answer(tmp_path, told, {"prompt": "a lighthouse", "jobType": "video_fast", "regeneration": True}).json()
    assert document["enhanced_prompt"] == "again"
    metadata = document["enhancement_metadata"]
    assert (metadata["content_mode"], metadata["format"], metadata["quality"]) == ("nsfw", "video", "fast")


def test_without_a_language_worker_it_says_that_a_template_did_it(http: httpx.Client) -> None:
    document = http.post(FUNCTION, json=ASKED).json()
    metadata = document["enhancement_metadata"]
    assert document["enhanced_prompt"].startswith("a lighthouse, ")
    assert (document["success"], document["method"]) == (True, "template")
    assert metadata.keys() == PRODUCTS_OWN | {"fallback_reason"}
    assert metadata["fallback_level"] > 0
    assert (metadata["model_used"], metadata["fallback_reason"]) == ("none", "no language worker is known here")


def test_where_the_language_worker_fails_a_template_steps_in_and_the_reason_is_told(tmp_path: Path) -> None:
    async def fail(_question: Mapping[str, Any]) -> Mapping[str, Any]:
        raise EnhancementFailed("the qwen worker is out of reach")

    document = answer(tmp_path, fail, ASKED).json()
    assert document["method"] == "template"
    assert document["enhancement_metadata"]["fallback_reason"] == "the qwen worker is out of reach"


def test_a_prompt_that_the_policy_refuses_is_not_rewritten_by_a_template(tmp_path: Path) -> None:
    async def refuse(_question: Mapping[str, Any]) -> Mapping[str, Any]:
        raise ContentRefused("the content policy refuses this prompt")

    refusal = answer(tmp_path, refuse, ASKED)
    assert (refusal.status_code, refusal.json()) == (
        400,
        {"success": False, "error": "the content policy refuses this prompt", "error_type": "content_policy"},
    )


@pytest.mark.parametrize(
    ("body", "mode"),
    [
        ({"prompt": "an explicit drawing"}, "nsfw"),
        ({"prompt": "a drawing"}, "sfw"),
        ({"prompt": "a drawing", "contentType": "nsfw"}, "nsfw"),
    ],
)
def test_the_content_mode_is_the_callers_or_guessed(http: httpx.Client, body: dict[str, Any], mode: str) -> None:
    assert http.post(FUNCTION, json=body).json()["enhancement_metadata"]["content_mode"] == mode


@pytest.mark.parametrize(
    ("body", "job_type"),
    [
        ({}, "image_high"),
        ({"format": "video"}, "video_high"),
        ({"job_type": "sdxl_image_fast"}, "sdxl_image_fast"),
    ],
)
def test_the_job_type_may_be_left_out(http: httpx.Client, body: dict[str, Any], job_type: str) -> None:
    document = http.post(FUNCTION, json={"prompt": "x", **body}).json()
    assert document["enhancement_metadata"]["job_type"] == job_type


@pytest.mark.parametrize("body", [{}, {"prompt": ""}, {"prompt": 7}, {"prompt": None}, {"prompt": "  "}])
def test_a_prompt_is_required(http: httpx.Client, body: dict[str, Any]) -> None:
    refusal = http.post(FUNCTION, json=body)
    assert refusal.status_code == 400
    assert refusal.json() == {"success": False, "error": "Prompt is required and must be a string"}


@pytest.mark.parametrize("name", ["nosuch", 7, ["video_fast"]])
def test_an_unknown_job_type_is_refused(http: httpx.Client, name: object) -> None:
    refusal = http.post(FUNCTION, json={"prompt": "x", "jobType": name})
    assert (refusal.status_code, "video_fast" in refusal.json()["validJobTypes"]) == (400, True)


def test_a_body_that_is_no_json_is_the_products_500(http: httpx.Client) -> None:
    refusal = http.post(FUNCTION, content=b"{")
    assert (refusal.status_code, refusal.json()["error"]) == (500, "Failed to enhance prompt")


class TestToken:
    def test_it_is_exported_and_kept(self, tmp_path: Path) -> None:
        with RunningBackend(tmp_path) as first:
            token = first.environment()["OURVIDZ_QWEN_TOKEN"]
        assert token == Keys.load(tmp_path / "keys.json").qwen_token

    def test_a_data_folder_of_before_gets_one(self, tmp_path: Path) -> None:
        keys = Keys.load(tmp_path / "keys.json")
        text = (tmp_path / "keys.json").read_text()
        (tmp_path / "keys.json").write_text(text.replace(f'"qwen_token": "{keys.qwen_token}", ', ""))
        mended = Keys.load(tmp_path / "keys.json")
        assert mended.qwen_token not in ("", keys.qwen_token)
        assert (mended.service_key, mended.redis_token) == (keys.service_key, keys.redis_token)
        assert Keys.load(tmp_path / "keys.json") == mended
