"""The network between pods and their far side: a link for each pod that can be cut, and mended again.

Where this machine lets us, each pod lives in a network namespace of its own, tied by a veth pair to a bridge; a cut
link is down, and what was on its way is lost without a word. Elsewhere each pod reaches the far side on a loopback
address of its own, through a proxy that refuses and cuts off everything while the link is cut.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from tests.support.fault_proxy import FaultProxy

LOOPBACK = "127.0.0.1"
CHOICE = "FLEET_NETWORK"  # `loopback` tries on a machine with namespaces what is used without


class Link(Protocol):
    """A pod's link; `command` is what its processes are started with."""

    @property
    def command(self) -> Sequence[str]: ...

    def address(self, url: str) -> str:
        """Where the pod reaches the far side that answers at this URL."""

    async def cut(self) -> None: ...

    async def mend(self) -> None: ...


@dataclass(frozen=True, slots=True)
class NamespaceLink:
    namespace: str
    device: str

    @property
    def command(self) -> Sequence[str]:
        return ("ip", "netns", "exec", self.namespace)

    def address(self, url: str) -> str:
        return url

    async def cut(self) -> None:
        _run("ip", "link", "set", self.device, "down")

    async def mend(self) -> None:
        _run("ip", "link", "set", self.device, "up")


@dataclass(frozen=True, slots=True)
class LoopbackLink:
    proxy: FaultProxy
    upstream: str

    @property
    def command(self) -> Sequence[str]:
        return ()

    def address(self, url: str) -> str:
        return url.replace(self.upstream, self.proxy.url)

    async def cut(self) -> None:
        await self.proxy.shut()

    async def mend(self) -> None:
        await self.proxy.start()


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge at `host`, in a network that is nobody's (RFC 2544)."""

    tag: str
    host: str

    @property
    def device(self) -> str:
        return f"ov{self.tag}"


@contextmanager
def bridge() -> Iterator[Bridge | None]:
    """None where this machine does not let us, or lets nothing through."""
    made = Bridge(secrets.token_hex(2), f"198.18.{secrets.randbelow(256)}.1")
    try:
        built = os.environ.get(CHOICE) != "loopback" and _build(made)
        yield made if built else None
    finally:
        _try("ip", "link", "del", made.device)


@asynccontextmanager
async def links(names: Sequence[str], over: Bridge | None, upstream: str) -> AsyncIterator[dict[str, Link]]:
    """One for each name, to the far side at `upstream`."""
    async with AsyncExitStack() as stack:
        if over is not None:
            yield {name: stack.enter_context(_joined(over, number, name)) for number, name in enumerate(names, start=2)}
            return
        proxies = {name: FaultProxy(upstream, host=f"127.0.0.{number}") for number, name in enumerate(names, start=2)}
        for proxy in proxies.values():
            await proxy.start()
            stack.push_async_callback(proxy.stop)
        yield {name: LoopbackLink(proxy, upstream) for name, proxy in proxies.items()}


@contextmanager
def _joined(over: Bridge, number: int, name: str) -> Iterator[NamespaceLink]:
    namespace, device = f"{over.device}-{name}", f"{over.device}{name}"
    inside = ("ip", "netns", "exec", namespace)
    try:
        _run("ip", "netns", "add", namespace)
        _run("ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _run("ip", "link", "set", device, "master", over.device, "up")
        _run(*inside, "ip", "address", "add", f"{over.host.rpartition('.')[0]}.{number}/24", "dev", "eth0")
        _run(*inside, "ip", "link", "set", "eth0", "up")
        _run(*inside, "ip", "link", "set", "lo", "up")
        yield NamespaceLink(namespace, device)
    finally:
        _try("ip", "link", "del", device)
        _try("ip", "netns", "del", namespace)


def _build(made: Bridge) -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    try:
        _run("ip", "link", "add", made.device, "type", "bridge")
        _run("ip", "address", "add", f"{made.host}/24", "dev", made.device)
        _run("ip", "link", "set", made.device, "up")
        with _joined(made, 250, "try") as link:
            return _lets_through(link, made.host)
    except (subprocess.CalledProcessError, OSError):
        return False


def _lets_through(link: NamespaceLink, host: str) -> bool:
    """A firewall may be in the way."""
    with socket.create_server((host, 0)) as server:
        port = server.getsockname()[1]
        call = f"import socket; socket.create_connection(({host!r}, {port}), timeout=3).close()"
        return _try(*link.command, sys.executable, "-I", "-S", "-c", call)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _try(*command: str) -> bool:
    with contextlib.suppress(subprocess.CalledProcessError, OSError):
        _run(*command)
        return True
    return False
