"""`scripts/bench/table`: puts the figures of all reports into `scripts/bench/README.md`, where they live in one place.

The words of the page are written by hand; what stands between `<!-- figures: NAME -->` and `<!-- end -->` is made of
`reports/NAME.json`. `--print NAME` shows one benchmark's tables alone.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.report import REPORTS
from tests.support.commands import ROOT

PAGE = ROOT / "scripts" / "bench" / "README.md"
BLOCK = re.compile(r"(<!-- figures: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
NO_FIGURES = "**No figures yet.** {why}"

Report = Mapping[str, Any]
Tables = Callable[[Report], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """`tables` makes Markdown of a report; `missing` says why there may be none."""

    tables: Tables
    missing: str


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench/table", description=__doc__)
    parser.add_argument("--print", dest="name", choices=tuple(BENCHMARKS), help="show one benchmark's tables")
    arguments = parser.parse_args(argv)
    if arguments.name:
        sys.stdout.write(block(arguments.name, REPORTS))
    else:
        PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), REPORTS), encoding="utf-8")
    return 0


def renewed(page: str, reports: Path) -> str:
    """The page with every block made anew."""
    return BLOCK.sub(lambda found: f"{found[1]}{block(found['name'], reports)}{found[3]}", page)


def block(name: str, reports: Path) -> str:
    """A benchmark's tables, its plot, and where its figures come from; raises `KeyError` for an unknown one."""
    benchmark, file = BENCHMARKS[name], reports / f"{name}.json"
    if not file.is_file():
        return NO_FIGURES.format(why=benchmark.missing) + "\n"
    report = json.loads(file.read_text(encoding="utf-8"))
    parts = [_origin(report), *benchmark.tables(report)]
    parts += [f"![{name}](reports/{name}.svg)"] if (reports / f"{name}.svg").is_file() else []
    return "\n\n".join(part.strip() for part in parts) + "\n"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows under the columns that any of them has, in the order in which they come up; only plain values are shown."""
    columns = list(dict.fromkeys(key for row in rows for key, value in row.items() if _is_plain(value)))
    lines = [
        [column.replace("_", " ") for column in columns],
        ["---", *["---:"] * (len(columns) - 1)],
        *([_cell(row.get(column)) for column in columns] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def named_rows(sections: Mapping[str, Any], first: str) -> list[dict[str, Any]]:
    """A row for each section that holds figures of its own, named in the column `first`."""
    return [{first: name, **figures} for name, figures in sections.items() if isinstance(figures, Mapping)]


def _rows_of(*keys: str) -> Tables:
    """Lists of rows, each under its key."""

    def tables(report: Report) -> Iterator[str]:
        for key in keys:
            if report.get(key):
                yield f"**{key.replace('_', ' ')}**"
                yield table(report[key])

    return tables


def _sections_of(first: str, *keys: str) -> Tables:
    """Sections of figures in one table; with `keys`, a table for each of these."""

    def tables(report: Report) -> Iterator[str]:
        own = {
            name: value for name, value in report.items() if name not in ("versions", "machine", "libraries", "counts")
        }
        for sections in [report.get(key, {}) for key in keys] if keys else [own]:
            if rows := named_rows(sections, first):
                yield table(rows)
            elif sections:
                yield table([{first: name, "value": value} for name, value in sections.items()])

    return tables


def _policy(report: Report) -> Iterator[str]:
    yield table(
        [
            {"set": name, "must be": wanted, **figures}
            for name, halves in report["rates"].items()
            for wanted, figures in halves.items()
        ]
    )


def _gpu(report: Report) -> Iterator[str]:
    """The card, a line for each contender of each case, then what has no contenders."""
    yield f"{report['card']}, {report['size']} models; {report['note']}."
    yield table([{name: value for name, value in report["ceilings"].items() if value is not None}])
    rows, others = [], []
    for name, case in report["cases"].items():
        for contender, figures in case.get("contenders", {}).items():
            rows.append({"case": name, "contender": contender, **_gpu_row(case, contender, figures)})
        if "contenders" not in case:
            others.append({"case": name, **{key: _shown(value) for key, value in case.items() if key != "at"}})
    if rows:
        yield table(rows)
    for columns in dict.fromkeys(tuple(other) for other in others):
        yield table([other for other in others if tuple(other) == columns])
    if report["left out"]:
        yield (
            "Left out for want of time: "
            + "; ".join(f"{name} ({why})" for name, why in report["left out"].items())
            + "."
        )
    if report["failed"]:
        yield "Failed: " + "; ".join(f"{name} ({why})" for name, why in report["failed"].items()) + "."


def _gpu_row(case: Mapping[str, Any], name: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    if "failed" in figures:
        return {"seconds": figures["failed"]}
    stages = figures["stages"]
    computed = figures.get("computed_seconds", {})
    ratio = case["exact is faster than"].get(name)
    gain = case["faster than exact"].get(name)
    return {
        "seconds": _shown(figures["seconds"]),
        "per image": figures["seconds_per_image"],
        **{f"{job_type}, computed": seconds for job_type, seconds in computed.items()},
        **{stage: stages[stage] for stage in ("text", "denoise", "decode", "rest", "reload") if stages.get(stage)},
        "peak GB": figures["peak_gb"],
        "of the floor": figures.get("share of the floor"),
        "exact is faster by": ratio,
        "faster than exact by": gain,
    }


def _quality(report: Report) -> Iterator[str]:
    yield f"{report['card']}, {report['size']} models; {report['note']}."
    untold = ("attention_fallback", "compile_reason")  # whole sentences
    yield table([{name: value for name, value in row.items() if name not in untold} for row in report["rows"]])
    if report["left out"]:
        yield "Left out: " + "; ".join(f"{name} ({why})" for name, why in report["left out"].items()) + "."


def _shown(value: Any) -> Any:
    """A spread as its median with the least and the most."""
    if isinstance(value, Mapping) and "median" in value:
        return f"{_cell(value['median'])} ({_cell(value['least'])} to {_cell(value['most'])})"
    return value


def _origin(report: Report) -> str:
    machine = report.get("machine", "unknown")
    if isinstance(machine, Mapping):
        gpu = machine["gpu"] if isinstance(machine["gpu"], str) else "; ".join(machine["gpu"])
        machine = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB, GPU: {gpu}"
    command = report.get("command")
    said = command if isinstance(command, str) else shlex.join(command) if command else None
    parts = [f"`{said}`" if said else None, report.get("at", "")[:10] or None, machine]
    return " · ".join(part for part in parts if part)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value).replace("|", "\\|")


_RUN = "Run `scripts/bench/{0}` on a quiet machine, then `scripts/bench/table`."
BENCHMARKS: Mapping[str, Benchmark] = {
    "dispatch": Benchmark(_sections_of("contender", "contenders", "verdict"), _RUN.format("dispatch")),
    "duty": Benchmark(_rows_of("rows"), _RUN.format("duty")),
    "scale": Benchmark(_rows_of("workers", "lengths", "claims", "idle", "ratios"), _RUN.format("scale")),
    "commands": Benchmark(_sections_of("commands"), _RUN.format("commands")),
    "enhancement": Benchmark(_sections_of("seconds"), _RUN.format("enhancement")),
    "policy": Benchmark(_policy, _RUN.format("policy")),
    "gpu": Benchmark(
        _gpu,
        "They take a CUDA device with 80 GB or more, and none was at hand: the script is proved at tiny size by a "
        "test, and nothing is claimed about a card. On one, run `scripts/bench/gpu`, then `scripts/bench/table`.",
    ),
    "quality": Benchmark(_quality, _RUN.format("quality")),
}


if __name__ == "__main__":
    sys.exit(main())
