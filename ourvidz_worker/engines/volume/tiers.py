"""How much a model may deviate from its exact pictures for speed; chosen per model in `models.toml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from ourvidz_worker.contract.job import Job

Attention = Literal["auto", "sdpa", "flash3", "sage", "xformers"]
ATTENTIONS: tuple[Attention, ...] = get_args(Attention)

Compile = Literal["auto", "on", "off"]
COMPILES: tuple[Compile, ...] = get_args(Compile)

Tiered = Literal["sdxl", "wan"]
"""The models that know tiers."""


@dataclass(frozen=True, slots=True)
class Tier:
    """What a model does for speed; `exact` does nothing that changes a picture beyond float tolerance.

    `guidance_until` is the share of the denoising steps that follow the guidance scale; the rest follow the prompt
    alone, at half the cost. `first_block_cache` is the threshold of the cache of that name (WAN). `deep_cache` is how
    many steps share the deep half of the UNet (SDXL). `attention` takes the place of the model's own. `distilled_lora`
    is a file of weights distilled to few steps, relative to the models folder, which then draws in
    `num_inference_steps` with `guidance_scale`.
    """

    name: str = "exact"
    guidance_until: float = 1.0
    first_block_cache: float | None = None
    deep_cache: int | None = None
    attention: Attention | None = None
    distilled_lora: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None

    @property
    def details(self) -> dict[str, Any]:
        """The entries for the result metadata: the name, and every measure with its figure; nothing for `exact`."""
        if self == EXACT:
            return {}
        figures = ((field, getattr(self, field.name)) for field in fields(self) if field.name != "name")
        measures = {field.name: figure for field, figure in figures if figure != field.default}
        return {"tier": self.name, "tier_measures": measures}

    def details_of(self, *, cut: bool) -> dict[str, Any]:
        """The entries for one job, whose guidance was really `cut` or not."""
        details = self.details
        if details and not cut:
            details["tier_measures"].pop("guidance_until", None)
        return details

    def planned(self, job: Job) -> Job:
        """The job as it is drawn: distilled weights know one number of steps and one guidance scale."""
        if self.num_inference_steps is None or self.guidance_scale is None:
            return job
        return replace(job, num_inference_steps=self.num_inference_steps, guidance_scale=self.guidance_scale)


EXACT = Tier()

_DISTILLED = ("distilled_lora", "num_inference_steps", "guidance_scale")
_KEYS: Mapping[Tiered, tuple[str, ...]] = {
    "sdxl": ("guidance_until", "deep_cache", "attention", *_DISTILLED),
    "wan": ("guidance_until", "first_block_cache", "attention", *_DISTILLED),
}


def tier_problems(table: str, part: Tiered, chosen: Any, tables: Any) -> list[str]:
    """What is wrong with `tier` and the tables `[TABLE.tiers.*]` of `models.toml`."""
    if not isinstance(tables, dict):
        return [f"[{table}] tiers in models.toml must be tables [{table}.tiers.NAME]"]
    known = ", ".join((EXACT.name, *tables))
    problems = []
    if chosen != EXACT.name and (not isinstance(chosen, str) or chosen not in tables):
        problems.append(
            f"[{table}] tier = {chosen!r} in models.toml is wrong: it must be one of {known}, "
            f"or have a table [{table}.tiers.NAME]"
        )
    return problems + [
        problem
        for name, tier in tables.items()
        for problem in _tier_problems(f"{table}.tiers", name, tier, _KEYS[part])
    ]


def build_tier(chosen: str, tables: Mapping[str, Mapping[str, Any]]) -> Tier:
    """The tier of that name, out of tables without problems."""
    return EXACT if chosen == EXACT.name else Tier(chosen, **tables[chosen])


def _tier_problems(tables: str, name: str, table: Any, keys: Sequence[str]) -> list[str]:
    label = f"[{tables}.{name}]"
    if name == EXACT.name:
        return [f"{label} in models.toml must go: the tier {EXACT.name} is what the model draws without any measure"]
    if not isinstance(table, dict):
        return [f"[{tables}] {name} in models.toml must be a table {label}"]
    problems = [
        f"{label} {key} is unknown in models.toml; known are {', '.join(keys)}" for key in table if key not in keys
    ]
    problems += [
        f"{label} {key} = {value!r} in models.toml is wrong: it must be {expected}"
        for key, value in table.items()
        if key in keys and (expected := _mismatch(key, value)) is not None
    ]
    if 0 < len(given := [key for key in _DISTILLED if key in table]) < len(_DISTILLED):
        lacking = [key for key in _DISTILLED if key not in given]
        problems.append(
            f"{label} has {' and '.join(given)} in models.toml without {' and '.join(lacking)}: they go together"
        )
    return problems


def _mismatch(key: str, value: Any) -> str | None:
    """What the value should have been, or None when it is fine."""
    text = value if isinstance(value, str) else ""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    whole = number if isinstance(number, int) else None
    rules: Mapping[str, tuple[bool, str]] = {
        "guidance_until": (number is not None and 0 < number <= 1, "a share of the steps, above 0 and up to 1"),
        "first_block_cache": (number is not None and 0 < number < 1, "a threshold between 0 and 1"),
        "deep_cache": (whole is not None and 2 <= whole <= 10, "a whole number of steps from 2 to 10"),
        "attention": (text in ATTENTIONS, f"one of {', '.join(ATTENTIONS)}"),
        "distilled_lora": (bool(text.strip()), "a text that is not empty"),
        "num_inference_steps": (whole is not None and 1 <= whole <= 100, "a whole number from 1 to 100"),
        "guidance_scale": (number is not None and 1 <= number <= 20, "a number from 1 to 20"),
    }
    fine, expected = rules[key]
    return None if fine else expected
