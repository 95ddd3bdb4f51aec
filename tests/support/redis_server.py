"""A real Redis on a port of its own, for what only a real server can prove."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from types import TracebackType
from typing import Self

from tests.support.ports import free_port
from tests.support.waiting import wait_until


class RedisServer:
    """`with RedisServer() as server:` runs `redis-server` without persistence at `server.url`."""

    def __init__(self) -> None:
        binary = shutil.which("redis-server")
        # A suite that skips where the server is missing would pass without having proven anything.
        assert binary, "redis-server is not installed: run 'apt-get install -y redis-server' and repeat"
        self._binary = binary
        self._folder = tempfile.TemporaryDirectory(prefix="redis-")
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        options = {"--port": str(self._port), "--bind": "127.0.0.1", "--save": "", "--dir": self._folder.name}
        self._process = subprocess.Popen(
            [self._binary, *(word for option in options.items() for word in option)],
            stdout=subprocess.DEVNULL,
        )
        wait_until(self._answers, f"an answer of redis-server on port {self._port}")
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, f"redis-server ended with code {self._process.returncode}"
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
