"""A real worker whose test card takes its time, or gets stuck in a step: `python -m tests.support.troubled_worker`.

`STEP_SECONDS` is how long each step takes. While there is a file that `HELD` names, the third step goes on. Where
`STUCK` names a file that does not exist yet, the third step creates it and never ends. `LAST_SECONDS` is how long the
process may then take to end.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from ourvidz_worker.cli import process
from ourvidz_worker.cli.main import main
from ourvidz_worker.engines import testcard
from ourvidz_worker.ports import Generation, OnStep, Order

STUCK_STEP = 3
HELD_PAUSE = 0.05


class TroubledEngine(testcard.TestCardEngine):
    def generate_together(self, orders: Sequence[Order]) -> Sequence[Generation | BaseException]:
        return super().generate_together([replace(order, on_step=_troubled(order.on_step)) for order in orders])


def _troubled(on_step: OnStep) -> OnStep:
    def step(done: int, total: int) -> None:
        on_step(done, total)
        time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
        if done == STUCK_STEP:
            stay_while_held(lambda: on_step(done, total))
            if _is_first_time():
                threading.Event().wait()

    return step


def stay_while_held(say_so: Callable[[], None]) -> None:
    """Said again and again, so that a job can be stopped meanwhile."""
    held = os.environ.get("HELD")
    while held and Path(held).exists():
        time.sleep(HELD_PAUSE)
        say_so()


def _is_first_time() -> bool:
    try:
        Path(os.environ["STUCK"]).touch(exist_ok=False)
    except (KeyError, FileExistsError):
        return False
    return True


if __name__ == "__main__":
    last_seconds = float(os.environ.get("LAST_SECONDS", process.LAST_SECONDS))
    with patch.object(testcard, "TestCardEngine", TroubledEngine), patch.object(process, "LAST_SECONDS", last_seconds):
        sys.exit(main())
