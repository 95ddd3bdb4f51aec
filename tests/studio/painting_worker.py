"""A real worker whose test cards are landscapes: `python -m tests.studio.painting_worker`. Its step can be held."""

from __future__ import annotations

import sys
from unittest.mock import patch

from ourvidz_worker.cli.main import main
from ourvidz_worker.engines import testcard
from tests.studio import painter
from tests.support import troubled_worker

HELD_STEP = 10

if __name__ == "__main__":
    with (
        patch.object(testcard, "TestCardEngine", painter.PaintingEngine),
        patch.object(testcard, "_card", painter.card),
        patch.object(testcard, "_clip", painter.clip),
        patch.object(troubled_worker, "STUCK_STEP", HELD_STEP),
    ):
        sys.exit(main())
