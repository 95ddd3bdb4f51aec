"""`queue`: what waits, who holds it, what was put aside, and what an operator does about it."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Mapping

from ourvidz_worker.cli.exit_codes import USAGE_EXIT
from ourvidz_worker.cli.queue import cancelling, dead, parked, status
from ourvidz_worker.cli.queue.desk import Desk, UnknownQueue, open_desk
from ourvidz_worker.cli.queue.output import Output
from ourvidz_worker.control import ExitCode
from ourvidz_worker.errors import BackendRefused, ConfigurationError, WorkerError
from ourvidz_worker.log import configure_logging
from ourvidz_worker.settings import Settings, load_settings

Action = Callable[[Desk, argparse.Namespace], Awaitable[int]]


def run(arguments: argparse.Namespace) -> int:
    settings = load_settings()
    configure_logging(level=settings.log_level, log_format=settings.log_format, secrets=settings.secrets)
    output = Output(settings.secrets, as_json=arguments.json)
    try:
        return asyncio.run(_act(settings, output, arguments))
    except UnknownQueue as error:
        output.complain(str(error))
        return USAGE_EXIT
    except BackendRefused as error:
        raise ConfigurationError(str(error)) from error
    except ConfigurationError:
        raise
    except WorkerError as error:
        output.complain(f"{error}; every queue command may be repeated")
        return ExitCode.INTERNAL


async def _act(settings: Settings, output: Output, arguments: argparse.Namespace) -> int:
    async with open_desk(settings, output, queue=getattr(arguments, "queue", None)) as desk:
        return await _ACTIONS[arguments.action](desk, arguments)


_ACTIONS: Mapping[str, Action] = {
    "status": status.show,
    "cancel": cancelling.cancel,
    "dead list": dead.show_list,
    "dead show": dead.show,
    "dead requeue": dead.requeue,
    "dead drop": dead.drop,
    "parked list": parked.show_list,
    "parked resend": parked.resend,
    "parked drop": parked.drop,
}
