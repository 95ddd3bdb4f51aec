"""The chart of a benchmark is a drawing that a browser can read."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from tests.bench.bars import bar_chart


def test_longer_times_have_longer_bars() -> None:
    drawing = ET.fromstring(bar_chart("Seconds < before", {"memory": 0.002, "warm": 0.3, "cold & far": 12.0}))
    widths = [float(bar.get("width", 0)) for bar in drawing.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert widths == sorted(widths)
    assert widths[0] > 0
    assert "cold & far" in "".join(drawing.itertext())


def test_nothing_at_all_is_a_bar_without_length() -> None:
    drawing = ET.fromstring(bar_chart("Idle", {"ours": 0.0, "theirs": 2.0}))
    first, second = [float(bar.get("width", 0)) for bar in drawing.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert first == 0 < second
