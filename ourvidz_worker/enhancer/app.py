"""The routes of the language worker."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette

from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.errors import Restart
from ourvidz_worker.runtime.language.service import PromptService


def build_app(
    service: PromptService,
    *,
    token: str,
    time_limit: float,
    catalogue: Catalogue,
    on_restart: Callable[[Restart], None],
) -> Starlette:
    """The language worker over HTTP; `time_limit` bounds one request, in seconds, its wait included.

    `on_restart` hears of an error after which the process cannot go on.
    """
    raise NotImplementedError
