"""What holds for every queue element, whatever its bytes: the target of the fuzzer and of the property tests."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace

from ourvidz_worker.contract.envelope import Delivery, open_delivery, open_payload
from ourvidz_worker.contract.job import Job
from ourvidz_worker.contract.parse import parse_job
from ourvidz_worker.contract.payload_error import MalformedElement, PayloadError
from ourvidz_worker.contract.storage_keys import storage_key
from tests.contract.samples import CATALOGUE, ENVELOPES, JOB_ID, PICTURE, RECORDED, USER_ID, compact, payload
from tests.fuzz.bending import NAMES, WORDS

LONGEST_MESSAGE = 500
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,128}")
_STORAGE_KEY = re.compile(r"([A-Za-z0-9_-]{1,128}/)?[A-Za-z0-9_-]{1,200}\.(png|mp4)")
_TOKENS = (
    '{ } [ ] : , " \\ {} [] "" null true false NaN Infinity -Infinity 0 -1 0.5 1e999 -1e999 1e-999 9007199254740993 '
    "9223372036854775807 \\u0000 \\ud800 \\udc00 \\u202e \\n 480*832 1024x1024 2026-02-28T23:59:59+00:00 ../ %2e%2e"
)


def check(element: bytes) -> None:
    """An element becomes a sound job or is refused in one clear sentence, and every way back to Redis is open."""
    text = element.decode("utf-8", "surrogateescape")
    delivery = open_delivery(text)
    if delivery != Delivery(text):
        check_delivery(delivery)
    try:
        job = parse_job(delivery, CATALOGUE)
    except PayloadError as error:
        check_refusal(error)
    else:
        check_job(job)
        json.dumps(open_payload(delivery.original), ensure_ascii=False, allow_nan=False).encode("utf-8")


def check_delivery(delivery: Delivery) -> None:
    """What a worker does with a delivery keeps the producer's bytes and the count, and can be sent to Redis."""
    begun = delivery.begun("0f")
    assert open_delivery(begun) == replace(delivery, mark="0f")
    for charged in (False, True):
        again = open_delivery(delivery.again("the worker died", charged=charged))
        assert (again.original, again.attempt) == (delivery.original, delivery.attempt + charged)
        assert again.history[-1] == "the worker died"
    for sent in (begun, delivery.untouched(), delivery.dead_letter("given up", died_at="2026-11-21T04:00:00+00:00")):
        sent.encode("utf-8", "surrogateescape")


def check_refusal(error: PayloadError) -> None:
    """One printable line that names the field; whoever can be told is named, too."""
    message = str(error)
    assert message.startswith(f"{error.field} ")
    assert message.isprintable()
    assert len(message) <= LONGEST_MESSAGE
    if isinstance(error, MalformedElement):
        assert error.job_id is None
    else:
        assert error.job_id is not None
        assert _IDENTIFIER.fullmatch(error.job_id)


def check_job(job: Job) -> None:
    """Nothing of a job can break a path, a number, a callback or a row."""
    for layout in ("current", "legacy"):
        assert _STORAGE_KEY.fullmatch(storage_key(job, layout=layout))
    assert all(_IDENTIFIER.fullmatch(name) for name in (job.id, job.user_id, job.image_id, job.video_id) if name)
    assert job.prompt.strip()
    texts = [job.prompt, job.negative_prompt, job.model_variant or "", *(picture.source for picture in job.references)]
    for text in texts:
        text.encode("utf-8")
        assert "\x00" not in text
    numbers = [job.guidance_scale, job.flow_shift, *(picture.strength for picture in job.references)]
    assert all(math.isfinite(number) for number in numbers)
    assert job.num_images in (1, 3, 6)
    assert job.num_frames % 4 == 1
    assert 0 < job.width * job.height <= job.type.limits.pixels
    assert job.seed is None or 0 <= job.seeds(job.seed)[-1] < 2**63


def seeds() -> Iterator[bytes]:
    """The recorded payloads, small ones of every type in every envelope, and elements that are refused."""
    for recorded in RECORDED.values():
        yield compact(recorded).encode()
    for envelope in ENVELOPES.values():
        for job_type in CATALOGUE:
            yield envelope(payload(job_type)).encode()
    small = compact(payload())
    yield Delivery(small).begun("0f").encode()
    yield Delivery(small, attempt=3, history=("one", "two")).begun("0f").encode()
    yield compact({"data": payload(), "note": "x"}).encode()
    yield compact([payload(references=[{"type": "style", "url": PICTURE, "strength": 0.3}])]).encode()
    yield compact(payload("video_fast", first_frame=PICTURE, last_frame=f"reference_images/{USER_ID}/ref.png")).encode()
    for wrong in ("NaN", "1e999", "9" * 400, '"\\ud800"', '"\\u0000"', "{}", "true", "[" * 70 + "]" * 70):
        yield f'{small[:-1]},"config":{{"seed":{wrong}}}}}'.encode()
        yield f'{{"id":"{JOB_ID}","type":"image_fast","seed":{wrong}}}'.encode()
    yield f'{{"id":"{JOB_ID}","id":"other"}}'.encode()
    yield small.encode().replace(b"lighthouse", b"light\x80house")


def tokens() -> list[str]:
    """What elements are made of: JSON's own tokens, and the names and words of the contract."""
    return [*_TOKENS.split(), *(json.dumps(word) for word in (*NAMES, *WORDS)), "[" * 65]
