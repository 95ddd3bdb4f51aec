"""Small jobs for the encoder, and readers of what it left behind."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image

from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.contract.envelope import Delivery
from ourvidz_worker.contract.parse import parse_job
from ourvidz_worker.engines.media.encoder import FileEncoder
from ourvidz_worker.engines.media.options import DEFAULT_OPTIONS, MediaOptions
from ourvidz_worker.ports import Asset, BucketLimit, Encoded, Generation, GenerationRequest

CATALOGUE = parse_catalogue((Path(__file__).parents[2] / "configs" / "job_types.toml").read_text())
MODEL = "fake-model <v2> & co"
XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
ANYTHING = BucketLimit()


def request_for(name: str = "sdxl_image_fast", **changes: Any) -> GenerationRequest:
    """One picture of 64x64, or a clip of nine such frames, unless told otherwise."""
    payload = {"id": "job-1", "type": name, "prompt": "a lighthouse", "user_id": "user-1"}
    job = parse_job(Delivery(json.dumps(payload)), CATALOGUE)
    small = {"width": 64, "height": 64, "num_images": 1, "num_frames": 9 if job.is_video else 1}
    job = replace(job, **small | changes)
    return GenerationRequest(job, job.prompt, seed=7)


def gradient(request: GenerationRequest) -> Any:
    """Smooth frames that differ: noise would not survive a lossy codec."""
    frames = _black(request)
    frames[..., 0] = np.linspace(0, 200, request.job.width, dtype=np.uint8)
    frames[..., 1] = (np.arange(len(frames)) * 20 % 200)[:, None, None]
    return frames


def noise(request: GenerationRequest) -> Any:
    """What compresses worst, as random models draw it."""
    return np.random.default_rng(0).integers(0, 256, _black(request).shape, dtype=np.uint8)


def _black(request: GenerationRequest) -> Any:
    job = request.job
    return np.zeros((job.num_frames if job.is_video else job.num_images, job.height, job.width, 3), np.uint8)


def encode(
    request: GenerationRequest,
    folder: Path,
    *,
    frames: Any = None,
    options: MediaOptions = DEFAULT_OPTIONS,
    limit: BucketLimit = ANYTHING,
) -> Encoded:
    frames = gradient(request) if frames is None else frames
    return FileEncoder(MODEL, options).encode(request, Generation(frames, {}), folder, limit)


def every_file(asset: Asset) -> list[Path]:
    assert asset.thumbnail is not None
    return [asset.path, asset.thumbnail.path]


def boxes(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of the boxes of an MP4 at its top level; they cover the whole file."""
    content = path.read_bytes()
    while content:
        size, kind = struct.unpack(">I4s", content[:8])
        assert 8 <= size <= len(content)
        yield kind, content[8:size]
        content = content[size:]


def chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of the chunks of a PNG."""
    content = path.read_bytes()[8:]
    while content:
        size, kind = struct.unpack(">I4s", content[:8])
        yield kind, content[8 : 8 + size]
        content = content[12 + size :]


def xmp_of(path: Path) -> str:
    if path.suffix == ".mp4":
        (packet,) = (box[16:] for kind, box in boxes(path) if kind == b"uuid" and box[:16] == XMP_BOX)
        return packet.decode()
    with Image.open(path) as picture:
        packet = picture.info["xmp"]
    return bytes(packet).decode()


def properties_of(packet: str) -> dict[str, str]:
    """The properties of a packet by their names without their namespaces."""
    (description,) = ET.fromstring(packet).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    return {element.tag.partition("}")[2]: element.text or "" for element in description}
