"""A name service of a test's own."""

from __future__ import annotations

import socket
from collections.abc import Mapping

Addresses = tuple[str, ...]


class Names:
    """A `Resolver` that answers from a table; a list of answers is used up one by one."""

    def __init__(self, hosts: Mapping[str, Addresses | list[Addresses]]) -> None:
        self._hosts = hosts
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Addresses:
        self.asked.append(host)
        if host not in self._hosts:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        addresses = self._hosts[host]
        return addresses.pop(0) if isinstance(addresses, list) else addresses
