"""The shipped catalogue, the recorded payloads, and small valid payloads for a test to bend."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.contract.envelope import Delivery, open_delivery
from ourvidz_worker.contract.job import Job
from ourvidz_worker.contract.parse import parse_job
from ourvidz_worker.contract.payload_error import PayloadError

ROOT = Path(__file__).parents[2]
CATALOGUE_TEXT = (ROOT / "configs" / "job_types.toml").read_text(encoding="utf-8")
CATALOGUE = parse_catalogue(CATALOGUE_TEXT)
RECORDED: Mapping[str, dict[str, Any]] = {
    path.name.removesuffix(".json"): json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "tests" / "payloads").glob("*.json"))
}

JOB_ID = "7a1c0c52-0000-4000-8000-000000000001"
USER_ID = "b1f0c1de-0000-4000-8000-00000000a001"
PICTURE = "https://storage.example/object/sign/reference_images/u/ref.png?token=abc"

PROPERTY = settings(deadline=None, max_examples=120)
texts = st.text(st.characters())
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
json_values = st.recursive(
    scalars,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(texts, values, max_size=4),
    max_leaves=12,
)


def compact(value: object) -> str:
    """JSON as `JSON.stringify` writes it, except that NaN is written too, as Python producers do."""
    return json.dumps(value, separators=(",", ":"))


ENVELOPES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "{job}": compact,
    '"<json string of job>"': lambda job: compact(compact(job)),
    '["<json string of job>"]': lambda job: compact([compact(job)]),
    '{"data": "<json string of job>"}': lambda job: compact({"data": compact(job)}),
    "our redelivery": lambda job: Delivery(compact(job)).again("the worker died", charged=True),
}


def payload(job_type: str = "sdxl_image_fast", /, **changes: Any) -> dict[str, Any]:
    """A small valid payload of this type; `changes` replace top-level fields."""
    return {
        "id": JOB_ID,
        "type": job_type,
        "prompt": "a lighthouse",
        "user_id": USER_ID,
        "config": {"num_images": 1},
        "metadata": {},
        **changes,
    }


def with_field(base: Mapping[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy of `base` with the field at a dotted path (`config.seed`, `references[0].url`) replaced."""
    changed = copy.deepcopy(dict(base))
    *parents, last = path.replace("[0]", ".0").split(".")
    target: Any = changed
    for name in parents:
        target = target[int(name)] if name.isdigit() else target[name]
    target[int(last) if last.isdigit() else last] = value
    return changed


def parsed(job: Mapping[str, Any] | str) -> Job:
    """The job of a payload, or of a queue element given as text."""
    element = job if isinstance(job, str) else compact(job)
    return parse_job(open_delivery(element), CATALOGUE)


def outcome(job: Mapping[str, Any]) -> Job | PayloadError:
    """The job, or the error it is refused with; any other exception passes."""
    try:
        return parsed(job)
    except PayloadError as error:
        return error


def refused(job: Mapping[str, Any] | str) -> PayloadError:
    """The error that a payload, or a queue element given as text, is refused with."""
    with pytest.raises(PayloadError) as caught:
        parsed(job)
    return caught.value
