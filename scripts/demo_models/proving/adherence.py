"""Draws held-out prompts, and has the judge compare each picture with its prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

import numpy as np

from scripts.demo_models.held_out import HeldOut
from scripts.demo_models.judging.adherence import Check, checks, motion_checks, scores
from scripts.demo_models.judging.facts import Seen
from scripts.demo_models.judging.judge import Judge
from scripts.demo_models.measuring import Clip
from scripts.demo_models.painting import Pixels, paint
from scripts.demo_models.proving.tables import Adherence
from scripts.demo_models.scenes import laid_out

ROTATIONS = 10
"""How many other prompts each picture is compared with for chance."""

Drawn = Callable[[HeldOut], Pixels]
Sight = tuple[Seen, Clip | None]


def looked_at(drawn: Sequence[Pixels], judge: Judge) -> list[Sight]:
    """Stills have one frame, clips several."""
    middles = judge.see([frames[len(frames) // 2] for frames in drawn])
    clips = [Clip(frames) if len(frames) > 1 else None for frames in drawn]
    return list(zip(middles, clips, strict=True))


def measured(prompts: Sequence[HeldOut], judge: Judge, drawn: Drawn, without_guidance: Drawn | None) -> Adherence:
    """`drawn` and `without_guidance` give the frames of a prompt, the latter at guidance 1."""
    frames = [drawn(prompt) for prompt in prompts]
    sights = looked_at(frames, judge)
    plain = looked_at([without_guidance(prompt) for prompt in prompts], judge) if without_guidance else []
    painted = looked_at([painted_frames(prompt, like=frames[0]) for prompt in prompts], judge)
    told = _all_checks(prompts, sights)
    return Adherence(
        drawn=scores(told),
        where_there=scores(told, found_only=True),
        without_guidance=scores(_all_checks(prompts, plain)) if plain else {},
        painted=scores(_all_checks(prompts, painted)),
        chance=scores(
            check
            for turn in range(1, min(ROTATIONS, len(prompts) - 1) + 1)
            for check in _all_checks([*prompts[turn:], *prompts[:turn]], sights)
        ),
    )


def _all_checks(prompts: Sequence[HeldOut], sights: Sequence[Sight]) -> list[Check]:
    return [check for prompt, sight in zip(prompts, sights, strict=True) for check in checks_of(prompt, sight)]


def checks_of(prompt: HeldOut, sight: Sight) -> list[Check]:
    seen, clip = sight
    motions = motion_checks(prompt.scene, seen, clip) if clip else ()
    return [*checks(prompt.scene, prompt.caption, seen), *motions]


def painted_frames(prompt: HeldOut, *, like: Pixels) -> Pixels:
    """The scene of a prompt as it was meant, as many frames and in the same shape."""
    random = Random(f"painted {prompt.index}")
    count, height, width, _ = like.shape
    spots = laid_out(prompt.scene, random, width / height)
    moments = np.linspace(0, 1, count).tolist() if count > 1 else [0.5]
    return np.stack([paint(prompt.scene, spots, width, height, moment) for moment in moments])


def wrong_prompts(prompts: Sequence[HeldOut], sights: Sequence[Sight]) -> Mapping[int, list[str]]:
    """Which attributes failed, by the prompt's index; for a look at the worst."""
    return {
        prompt.index: failed
        for prompt, sight in zip(prompts, sights, strict=True)
        if (failed := [check.attribute for check in checks_of(prompt, sight) if not check.right])
    }
