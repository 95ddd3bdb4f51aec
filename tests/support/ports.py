"""Ports that nobody listens on."""

from __future__ import annotations

import random
import socket

# Below those that Linux gives to whoever asks for any, which may be taken before the process that is told one is up.
_OURS = range(15_000, 30_000)


def free_port() -> int:
    """One for a process that must be told its port."""
    dice = random.SystemRandom()
    while True:
        port = dice.choice(_OURS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue  # taken
            return port
