"""Elements that stay JSON while their structure changes: what mutations of bytes would take ages to find."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.contract.samples import CATALOGUE, JOB_ID, PICTURE, RECORDED

_OTHER_NAMES = """
    data job_type references url strength resolution width height steps num_inference_steps guidance_scale
    start_reference_image_url end_reference_image_url first_frame last_frame sample_steps sample_guide_scale
    sample_shift ourvidz_redelivery attempt history element started __proto__
"""
_OTHER_WORDS = """
    style composition character start end start_frame end_frame unipc a ../a 0 1 1_0 nan inf 1e999 42.0 0.5
    480*832 1024x1024 999999x8 2026-02-28T23:59:59+23:59 0001-01-01 9999-12-31 reference_images/u/ref.png
"""
NAMES = sorted(
    {name for job in RECORDED.values() for part in (job, job["config"], job["metadata"] or {}) for name in part}
    | {*_OTHER_NAMES.split()}
)
WORDS = (
    *CATALOGUE,
    *CATALOGUE.buckets,
    *_OTHER_WORDS.split(),
    *("", " ", JOB_ID, PICTURE),
)
_HAZARDS = ("a\x00b", "a\ud800b", "a\udcffb", "\u202e\u200b\n\x1b[31m", "9" * 400)
_NUMBERS = (0, 1, 3, 6, -1, 0.5, 16, 81, 83, 480, 832, 1024, 2**31, 2**53, 2**63, 10**300, 10**400, 1e308, -0.0)
_OTHERS: tuple[Any, ...] = (None, True, False, float("nan"), float("inf"), {}, [])


def bent(element: bytes, random: Random) -> bytes:
    """The element with some values, names or wrappings changed. Raises `ValueError` when it is not JSON."""
    document = json.loads(element)
    for _ in range(random.randint(1, 3)):
        document = _bent(document, random)
    text = _spelled(document, random)
    if random.random() < 0.1:
        text = text.replace("{", '{"id":"twice",', 1)
    return text.encode("utf-8", "surrogatepass")


def _bent(value: Any, random: Random) -> Any:
    """Changes happen at every level: the value itself, or something inside it."""
    if isinstance(value, str) and value[:1] in ("{", "[", '"') and random.random() < 0.8:
        try:
            return _spelled(_bent(json.loads(value), random), random)
        except ValueError:
            return value
    if isinstance(value, dict) and value and random.random() < 0.9:
        return _bent_members(value, random)
    if isinstance(value, list) and value and random.random() < 0.9:
        position = random.randrange(len(value))
        return [*value[:position], _bent(value[position], random), *value[position + (random.random() < 0.8) :]]
    return _other(value, random)


def _bent_members(members: dict[str, Any], random: Random) -> dict[str, Any]:
    name = random.choice([*members])
    change = random.randrange(5)
    if change == 0:
        return {other: value for other, value in members.items() if other != name}
    if change == 1:
        return {random.choice(NAMES) if other == name else other: value for other, value in members.items()}
    if change == 2:
        return members | {random.choice(NAMES): _other(members[name], random)}
    return members | {name: _bent(members[name], random)}


def _spelled(value: Any, random: Random) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=random.random() < 0.5)


def _other(value: Any, random: Random) -> Any:
    wrapped = ([value], {"data": value}, {"url": value, "type": "style"}, _spelled(value, random), str(value))
    choices: tuple[tuple[Any, ...], ...] = (WORDS, _HAZARDS, _NUMBERS, _OTHERS, wrapped)
    return random.choice(random.choice(choices))
