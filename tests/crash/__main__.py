"""Print the README's table of crash points: `python -m tests.crash`."""

from __future__ import annotations

from tests.crash.points import markdown

if __name__ == "__main__":
    print(markdown())  # noqa: T201 - for whoever edits the README
