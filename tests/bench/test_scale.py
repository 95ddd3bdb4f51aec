"""`scripts/bench/scale` at a tiny size: what it counts is what the workers did."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench import scale
from tests.bench.lines import Chart, line_charts

TINY = {"--workers": "1,3", "--lengths": "1,40", "--rate": "1000", "--jobs": "8", "--length-workers": "2"}
ALONE = {"--claims": "4", "--pickups": "2", "--poll": "0.05"}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scale")
    words = [word for option in ({**TINY, **ALONE} | {"--reports": str(folder)}).items() for word in option]
    assert scale.main(words) == 0
    return folder


def test_a_job_under_backlog_costs_three_commands(reports: Path) -> None:
    figures = json.loads((reports / "scale.json").read_text())
    assert [row["workers"] for row in figures["workers"]] == [1, 3]
    for row in (*figures["workers"], *figures["lengths"]):
        # Where several work, the moments at which counting begins and ends lie in the middle of some jobs.
        spread = 3 * row["workers"] / row["jobs"]
        assert set(row["commands"]) <= {"LLEN", "claim", "begin", "acknowledge"}
        assert row["commands_per_job"] == pytest.approx(3, abs=spread)
        assert row["bytes_per_job"] > 2000
        assert min(row["worker_ms_per_job"], row["claim_ms_p50"]) > 0
        assert row["claim_ms_p50"] <= row["claim_ms_p99"]


def test_claims_are_measured_inside_redis_and_idle_workers_while_they_poll(reports: Path) -> None:
    figures = json.loads((reports / "scale.json").read_text())
    assert [(row["waiting"], row["mix"]) for row in figures["claims"]] == [
        (length, mix.name) for length in (1, 40) for mix in (scale.MIXED, scale.HIGH, scale.WAITED)
    ]
    assert all(row["redis_us_per_claim"] > 0 for row in figures["claims"])
    for row in figures["idle"]:
        assert 0 < row["looks_per_worker_hour"] <= 4 * 3600 / row["poll_seconds"]  # so short a time has mostly edges
        assert row["pick_up_ms_p50"] > 0


def test_the_run_says_how_it_was_made_and_is_drawn(reports: Path) -> None:
    figures = json.loads((reports / "scale.json").read_text())
    assert figures["command"].startswith("scripts/bench/scale --workers 1,3")
    assert [row["of"] for row in figures["ratios"]] == ["3 workers to 1", "40 waiting to 1"]
    assert figures["machine"]["cores"] > 0
    drawing = ET.fromstring((reports / "scale.svg").read_text())
    assert len(drawing.findall("{http://www.w3.org/2000/svg}g")) == 4


def test_a_number_of_workers_below_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        scale.main(["--workers", "0,5"])
    assert "must be numbers of 1 or more, got '0,5'" in capsys.readouterr().err


def test_points_lie_where_their_powers_of_ten_say() -> None:
    drawing = line_charts([Chart("t & u", "x", "y", {"a": [(1, 1), (10, 10), (100, 100)]})])
    [line] = ET.fromstring(drawing).iter("{http://www.w3.org/2000/svg}polyline")
    (x1, y1), (x2, y2), (x3, y3) = [map(float, point.split(",")) for point in line.attrib["points"].split()]
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)
    assert x1 < x2
    assert y1 > y2
