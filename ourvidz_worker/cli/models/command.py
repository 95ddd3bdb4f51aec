"""`models`: what the weights on the volume are, where they come from, and how they load fast."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from ourvidz_worker.cli.main import USAGE_EXIT
from ourvidz_worker.cli.models import converting, fetching, listing, verifying
from ourvidz_worker.cli.models.shelf import Shelf, UnknownName, open_shelf
from ourvidz_worker.cli.queue.output import Output
from ourvidz_worker.settings import HubSettings, read_settings

INTERRUPTED = 130  # as a shell reports SIGINT

_ACTIONS: Mapping[str, Callable[[Shelf, argparse.Namespace], int]] = {
    "list": listing.show,
    "fetch": fetching.fetch,
    "verify": verifying.verify_pieces,
    "convert": converting.convert_models,
}


def run(arguments: argparse.Namespace) -> int:
    settings = read_settings(HubSettings)
    output = Output(settings.secrets, as_json=arguments.json)
    try:
        return _ACTIONS[arguments.action](open_shelf(settings, output, arguments.names), arguments)
    except UnknownName as error:
        output.complain(str(error))
        return USAGE_EXIT
    except KeyboardInterrupt:
        output.complain("interrupted; what was done is kept, and the same command goes on with it")
        return INTERRUPTED
