"""Whether the cards, their driver and PyTorch go together, and whether the models find room on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ourvidz_worker.cli.doctor.diagnosis import Diagnosis, good, note, problem
from ourvidz_worker.cli.doctor.driver import Driver, Version
from ourvidz_worker.settings import QwenSettings
from ourvidz_worker.supervisor.gpu import Card
from ourvidz_worker.supervisor.placement import misplaced

_BFLOAT16 = (8, 0)  # compute capability from which cards compute bfloat16 themselves (CUDA C++ Programming Guide)
_OLDEST = (7, 5)  # CUDA 13 compiles for nothing older (its release notes)


def examine_card(
    settings: QwenSettings,
    cards: Sequence[Card],
    driver: Driver | None,
    torch_cuda: Version | None,
    needs_gb: Mapping[str, float],
) -> Iterator[Diagnosis]:
    """`needs_gb` is what the largest stage of each kind of worker takes of a card."""
    real = settings.models == "real"
    if not cards:
        sentence = "there is no NVIDIA card, or no driver for it"
        cure = "choose a pod with a card of 48 GB; without one, generation on real weights takes hours per video"
        yield note("card", sentence, cure) if real else good("card", sentence)
        return
    for card in cards:
        memory = card.memory
        yield good(
            "card", f"{card.device} answers: {card.name}, {memory.used_gb:.1f} of {memory.total_gb:.1f} GB in use"
        )
    for sentence in misplaced(settings.roster, cards):
        told, _, cure = sentence.rpartition(": ")
        yield problem("card", told, cure)
    if real:
        yield from _build(driver, torch_cuda)
        yield from _capabilities(driver)
        yield from _room(settings, cards, needs_gb)


def _build(driver: Driver | None, torch_cuda: Version | None) -> Iterator[Diagnosis]:
    if torch_cuda is None:
        cure = "install PyTorch's build for CUDA in place of the one for processors alone"
        yield problem("card", "the installed PyTorch cannot use cards", cure)
    elif driver is not None and driver.cuda[0] < torch_cuda[0]:
        # Within one major version an older driver runs newer builds (CUDA Compatibility, minor version compatibility).
        built, runs = (f"{major}.{minor}" for major, minor in (torch_cuda, driver.cuda))
        cure = (
            f"choose a pod whose driver runs CUDA {torch_cuda[0]}, or install PyTorch's build for CUDA {driver.cuda[0]}"
        )
        yield problem("card", f"PyTorch is built for CUDA {built}, and driver {driver.version} runs {runs}", cure)
    elif driver is not None:
        built = ".".join(map(str, torch_cuda))
        yield good("card", f"driver {driver.version} runs PyTorch's build for CUDA {built}")


def _capabilities(driver: Driver | None) -> Iterator[Diagnosis]:
    for index, capability in (driver.capabilities if driver else {}).items():
        shown = ".".join(map(str, capability))
        if capability < _OLDEST:
            cure = "choose a card of the Ampere generation or newer (compute capability 8.0)"
            yield note(
                "card", f"card {index} has compute capability {shown}, too old for current builds of PyTorch", cure
            )
        elif capability < _BFLOAT16:
            cure = "choose a card of the Ampere generation or newer (compute capability 8.0)"
            yield note("card", f"card {index} has compute capability {shown} and computes bfloat16 slowly", cure)


def _room(settings: QwenSettings, cards: Sequence[Card], needs_gb: Mapping[str, float]) -> Iterator[Diagnosis]:
    smallest = min(cards, key=lambda card: card.memory.total_gb)
    for kind in settings.workers:
        need, there = needs_gb.get(kind), smallest.memory.total_gb
        if need is not None and there < need:
            cure = f"choose a card with more memory, or leave {kind} out of the workers of this pod"
            sentence = f"the largest stage of {kind} takes about {need:g} GB, and {smallest.device} has {there:.1f}"
            yield note("card", sentence, cure)
