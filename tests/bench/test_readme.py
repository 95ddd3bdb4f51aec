"""The page of the benchmarks says what their reports say."""

from __future__ import annotations

import re
from pathlib import Path

from tests.bench.readme import BENCHMARKS, PAGE, block, renewed
from tests.bench.report import REPORTS, write_report

NO_FIGURES_OF = {"options", "table"}  # pictures, and the page itself


def test_the_page_and_the_reports_agree() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page, REPORTS) == page, "run scripts/bench/table"


def test_every_benchmark_is_on_the_page() -> None:
    scripts = {file.name for file in PAGE.parent.iterdir() if file.is_file() and file.suffix == ""} - NO_FIGURES_OF
    assert scripts == set(BENCHMARKS)
    assert sorted(re.findall(r"<!-- figures: (\w+) -->", PAGE.read_text(encoding="utf-8"))) == sorted(BENCHMARKS)


def test_a_figure_that_changed_shows(tmp_path: Path) -> None:
    page = "# words\n<!-- figures: duty -->\nold\n<!-- end -->\nmore words\n"
    for duty in (0.5, 0.995):
        write_report(
            "duty", {"rows": [{"way": "our | worker", "duty": duty, "spans": [1]}]}, command="d", folder=tmp_path
        )
        shown = renewed(page, tmp_path)
        assert f"| our \\| worker | {duty} |" in shown
        assert shown.startswith("# words\n<!-- figures: duty -->\n`d` · 20")
        assert shown.endswith("<!-- end -->\nmore words\n")
        assert "spans" not in shown
        assert renewed(shown, tmp_path) == shown


def test_missing_figures_are_said_to_be_missing(tmp_path: Path) -> None:
    assert block("gpu", tmp_path).startswith("**No figures yet.** They take a CUDA device")
