from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.logs import logging_restored


@pytest.fixture
def own_logging() -> Iterator[None]:
    """For commands that run inside the test's own process, and set its logging up."""
    with logging_restored():
        yield
