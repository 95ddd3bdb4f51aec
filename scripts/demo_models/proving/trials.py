"""What an option does: the same prompt and seed drawn without it and with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.demo_models.easel import Easel, Guide
from scripts.demo_models.judging.facts import Seen
from scripts.demo_models.judging.judge import Judge
from scripts.demo_models.painting import Pixels
from scripts.demo_models.proving.album import Album
from scripts.demo_models.proving.tables import Effect

Look = Callable[[Pixels, Seen], float]
"""At the frames, and at what the judge sees in the middle one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One picture or clip to draw."""

    prompt: str
    seed: int
    negative: str = ""
    guides: tuple[Guide, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measure:
    """`unit` is "%" for shares."""

    look: Look
    unit: str = "%"


@dataclass(frozen=True, slots=True)
class Trial:
    without: Asked
    with_it: Asked
    measures: Mapping[str, Measure]
    """By what they measure; the same names in every trial of an option."""


@dataclass(frozen=True, slots=True)
class Option:
    """`trial` makes the trial of a number."""

    name: str
    trial: Callable[[int], Trial]


@dataclass(frozen=True, slots=True)
class Bench:
    """Draws jobs of one type, and looks at what was drawn."""

    easel: Easel
    album: Album
    judge: Judge
    job_type: str

    def effects(self, option: Option, count: int) -> list[Effect]:
        """One for each measure, as means over so many trials."""
        trials = [option.trial(number) for number in range(count)]
        without = self._measured(f"{option.name}/without", trials, [trial.without for trial in trials])
        with_it = self._measured(f"{option.name}/with", trials, [trial.with_it for trial in trials])
        return [
            Effect(option.name, name, _mean(without[name]), _mean(with_it[name]), count, measure.unit)
            for name, measure in trials[0].measures.items()
        ]

    def frames(self, name: str, asked: Asked) -> Pixels:
        """As the album keeps them."""

        def draw() -> Pixels:
            return self.easel.draw(
                self.job_type,
                asked.prompt,
                seed=asked.seed,
                negative=asked.negative,
                guides=asked.guides,
                settings=asked.settings,
            )

        return self.album.kept(name, draw)

    def _measured(self, name: str, trials: Sequence[Trial], asked: Sequence[Asked]) -> dict[str, list[float]]:
        drawn = [self.frames(f"{name}/{number}", each) for number, each in enumerate(asked)]
        seen = self.judge.see([frames[len(frames) // 2] for frames in drawn])
        looks = list(zip(drawn, seen, strict=True))
        return {
            name: [trial.measures[name].look(*each) for trial, each in zip(trials, looks, strict=True)]
            for name in trials[0].measures
        }


def _mean(values: Iterable[float]) -> float:
    all_ = [float(value) for value in values]
    return sum(all_) / len(all_)
