"""What is there of each piece, what is still to come, and what hashes say of it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ourvidz_worker.engines.volume.inventory import Verdict, still_to_fetch, stock_of, verify
from ourvidz_worker.engines.volume.kinds import Kind
from ourvidz_worker.engines.volume.pieces import Piece
from ourvidz_worker.engines.volume.sources import Source, SourceFile
from tests.volume.weight_files import write_kind, write_text

COMMIT = "0123456789012345678901234567890123456789"


@pytest.fixture
def piece(tmp_path: Path) -> Piece:
    """A controlnet in a folder, whole; the hash of its configuration is not known."""
    folder = tmp_path / "controlnet"
    write_text(folder / "config.json", "{}")
    write_kind(folder / "model.safetensors", Kind.CONTROLNET_UNION)
    weights = (folder / "model.safetensors").read_bytes()
    files = (
        SourceFile("config.json"),
        SourceFile("model.safetensors", len(weights), hashlib.sha256(weights).hexdigest()),
    )
    source = Source("controlnet", "org/name", COMMIT, "controlnet", files)
    return Piece("sdxl", "controlnet", folder, (Kind.CONTROLNET_UNION,), optional=True, source=source)


def with_source(piece: Piece, **changes: Any) -> Piece:
    assert piece.source is not None
    return replace(piece, source=replace(piece.source, **changes))


def verified(piece: Piece, *, full: bool = False) -> Verdict:
    return verify(piece, piece.path.parent, full=full, on_bytes=lambda name, done, total: None)


def names_to_fetch(piece: Piece) -> list[str]:
    return [file.name for file in still_to_fetch(piece, piece.path.parent)]


def test_a_whole_piece_is_present_and_nothing_is_to_come(piece: Piece) -> None:
    stock = stock_of(piece, piece.path.parent)
    size = (piece.path / "model.safetensors").stat().st_size
    assert (stock.state, stock.bytes, stock.whole_bytes, stock.problems) == ("present", size + 2, size, ())
    assert names_to_fetch(piece) == []
    assert verified(piece) == Verdict((), files=2, hashed=0)
    assert verified(piece, full=True) == Verdict((), files=2, hashed=1)


def test_what_is_read_is_told(piece: Piece) -> None:
    size = (piece.path / "model.safetensors").stat().st_size
    heard: list[tuple[str, int, int]] = []
    verify(piece, piece.path.parent, full=True, on_bytes=lambda *told: heard.append(told))
    assert heard == [("model.safetensors", size, size)]


def test_nothing_there_is_missing_and_everything_is_to_come(piece: Piece) -> None:
    elsewhere = with_source(replace(piece, path=piece.path.parent / "nothing"), path="nothing")
    stock = stock_of(elsewhere, piece.path.parent)
    assert (stock.state, stock.bytes) == ("missing", 0)
    assert names_to_fetch(elsewhere) == ["config.json", "model.safetensors"]


def test_a_file_of_the_source_that_is_not_there_makes_it_partial(piece: Piece) -> None:
    (piece.path / "config.json").unlink()
    stock = stock_of(piece, piece.path.parent)
    assert stock.state == "partial"
    [problem] = stock.problems
    assert problem.startswith(f"{piece.path / 'config.json'} is missing ([sdxl] controlnet in models.toml); run `our")
    assert names_to_fetch(piece) == ["config.json"]


def test_a_file_that_is_still_coming_makes_it_partial(piece: Piece) -> None:
    weights = piece.path / "model.safetensors"
    alone = replace(piece, path=weights)
    weights.rename(weights.with_name("model.safetensors.part"))
    assert stock_of(alone, piece.path.parent).state == "partial"


def test_another_size_is_found_without_hashes(piece: Piece) -> None:
    write_kind(piece.path / "model.safetensors", Kind.UNKNOWN)
    size = (piece.path / "model.safetensors").stat().st_size
    assert any(f"has {size} bytes instead of" in problem for problem in verified(piece).problems)
    assert names_to_fetch(piece) == ["model.safetensors"]


def test_other_content_of_the_same_size_is_found_by_its_hash(piece: Piece) -> None:
    weights = piece.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert verified(piece).problems == ()
    [problem] = verified(piece, full=True).problems
    assert problem.startswith(f"{weights} is damaged: its SHA-256 is ")
    assert problem.endswith("; remove it and run `ourvidz-worker models fetch sdxl.controlnet`")


def test_weights_from_elsewhere_are_left_alone(piece: Piece) -> None:
    """As WAN's original layout is, where the source has the Diffusers layout."""
    other = with_source(piece, files=(SourceFile("other.safetensors", 3),))
    assert names_to_fetch(other) == []
    assert stock_of(other, piece.path.parent).state == "present"
    (piece.path / "config.json").unlink()
    assert names_to_fetch(other) == ["other.safetensors"]


def test_a_piece_without_a_source_is_judged_by_itself(piece: Piece) -> None:
    alone = replace(piece, source=None)
    assert names_to_fetch(alone) == []
    assert verified(alone, full=True) == Verdict((), files=2, hashed=0)
    assert stock_of(alone, piece.path.parent).whole_bytes is None
