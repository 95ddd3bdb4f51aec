"""What is to be queued, from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.contract.job import IMAGE_ROLES


class NotOrdered(ValueError):
    """A command or a file that nothing can be queued from; `problems` are whole sentences."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Order:
    """A `queue-job` body; `label` tells it from the others of a storyboard and is empty where there are none."""

    job_type: str
    metadata: Mapping[str, Any]
    label: str = ""

    @property
    def prompt(self) -> str:
        return str(self.metadata["prompt"])

    def enhanced(self, prompt: str) -> Self:
        return replace(self, metadata={**self.metadata, "prompt": prompt, "original_prompt": self.prompt})

    def body(self) -> dict[str, Any]:
        return {"jobType": self.job_type, "metadata": dict(self.metadata)}


def single_order(arguments: argparse.Namespace) -> Order:
    """The job that the options describe; raises `NotOrdered`."""
    if not (arguments.prompt or "").strip():
        raise NotOrdered([f"--prompt is missing: say what a job of type {arguments.what} shall show"])
    metadata: dict[str, Any] = {"prompt": arguments.prompt, "num_images": arguments.images or 1, "credits": 1}
    for name in ("seed", "scheduler"):
        if (value := getattr(arguments, name)) is not None:
            metadata[name] = value
    return Order(arguments.what, metadata | dict(_references(arguments)))


def check_options_of_a_storyboard(arguments: argparse.Namespace) -> None:
    """Raises `NotOrdered` for options that describe one job."""
    named = {
        "--prompt": arguments.prompt,
        "--images": arguments.images,
        "--reference": arguments.reference,
        "--start-frame": arguments.start_frame,
        "--end-frame": arguments.end_frame,
        "--scheduler": arguments.scheduler,
    }
    problems = [
        f"{name} describes one job; leave it out, for the scenes of {arguments.what} say what they are"
        for name, value in named.items()
        if value is not None
    ]
    if problems:
        raise NotOrdered(problems)


def check_enhancement(orders: Sequence[Order], catalogue: Catalogue) -> None:
    """Raises `NotOrdered` where a worker would rewrite the rewritten prompt once more."""
    names = dict.fromkeys(order.job_type for order in orders)
    problems = [
        f"--enhance would have a prompt rewritten twice; leave it out, for {name} rewrites its own"
        for name in names
        if name in catalogue and catalogue[name].enhanced
    ]
    if problems:
        raise NotOrdered(problems)


def _references(arguments: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """The fields of contract section 2; several pictures go in its list."""
    given = [_reference(text, arguments) for text in arguments.reference or ()]
    if len(given) == 1:
        yield "reference_image", True
        yield "reference_image_url", given[0]["url"]
        yield "reference_type", given[0]["type"]
    elif given:
        yield "references", given
    if arguments.start_frame:
        yield "start_reference_url", arguments.start_frame
    if arguments.end_frame:
        yield "end_reference_url", arguments.end_frame
    if len(given) == 1 or arguments.start_frame or arguments.end_frame:
        yield "reference_strength", arguments.reference_strength


def _reference(text: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """`URL`, or `TYPE=URL`; an address may have an equals sign of its own."""
    role, _, url = text.partition("=")
    if role not in IMAGE_ROLES:
        role, url = arguments.reference_type, text
    return {"type": role, "url": url, "strength": arguments.reference_strength}
