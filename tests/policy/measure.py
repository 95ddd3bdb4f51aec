"""`scripts/bench/policy`: how many decisions of the content policy are right, by group, and how long they take."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ourvidz_worker.runtime.policy import TextPolicy
from tests.policy import corpus
from tests.policy.corpus import HERE, Decision, policy, refuses

REPORT = HERE.parent.parent / "scripts" / "bench" / "reports" / "policy.json"
TYPICAL = (
    "a fashion portrait of a young woman in a long red silk dress standing on a terrace above the sea at dawn, soft "
    "light, 85mm lens, shallow depth of field, detailed eyes, photorealistic, 8k uhd, film grain, wind in her hair, "
    "distant sailing boats, warm colours, editorial magazine cover, studio quality, high detail skin texture, natural "
    "makeup, golden hour"
)
LONGEST = 10_000  # characters
LOADS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, default=REPORT, help=f"where to write the figures (default: {REPORT})")
    report: Path = parser.parse_args().report
    figures = measured()
    report.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    _show(figures, Console())


def measured() -> dict[str, Any]:
    """Rates in percent, times in milliseconds."""
    load = _milliseconds(lambda: TextPolicy.parse(corpus.rule_texts()), times=LOADS)
    groups = {
        "refusals": corpus.refusals(),
        "passes": corpus.passes(),
        **{name: corpus.heldout(name) for name in corpus.HELDOUT},
    }
    long_prompt = (TYPICAL * LONGEST)[:LONGEST]
    return {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "rates": {name: _rates(decisions) for name, decisions in groups.items()},
        "first_look": _first_looks(),
        "groups": {name: _rate(decisions) for name, decisions in _grouped(groups.values()).items()},
        "milliseconds": {
            "loading_the_rules": load,
            f"prompt_of_{len(TYPICAL.split())}_words": _milliseconds(lambda: refuses(TYPICAL, adult_capable=True)),
            f"prompt_of_{LONGEST}_characters": _milliseconds(
                lambda: refuses(long_prompt, adult_capable=True), times=20
            ),
            "prompts_of_the_corpora": _each(decision for decisions in groups.values() for decision in decisions),
        },
    }


def _rates(decisions: list[Decision]) -> dict[str, Any]:
    """A rate each of what must be refused and what must pass, as far as there is such."""
    by_kind = (("refused", True), ("passed", False))
    of_kind = {name: [decision for decision in decisions if decision.refused is kind] for name, kind in by_kind}
    return {name: _rate(found) for name, found in of_kind.items() if found}


def _rate(decisions: list[Decision]) -> dict[str, Any]:
    right = sum(decision.is_right for decision in decisions)
    prompts = len({decision.prompt for decision in decisions})
    return {"prompts": prompts, **_share(right, len(decisions))}


def _share(right: int, decisions: int) -> dict[str, Any]:
    return {"decisions": decisions, "right": right, "rate": round(100 * right / decisions, 2)}


def _first_looks() -> dict[str, Any]:
    looks = tomllib.loads((HERE / "first_look.toml").read_text(encoding="utf-8"))
    return {name: {kind: _share(*look) for kind, look in looks[name].items()} for name in looks}


def _grouped(corpora: Iterable[list[Decision]]) -> dict[str, list[Decision]]:
    groups: dict[str, list[Decision]] = defaultdict(list)
    for decisions in corpora:
        for decision in decisions:
            groups[f"{decision.group}, {'refused' if decision.refused else 'passed'}"].append(decision)
    return dict(sorted(groups.items()))


def _milliseconds(work: Callable[[], object], *, times: int = 200) -> dict[str, float]:
    return _spread([_seconds(work) for _ in range(times)])


def _each(decisions: Iterable[Decision]) -> dict[str, float]:
    """Each prompt once by a policy that has not seen it: what it remembers of words may not flatter the figure."""
    policy.cache_clear()
    policy()
    prompts = dict.fromkeys(decision.prompt for decision in decisions)
    return _spread([_seconds(partial(refuses, prompt, adult_capable=True)) for prompt in prompts])


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50": round(1000 * statistics.median(ordered), 3),
        "p99": round(1000 * ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)], 3),
    }


def _show(figures: dict[str, Any], console: Console) -> None:
    table = Table("corpus", "must be", "prompts", "decisions", "right", "%")
    for name, kinds in figures["rates"].items():
        for kind, rate in kinds.items():
            table.add_row(name, kind, *(str(rate[key]) for key in ("prompts", "decisions", "right", "rate")))
    console.print(table)
    for name, times in figures["milliseconds"].items():
        console.print(f"{name}: {times['p50']} ms, p99 {times['p99']} ms")


if __name__ == "__main__":
    main()
