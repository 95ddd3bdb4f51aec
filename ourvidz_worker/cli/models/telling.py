"""What became of each thing that a command looked at or did, for people as it happens, for programs at the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from ourvidz_worker.cli.queue.output import Output


@dataclass(frozen=True, slots=True)
class Told:
    """`name` is a key of `models.toml`, or `models_dir` for the volume.

    `sentence` says what is so, or why it is not `ok`.
    """

    name: str
    ok: bool
    sentence: str


def tell_each(output: Output, coming: Iterable[Told]) -> int:
    """Tell of each as it comes, also where an error ends them; exit code 1 unless all is well."""
    told: list[Told] = []
    try:
        for entry in coming:
            told.append(entry)
            if not output.as_json:
                say = output.line if entry.ok else output.complain
                say(f"{entry.name}: {entry.sentence}")
    finally:
        if output.as_json:
            output.document([asdict(entry) for entry in told])
    return 0 if all(entry.ok for entry in told) else 1
