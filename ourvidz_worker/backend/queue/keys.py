"""The names of everything the queue protocol keeps in Redis, and of those who keep it."""

from __future__ import annotations

import os
import re
import secrets
import socket
from dataclasses import dataclass

_LONGEST_POD = 60


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """The keys that belong to one queue."""

    queue: str

    @property
    def dead(self) -> str:
        """The list of dead letters, newest first."""
        return f"{self.queue}:dead"

    def held(self, owner: str) -> str:
        """The list of what an owner holds, newest first; an empty list does not exist in Redis."""
        return f"{self.queue}:held:{owner}"

    @property
    def held_by_anyone(self) -> str:
        """A SCAN pattern for the held lists of all owners."""
        return re.sub(r"([*?\[\]\\])", r"\\\1", self.queue) + ":held:*"

    def owner_of(self, held: str) -> str:
        """Whose list a held key is."""
        return held.removeprefix(self.held(""))


def lease_key(owner: str) -> str:
    """A string with a lifetime: as long as it exists its owner is taken to be alive."""
    return f"worker:lease:{owner}"


def new_owner() -> str:
    """A name that no other process had or will have: the pod, and an id of this start of the process."""
    pod = os.environ.get("RUNPOD_POD_ID") or socket.gethostname()
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', pod)[:_LONGEST_POD]}-{secrets.token_hex(6)}"
