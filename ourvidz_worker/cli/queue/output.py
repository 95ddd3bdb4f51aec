"""What an operator's commands print: tables and sentences for people, JSON for programs.

Much of it comes from jobs: nothing of it may steer a terminal, and no secret of ours leaves in it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ourvidz_worker.log import STRUCK_OUT

_LEAST_WIDTH = 180  # a narrow terminal breaks lines by itself, and leaves ids whole
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one letter or result: `id` is the one in the list, `sentence` says why where it was not `done`."""

    id: str
    job_id: str | None
    done: bool
    sentence: str


class Output:
    """Standard output, of which `as_json` makes one JSON document; complaints go to standard error."""

    def __init__(self, secrets: Sequence[str], *, as_json: bool) -> None:
        self.as_json = as_json
        self._secrets = secrets
        self._console = Console(highlight=False)
        self._console.width = max(self._console.width, _LEAST_WIDTH)

    def document(self, value: Any) -> None:
        # ASCII: half of a surrogate pair may stand in an element, and no terminal takes it.
        print(self._struck_out(json.dumps(value, indent=2)))

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """The last column is folded where it does not fit; what stands in the others is there to be copied."""
        table = Table(box=None, pad_edge=False)
        for heading in headings:
            table.add_column(heading, overflow="fold", no_wrap=heading != headings[-1])
        for row in rows:
            table.add_row(*(Text(self.plain(cell)) for cell in row))
        self._console.print(table)

    def line(self, text: str) -> None:
        print(self.plain(text))

    def complain(self, text: str) -> None:
        print(self.plain(text), file=sys.stderr)

    async def outcomes(self, coming: AsyncIterator[Outcome]) -> int:
        """Tell of each as it comes, also where an error ends them; exit code 1 unless all was done."""
        told: list[Outcome] = []
        try:
            async for outcome in coming:
                told.append(outcome)
                if not self.as_json:
                    say = self.line if outcome.done else self.complain
                    say(f"{outcome.id}: {outcome.sentence}")
        finally:
            if self.as_json:
                self.document([asdict(outcome) for outcome in told])
        return 0 if all(outcome.done for outcome in told) else 1

    def plain(self, value: object) -> str:
        """On one line, with everything escaped that is not printed as itself; "-" for nothing."""
        text = "-" if value is None or value == "" else str(value)
        encoding = sys.stdout.encoding or "ascii"
        return self._struck_out("".join(_shown(character, encoding) for character in text))

    def _struck_out(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, STRUCK_OUT)
        return text


def age(moment: datetime | None) -> str | None:
    """How long ago, to one unit."""
    return None if moment is None else span((datetime.now(UTC) - moment).total_seconds())


def span(seconds: float) -> str:
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return "0 s"


def size(count: int) -> str:
    if count < 10_000:
        return f"{count} B"
    return f"{count / 1e6:.2f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"


def _shown(character: str, encoding: str) -> str:
    printable = character.isprintable() and _fits(character, encoding)
    return character if printable else character.encode("unicode_escape").decode()


def _fits(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
