"""The benchmark of the card's share of the time, with a few short jobs: the figures are those of real processes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench.duty import Course, main
from tests.bench.timeline import timeline

SVG = "{http://www.w3.org/2000/svg}"


def test_pauses_between_jobs_are_what_keeps_duty_from_1() -> None:
    course = Course("loop", "png", 50, [(0, 3), (4, 7), (9, 12)], uploaded=6_000_000, calls=21)
    figures = course.figures()
    assert course.gaps == [1, 2]
    assert figures["duty"] == pytest.approx(6 / 9, abs=1e-4)
    assert (figures["median_pause_ms"], figures["longest_pause_ms"]) == (1500, 2000)
    assert (figures["uploaded_mb_per_job"], figures["calls_per_job"]) == (2, 7)


def test_a_run_leaves_figures_and_a_drawing_of_both_ways(tmp_path: Path) -> None:
    given = ["--jobs", "2", "--seconds", "0.3", "--delays", "30", "--media", "png", "--folder", str(tmp_path)]
    assert main(given) == 0
    written = json.loads((tmp_path / "duty.json").read_text())
    loop, ours = written["rows"]
    assert written["command"].startswith("scripts/bench/duty --jobs 2")
    assert (loop["way"], ours["way"]) == ("plain loop", "our worker")
    for row in (loop, ours):
        assert row["jobs"] == 2
        assert row["uploaded_mb_per_job"] > 1
        assert row["calls_per_job"] > 5
    assert loop["median_pause_ms"] > 5 * 30  # take, report, upload, report and acknowledge, each held back
    drawing = ET.fromstring((tmp_path / "duty.svg").read_text())
    assert any("our worker" in text for text in drawing.itertext())


def test_busy_times_are_blocks_as_wide_as_they_last() -> None:
    rows = {"always & ever": [(0.0, 5.0), (5.0, 10.0), (10.0, 15.0)], "half": [(2.0, 4.0), (6.0, 8.0), (10.0, 12.0)]}
    drawing = ET.fromstring(timeline("Busy < idle", rows, notes={"half": "50 %"}))
    widths = [float(block.get("width", 0)) for block in drawing.iter(f"{SVG}rect")][1:]
    whole, *always = widths[:3]
    assert sum(always) == pytest.approx(whole, abs=0.02)
    idle, *half = widths[3:]
    assert sum(half) == pytest.approx(idle / 2, abs=0.02)
    assert "50 %" in "".join(drawing.itertext())
