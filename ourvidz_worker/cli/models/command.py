"""`models`: what the weights on the volume are, where they come from, and how they load fast."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from ourvidz_worker.cli.exit_codes import USAGE_EXIT
from ourvidz_worker.cli.models import converting, fetching, listing, verifying
from ourvidz_worker.cli.models.interruption import Interruption
from ourvidz_worker.cli.models.needed import needed_parts
from ourvidz_worker.cli.models.shelf import Shelf, UnknownName, open_shelf
from ourvidz_worker.cli.models.telling import Told, tell_each
from ourvidz_worker.cli.queue.output import Output
from ourvidz_worker.settings import HubSettings, QwenSettings, read_settings

_ACTIONS: Mapping[str, Callable[[Shelf, argparse.Namespace], int]] = {
    "list": listing.show,
    "fetch": fetching.fetch,
    "verify": verifying.verify_pieces,
    "convert": converting.convert_models,
}


def run(arguments: argparse.Namespace) -> int:
    settings = read_settings(HubSettings)
    output = Output(settings.secrets, as_json=arguments.json)
    interruption = Interruption()
    try:
        with interruption:
            names = arguments.names
            if arguments.needed and not (names := needed_parts(read_settings(QwenSettings))):
                return tell_each(output, [Told("models", ok=True, sentence="the workers of this pod need no weights")])
            shelf = open_shelf(settings, output, names, interruption)
            return _ACTIONS[arguments.action](shelf, arguments)
    except UnknownName as error:
        output.complain(str(error))
        return USAGE_EXIT
    except OSError as error:
        output.complain(f"{error.filename or settings.models_dir} cannot be read: {error.strerror or error}")
        return 1
    except KeyboardInterrupt:
        output.complain("interrupted; give the same command again to go on")
        return interruption.exit_code
