"""How the threads of the model libraries wait for each other where models are small and cores few."""

from __future__ import annotations

import os


def let_threads_sleep() -> None:
    """What torch reads from the environment while it is imported, unless the operator has set it.

    Where two workers share two cores, threads that spin while they wait for each other take the time of those that
    work: jobs took twice as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
