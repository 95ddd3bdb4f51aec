"""Drawing the pictures of one job or several in batches as large as memory allows, and mending what comes out wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch

from ourvidz_worker.engines.devices import raise_if_poisoned
from ourvidz_worker.engines.recovery import Recovery
from ourvidz_worker.engines.vae_modes import in_float32
from ourvidz_worker.errors import OutOfMemory, OutputInvalid
from ourvidz_worker.ports import OnStep

if TYPE_CHECKING:
    from ourvidz_worker.ports import Pixels

Sheet = TypeVar("Sheet")

AfterStep = Callable[[int], None]
"""Called by `denoise` with the steps done in its own batch."""


@dataclass(frozen=True, slots=True)
class Drawing(Generic[Sheet]):
    """How one family turns sheets into pictures; a sheet is what tells a picture from the others, like its seed.

    `denoise` gives latents with one entry of the first dimension per sheet. `decode` turns one entry (first
    dimension 1) into RGB, shape (n, height, width, 3): a still, or the n frames of a clip; it raises `OutputInvalid`
    for values that are not numbers, and computes as `vae` is held. `encodes` says that `denoise` uses the VAE, too.
    """

    denoise: Callable[[Sequence[Sheet], AfterStep], torch.Tensor]
    decode: Callable[[torch.Tensor], Pixels]
    vae: Any
    encodes: bool = False


@dataclass(slots=True, eq=False)
class Part(Generic[Sheet]):
    """What one job has drawn in a drawing, and who hears of its progress."""

    sheets: Sequence[Sheet]
    on_step: OnStep
    drawn: list[Pixels] = field(default_factory=list)
    failure: BaseException | None = None

    @property
    def outcome(self) -> Pixels | BaseException:
        return np.concatenate(self.drawn) if self.failure is None else self.failure

    @property
    def left(self) -> Sequence[Sheet]:
        """What is still to be drawn."""
        return [] if self.failure is not None else self.sheets[len(self.drawn) :]

    def hear(self, done: int, total: int) -> None:
        if self.failure is None:
            try:
                self.on_step(done, total)
            except BaseException as interruption:  # noqa: BLE001 - it ends this job, and the others go on
                self.failure = interruption


class _AbandonedError(BaseException):
    """Nobody wants any more what is being denoised."""


def draw(
    drawing: Drawing[Sheet], sheets: Sequence[Sheet], *, steps: int, on_step: OnStep, largest: int, recovery: Recovery
) -> Pixels:
    """Draw the pictures of one job as `draw_together` does; raises what went wrong, or what `on_step` raised."""
    (outcome,) = draw_together(drawing, [Part(sheets, on_step)], steps=steps, largest=largest, recovery=recovery)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def draw_together(
    drawing: Drawing[Sheet], parts: Sequence[Part[Sheet]], *, steps: int, largest: int, recovery: Recovery
) -> list[Pixels | BaseException]:
    """Draw all sheets, at most `largest` at once, halving that each time memory runs out; the outcome of each part.

    Each picture has its own seed, so a split changes none. Progress counts the steps of all batches still planned.
    A picture that is black or not a number is decoded again in float32, then generated once more. A part fails with
    `OutOfMemory` when one of its pictures alone does not fit, with `OutputInvalid` when one stays unusable, and with
    what its `on_step` raised. What else goes wrong with a batch of several parts is tried again part by part, so that
    only the guilty one fails. Raises what CUDA says when it refuses all further work.
    """
    batches, separately = 0, False
    while batch := _next_batch(parts, largest, separately=separately):
        total = (batches + _batches_left(parts, largest, separately=separately)) * steps
        owners = _owners(batch)
        try:
            latents = _denoise(drawing, batch, _after_step(parts, owners, batches * steps, total), recovery)
        except _AbandonedError:
            continue
        except OutOfMemory as error:
            if len(batch) == 1:
                owners[0].failure = error
                continue
            largest = -(-len(batch) // 2)
            recovery.note("denoise", "split_batch")
            continue
        except Exception as error:  # noqa: BLE001 - it is the outcome of the part that it belongs to
            raise_if_poisoned(error)
            if len(owners) == 1:
                owners[0].failure = error
                continue
            separately = True
            recovery.note("denoise", "job_by_job")
            continue
        for (part, sheet), one in zip(batch, torch.split(latents, 1), strict=True):
            after_step = _after_step(parts, (part,), batches * steps, total)
            _finish(drawing, part, sheet, one, after_step, recovery)
        batches += 1
    return [part.outcome for part in parts]


def _next_batch(parts: Sequence[Part[Sheet]], largest: int, *, separately: bool) -> Sequence[tuple[Part[Sheet], Sheet]]:
    unfinished = [part for part in parts if part.left]
    if separately:
        unfinished = unfinished[:1]
    return [(part, sheet) for part in unfinished for sheet in part.left][:largest]


def _batches_left(parts: Sequence[Part[Any]], largest: int, *, separately: bool) -> int:
    left = [len(part.left) for part in parts]
    return sum(-(-each // largest) for each in (left if separately else [sum(left)]))


def _owners(batch: Sequence[tuple[Part[Sheet], Sheet]]) -> Sequence[Part[Sheet]]:
    owners: list[Part[Sheet]] = []
    for part, _ in batch:
        if part not in owners[-1:]:
            owners.append(part)
    return owners


def _finish(
    drawing: Drawing[Sheet],
    part: Part[Sheet],
    sheet: Sheet,
    latents: torch.Tensor,
    after_step: AfterStep,
    recovery: Recovery,
) -> None:
    """Make a picture of its latents, unless its job has failed."""
    if part.failure is not None:
        return
    try:
        part.drawn.append(_picture(drawing, (part, sheet), latents, after_step, recovery))
    except _AbandonedError:
        return
    except Exception as error:  # noqa: BLE001 - as above
        raise_if_poisoned(error)
        part.failure = error


def _denoise(
    drawing: Drawing[Sheet], batch: Sequence[tuple[Part[Sheet], Sheet]], after_step: AfterStep, recovery: Recovery
) -> torch.Tensor:
    vae = drawing.vae if drawing.encodes else None
    sheets = [sheet for _, sheet in batch]
    return recovery.attempt("denoise", partial(drawing.denoise, sheets, after_step), vae=vae)


def _picture(
    drawing: Drawing[Sheet],
    sheet: tuple[Part[Sheet], Sheet],
    latents: torch.Tensor,
    after_step: AfterStep,
    recovery: Recovery,
) -> Pixels:
    try:
        return _decoded(drawing, latents, recovery)
    except OutputInvalid:
        recovery.note("generate", "again")
    again = _denoise(drawing, [sheet], after_step, recovery)
    try:
        return _decoded(drawing, again, recovery)
    except OutputInvalid as error:
        raise OutputInvalid(
            f"{error}, also when it was generated once more; change the seed, the prompt or the guidance"
        ) from None


def _decoded(drawing: Drawing[Any], latents: torch.Tensor, recovery: Recovery) -> Pixels:
    """Half precision can overflow inside a VAE, which shows as black or as values that are not numbers."""
    decode = partial(_decoded_as_held, drawing, latents, recovery)
    try:
        return decode()
    except OutputInvalid:
        if drawing.vae.dtype == torch.float32:
            raise
    recovery.note("decode", "float32")
    with in_float32(drawing.vae):
        return decode()


def _decoded_as_held(drawing: Drawing[Any], latents: torch.Tensor, recovery: Recovery) -> Pixels:
    frames = recovery.attempt("decode", partial(drawing.decode, latents), vae=drawing.vae)
    if not frames.any():
        raise OutputInvalid("the picture is black all over")
    return frames


def _after_step(parts: Collection[Part[Any]], owners: Collection[Part[Any]], before: int, total: int) -> AfterStep:
    """All hear of each step, also those whose turn it is not: a cancellation or a deadline comes at any time."""

    def after_step(done: int) -> None:
        for part in parts:
            part.hear(before + done, total)
        if all(part.failure is not None for part in owners):
            raise _AbandonedError

    return after_step
