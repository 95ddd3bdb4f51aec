"""What a weights file is, and whether it is whole, told from its first bytes."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ourvidz_worker.engines.tiny.models import MODELS, ensure_built
from ourvidz_worker.engines.volume.kinds import Kind, kind_of
from ourvidz_worker.engines.volume.safetensors_header import DamagedFile, Tensor, read_tensors
from tests.volume.weight_files import DIFFUSERS, OTHER_MAKES, TELLING, Shapes, write_kind, write_weights


@pytest.mark.parametrize(("kind", "shapes"), [*TELLING.items(), *DIFFUSERS.items(), *OTHER_MAKES.items()])
def test_each_kind_is_known_by_its_tensors(tmp_path: Path, kind: Kind, shapes: Shapes) -> None:
    write_weights(tmp_path / "file.safetensors", shapes)
    assert kind_of(tmp_path / "file.safetensors") is kind
    assert kind_of(tmp_path) is kind


def test_there_is_an_example_of_every_kind() -> None:
    assert set(TELLING) == set(Kind)


def test_shards_are_looked_at_together(tmp_path: Path) -> None:
    for number, (name, shape) in enumerate(TELLING[Kind.WAN_VACE].items()):
        write_weights(tmp_path / f"model-{number}.safetensors", {name: shape})
    assert kind_of(tmp_path) is Kind.WAN_VACE


def test_models_that_the_libraries_saved_are_known(cache_dir: Path) -> None:
    ensure_built(cache_dir, "sdxl")
    ensure_built(cache_dir, "wan")
    sdxl, wan = cache_dir / MODELS.sdxl.path, cache_dir / MODELS.wan.path
    found = {folder.name: kind_of(folder) for folder in (sdxl / "unet", sdxl / "vae", sdxl / "text_encoder")}
    assert found == {"unet": Kind.UNET, "vae": Kind.VAE, "text_encoder": Kind.TEXT_ENCODER}
    assert kind_of(wan / "transformer") is Kind.WAN
    assert kind_of(wan / "vae") is Kind.WAN_VAE
    assert kind_of(wan / "text_encoder") is Kind.TEXT_ENCODER


def test_tensors_have_dtypes_shapes_and_sizes(tmp_path: Path) -> None:
    write_weights(tmp_path / "file.safetensors", {"a": (2, 3), "b": ()}, dtype="BF16")
    tensors = read_tensors(tmp_path / "file.safetensors")
    assert tensors == {"a": Tensor("BF16", (2, 3)), "b": Tensor("BF16", ())}
    assert [tensor.bytes for tensor in tensors.values()] == [12, 2]


@pytest.mark.parametrize("lost", [1, 30, 10_000])
def test_a_truncated_file_is_told_with_both_sizes(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "file.safetensors"
    write_kind(path, Kind.SDXL)
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    with pytest.raises(
        DamagedFile,
        match=f"^is truncated: its header promises {len(whole)} bytes, and the file has {len(whole) - lost}$",
    ):
        read_tensors(path)


def test_a_file_that_ends_in_its_header_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    write_kind(path, Kind.LORA)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DamagedFile, match=r"^is truncated: its header alone has \d+ bytes, and the file has 40$"):
        read_tensors(path)


def test_a_file_with_something_behind_it_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    write_kind(path, Kind.LORA)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DamagedFile, match=r"^has more than it should"):
        read_tensors(path)


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "file.safetensors").touch()
    with pytest.raises(DamagedFile, match=r"^is empty$"):
        read_tensors(tmp_path / "file.safetensors")


HEADERS: Mapping[str, object] = {
    "a page": b"<!DOCTYPE html><html>" + bytes(60),
    "a pointer": b"version https://git-lfs.github.com/spec/v1\n",
    "a pickle": b"PK\x03\x04" + bytes(60),
    "a pickle as torch writes it": b"PK\x03\x04\x00\x00\x08\x08" + bytes(60),
    "zeros": bytes(64),
    "text": "x" * 64,
    "no object": [1, 2],
    "no offsets": {"a": {"dtype": "F16", "shape": [1]}},
    "no shape": {"a": {"dtype": "F16", "data_offsets": [0, 2]}},
    "an entry that is none": {"a": 3},
    "offsets that are none": {"a": {"dtype": "F16", "shape": [1], "data_offsets": ["x", None]}},
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS.keys())
def test_other_files_are_no_safetensors_files(tmp_path: Path, content: object) -> None:
    path = tmp_path / "file.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        text = json.dumps(content).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(DamagedFile, match=re.escape("is no .safetensors file")):
        read_tensors(path)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    length = len(content).to_bytes(8, "little")
    for text in (content, length + content):
        path.write_bytes(text)
        with contextlib.suppress(DamagedFile):
            assert kind_of(path) is Kind.UNKNOWN
