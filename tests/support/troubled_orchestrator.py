"""The real orchestrator over troubled workers: `python -m tests.support.troubled_orchestrator`.

A worker that hangs has `HANG_SECONDS` to end by itself. `WORKER_MODULE` names other workers than the troubled ones.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from unittest.mock import patch

from ourvidz_worker.cli import orchestrate
from ourvidz_worker.cli.main import main
from ourvidz_worker.supervisor.child import ChildSpec

HANG_SECONDS = 1.0


def troubled(*, name: str, argv: Sequence[str], environment: Mapping[str, str], **told: str) -> ChildSpec:
    family = argv[-1]
    module = os.environ.get("WORKER_MODULE", "tests.support.troubled_worker")
    return ChildSpec(name, (sys.executable, "-m", module, family), environment, **told)


if __name__ == "__main__":
    with patch.object(orchestrate, "ChildSpec", troubled), patch.object(orchestrate, "HANG_GRACE", HANG_SECONDS):
        sys.exit(main(["orchestrator"]))
