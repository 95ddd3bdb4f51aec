"""A real worker, of which a step can be held: `python -m tests.studio.held_worker`.

While there is a file that `HELD` names, the tenth step goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from unittest.mock import patch

from ourvidz_worker.cli.main import main
from ourvidz_worker.engines.deferred import DeferredEngine
from ourvidz_worker.ports import Generation, OnStep, Order
from tests.support.troubled_worker import stay_while_held

HELD_STEP = 10
_generate = DeferredEngine.generate_together


def _generate_held(engine: DeferredEngine, orders: Sequence[Order]) -> Sequence[Generation | BaseException]:
    return _generate(engine, [replace(order, on_step=_held(order.on_step)) for order in orders])


def _held(on_step: OnStep) -> OnStep:
    def step(done: int, total: int) -> None:
        on_step(done, total)
        if done == HELD_STEP:
            stay_while_held(lambda: on_step(done, total))

    return step


if __name__ == "__main__":
    with patch.object(DeferredEngine, "generate_together", _generate_held):
        sys.exit(main())
