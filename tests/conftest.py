"""Files begin in the order of their names, except for those of these folders.

They start processes, browsers and pods and take longest. A run that begins with them does not end with one of its
processes at work and the others idle.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

# A shell starts what runs in its background with SIGINT ignored, which would be handed on to the commands under test.
signal.signal(signal.SIGINT, signal.default_int_handler)

FIRST = ("acceptance", "studio", "crash", "pod", "fleet", "operate", "model")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _place(item.path))


def _place(file: Path) -> int:
    folder = file.relative_to(Path(__file__).parent).parts[0]
    return FIRST.index(folder) if folder in FIRST else len(FIRST)
