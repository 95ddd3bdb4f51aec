"""The bodies and the signature of the callback, in both profiles (contract section 5)."""

from __future__ import annotations

import hashlib
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ourvidz_worker.contract.callback import (
    PROFILES,
    SIGNATURE_HEADER,
    Callback,
    CallbackProfile,
    CallbackStatus,
    ReportedAsset,
    callback_body,
    callback_signature,
)
from tests.contract.samples import JOB_ID, PROPERTY, USER_ID

THUMBNAIL = f"{USER_ID}/{JOB_ID}_0.thumb.webp"
IMAGE = ReportedAsset(f"{USER_ID}/{JOB_ID}_0.png", "image", 1024, 576, seed=42, thumbnail_key=THUMBNAIL)
VIDEO = ReportedAsset(f"{USER_ID}/{JOB_ID}.mp4", "video", 480, 832, seed=7, duration=5.0625)
METADATA = {"generation_time": 3.5, "seed": 42, "seeds": [42], "model_type": "sdxl", "retryable": None}

profiles = pytest.mark.parametrize("profile", PROFILES)
texts = st.text(st.characters())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(texts, values, max_size=3),
    max_leaves=8,
)


def spoken(callback: Callback, profile: CallbackProfile) -> dict[str, Any]:
    """The body as a strict reader of UTF-8 and JSON takes it."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    body: dict[str, Any] = json.loads(callback_body(callback, profile).decode(), parse_constant=refuse)
    return body


def written(text: str) -> str:
    """A text as UTF-8 can carry it."""
    return text.encode(errors="replace").decode()


def test_both_profiles_and_the_three_statuses() -> None:
    """'status not one of the three | 400 | never sends it'"""
    assert set(PROFILES) == {"2025-07", "2026-02"}
    assert set(get_args(CallbackStatus)) == {"processing", "completed", "failed"}


def test_completed_in_2025_07() -> None:
    """'`assets` are strings: an object in the list fails the call.'"""
    assert spoken(Callback(JOB_ID, "completed", (IMAGE, VIDEO), metadata=METADATA), "2025-07") == {
        "job_id": JOB_ID,
        "status": "completed",
        "assets": [IMAGE.key, VIDEO.key],
        "error_message": None,
        "metadata": METADATA,
    }


def test_completed_in_2026_02() -> None:
    """'Profile `2026-02`: assets are `{"type","url","thumbnail_url","metadata":{"seed","width","height","format",…}}`
    … There, string assets are silently dropped.'
    """
    assert spoken(Callback(JOB_ID, "completed", (IMAGE, VIDEO), metadata=METADATA), "2026-02") == {
        "job_id": JOB_ID,
        "status": "completed",
        "assets": [
            {
                "type": "image",
                "url": IMAGE.key,
                "thumbnail_url": THUMBNAIL,
                "metadata": {"seed": 42, "width": 1024, "height": 576, "format": "png"},
            },
            {
                "type": "video",
                "url": VIDEO.key,
                "thumbnail_url": None,
                "metadata": {"seed": 7, "width": 480, "height": 832, "format": "mp4", "duration": 5.0625},
            },
        ],
        "error_message": None,
        "metadata": METADATA,
    }


@profiles
def test_processing_and_failed(profile: CallbackProfile) -> None:
    assert spoken(Callback(JOB_ID, "processing"), profile) == {
        "job_id": JOB_ID,
        "status": "processing",
        "assets": [],
        "error_message": None,
        "metadata": {},
    }
    failed = spoken(Callback(JOB_ID, "failed", error_message="The picture is missing."), profile)
    assert (failed["status"], failed["assets"]) == ("failed", [])
    assert failed["error_message"] == "The picture is missing."


@profiles
def test_an_enhanced_prompt_is_spelled_both_ways(profile: CallbackProfile) -> None:
    """'plus `enhanced_prompt` and `enhancedPrompt` where a prompt was enhanced'"""
    enhanced = spoken(Callback(JOB_ID, "completed", (IMAGE,), enhanced_prompt="a tall lighthouse"), profile)
    assert enhanced["enhanced_prompt"] == enhanced["enhancedPrompt"] == "a tall lighthouse"
    plain = spoken(Callback(JOB_ID, "completed", (IMAGE,)), profile)
    assert not {"enhanced_prompt", "enhancedPrompt"} & plain.keys()


def test_completed_without_assets_is_never_sent() -> None:
    """'`completed` with no assets | 200 and a broken record | never sends it'"""
    with pytest.raises(ValueError, match=f"{JOB_ID} cannot be reported completed without assets"):
        Callback(JOB_ID, "completed")


@pytest.mark.parametrize("message", [None, ""])
def test_failed_without_a_sentence_is_never_sent(message: str | None) -> None:
    with pytest.raises(ValueError, match=f"{JOB_ID} cannot be reported failed without an error message"):
        Callback(JOB_ID, "failed", error_message=message)


@profiles
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_body_that_is_no_json_is_never_made(profile: CallbackProfile, number: float) -> None:
    """'any failure at all, passing or final | 400': NaN would be answered like a passing failure for ever."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        callback_body(Callback(JOB_ID, "processing", metadata={"generation_time": number}), profile)


@profiles
@given(message=texts.filter(bool), prompt=texts, metadata=st.dictionaries(texts, json_values, max_size=3))
@PROPERTY
def test_any_text_becomes_a_valid_body(
    profile: CallbackProfile, message: str, prompt: str, metadata: dict[str, Any]
) -> None:
    """Even half of a surrogate pair in a message does not keep a job from being reported."""
    failed = Callback(JOB_ID, "failed", error_message=message, metadata=metadata, enhanced_prompt=prompt)
    body = spoken(failed, profile)
    keys = {"job_id", "status", "assets", "error_message", "metadata", "enhanced_prompt", "enhancedPrompt"}
    assert body.keys() == keys
    assert body["error_message"] == written(message)
    assert body["enhanced_prompt"] == written(prompt)


@profiles
def test_text_beyond_ascii_is_sent_as_it_is(profile: CallbackProfile) -> None:
    prompt = 'ein Turm, "灯台" 🗼\n\\'
    assert spoken(Callback(JOB_ID, "processing", enhanced_prompt=prompt), profile)["enhanced_prompt"] == prompt


def independent_hmac(key: bytes, message: bytes) -> str:
    """RFC 2104, spelled out."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).hexdigest()


def test_the_signature_of_a_published_example() -> None:
    """'`X-Callback-Signature: sha256=<lowercase hex HMAC-SHA256(JOB_CALLBACK_SECRET, exact body bytes)>`';
    RFC 4231, test case 2.
    """
    assert SIGNATURE_HEADER == "X-Callback-Signature"
    assert callback_signature(b"what do ya want for nothing?", "Jefe") == (
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


@given(body=st.binary(max_size=300), secret=st.text(min_size=1, max_size=100))
@PROPERTY
def test_the_signature_is_the_hmac_of_the_exact_bytes(body: bytes, secret: str) -> None:
    signature = callback_signature(body, secret)
    assert signature == f"sha256={independent_hmac(secret.encode(), body)}"
    assert signature != callback_signature(body + b" ", secret)
    assert signature != callback_signature(body, f"{secret}!")


@profiles
def test_the_same_report_is_the_same_bytes(profile: CallbackProfile) -> None:
    """'`completed` twice | 200, same result | may resend freely'"""
    callback = Callback(JOB_ID, "completed", (IMAGE,), metadata=METADATA)
    assert callback_body(callback, profile) == callback_body(callback, profile)
