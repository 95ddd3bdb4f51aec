"""The embedded backend and a real orchestrator whose workers draw test cards, and can be held in a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.commands import RunningCommand
from tests.support.embedded import RunningBackend
from tests.support.ports import free_port

UNPATIENT = {"OURVIDZ_SDXL_POLL": "0.1", "OURVIDZ_WAN_POLL": "0.1", "OURVIDZ_LEASE": "12"}


class Stage:
    def __init__(self, backend: RunningBackend, gate: Path) -> None:
        self.backend = backend
        self.url = backend.url
        self._gate = gate
        self._http = httpx.Client(base_url=backend.url, headers=backend.service_headers(), timeout=60)

    @property
    def password(self) -> str:
        return self.backend.backend.keys.demo_password

    @contextmanager
    def held(self) -> Iterator[None]:
        """Jobs that come to their third step stay there until the end of the block."""
        self._gate.touch()
        try:
            yield
        finally:
            self._gate.unlink()

    def remove(self, path: str) -> bytes:
        """Take a stored object away, and give what it held; `path` begins with its bucket."""
        content = self._http.get(f"/storage/v1/object/{path}").raise_for_status().content
        self._http.delete(f"/storage/v1/object/{path}").raise_for_status()
        return content

    def put(self, path: str, content: bytes) -> None:
        headers = {"Content-Type": "image/png"}
        self._http.post(f"/storage/v1/object/{path}", content=content, headers=headers).raise_for_status()

    def close(self) -> None:
        self._http.close()


@contextmanager
def running_stage(
    folder: Path, *, backend_class: type[RunningBackend] = RunningBackend, variables: Mapping[str, str] | None = None
) -> Iterator[Stage]:
    """`variables` go to the orchestrator and its workers besides."""
    port = free_port()
    gate = folder / "held"
    with backend_class(folder / "data", pods=[f"http://127.0.0.1:{port}"]) as backend:
        environment = {
            **backend.environment(),
            **UNPATIENT,
            "OURVIDZ_MODELS": "testcard",
            "OURVIDZ_WORKERS": "sdxl,wan",
            "OURVIDZ_PROBE_PORT": str(port),
            "OURVIDZ_PREVIEWS": "on",
            "OURVIDZ_SPOOL": str(folder / "spool"),
            "HELD": str(gate),
            **(variables or {}),
        }
        with RunningCommand(["-m", "tests.support.troubled_orchestrator"], environment):
            stage = Stage(backend, gate)
            try:
                yield stage
            finally:
                stage.close()
