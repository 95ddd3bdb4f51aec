"""What the soak takes for growth, and what it draws."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.plot import line_plot
from tests.chaos.soak import Limits, Sample, assess, slope

LIMITS = Limits(bytes_per_job=1000)


def samples(*, per_job: float = 0.0, files: int = 0, threads: int = 0, left: int = 0) -> list[Sample]:
    """A warm-up of 20 jobs that grows fast, then 80 jobs as told."""
    return [
        Sample(
            jobs=jobs,
            resident=int(100e6 + (min(jobs, 20) * 1e6) + max(jobs - 20, 0) * per_job),
            proportional=0,
            open_files=10 + files * (jobs > 50),
            threads=5 + threads * (jobs > 50),
            temporary_files=left if jobs == 100 else 3,
        )
        for jobs in range(0, 101, 5)
    ]


def test_a_warm_up_is_no_growth() -> None:
    verdict = assess(samples(per_job=900), LIMITS)
    assert verdict["ok"]
    assert verdict["growth"]["resident bytes per job"] == {"grew": 900.0, "limit": 1000}


@pytest.mark.parametrize(
    "growing",
    [{"per_job": 1100.0}, {"files": 5}, {"threads": LIMITS.threads + 1}, {"left": 1}],
    ids=lambda growing: str(*growing),
)
def test_growth_is_not_ok(growing: dict[str, int]) -> None:
    assert not assess(samples(**growing), LIMITS)["ok"]


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.integers(2, 50))
def test_the_slope_of_a_line_is_its_own(rise: float, start: float, count: int) -> None:
    assert slope([(x, start + rise * x) for x in range(count)]) == pytest.approx(rise, rel=1e-6, abs=1e-4)


def test_one_point_has_no_slope() -> None:
    assert slope([(3, 7), (3, 9)]) == 0


def test_a_plot_is_well_formed() -> None:
    document = line_plot("a < b", "jobs", {"memory & more": [(0, 1.0), (10, 1.0)], "files": [(0, 3.0)]}, mark=2)
    root = ET.fromstring(document)
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 2
