"""The embedded backend and a real orchestrator side by side, with jobs going through them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ourvidz_worker.cli.embedded import SHOWING, chosen_token, serving
from ourvidz_worker.cli.plain import FINAL
from ourvidz_worker.cli.selection import Selected, select_models
from ourvidz_worker.contract.catalogue import Catalogue, ModelFamily
from ourvidz_worker.local.backend import EmbeddedBackend
from ourvidz_worker.settings import QwenSettings, read_settings

_REPOSITORY_DOOR = Path(__file__).parents[2] / "orchestrator.py"
_LOOK_SECONDS = 0.5


@dataclass(slots=True)
class Progress:
    """A job as the person watching sees it; `share` of its steps is done, from 0 to 1."""

    id: str
    type: str
    status: str
    phase: str = ""
    share: float = 0.0
    message: str = ""

    @property
    def over(self) -> bool:
        return self.status in FINAL


@dataclass(slots=True)
class Rig:
    """A running backend and orchestrator, and the models that it was given."""

    backend: EmbeddedBackend
    orchestrator: asyncio.subprocess.Process
    status_file: Path
    selected: Selected

    async def watch(self, job_ids: Sequence[str], seen: Callable[[list[Progress]], None], *, seconds: float) -> bool:
        """Call `seen` on every change until all jobs are over; False when the time or the orchestrator ended first."""
        deadline = asyncio.get_running_loop().time() + seconds
        async for _ in self.backend.changes(_LOOK_SECONDS):
            jobs = self.progress(job_ids)
            seen(jobs)
            if all(job.over for job in jobs):
                return True
            if self.orchestrator.returncode is not None or asyncio.get_running_loop().time() > deadline:
                return False
        return False

    def progress(self, job_ids: Sequence[str]) -> list[Progress]:
        running = self._running_jobs()
        return [self._progress(job_id, running.get(job_id)) for job_id in job_ids]

    def _progress(self, job_id: str, running: Mapping[str, Any] | None) -> Progress:
        row = self.backend.job(job_id)
        assert row is not None
        job = Progress(job_id, row["job_type"], row["status"], message=row["error_message"] or "")
        if job.over:
            job.share = 1.0
        elif running:
            job.phase = running["phase"]
            job.share = running["step"] / running["steps"] if running["steps"] else 0.0
        return job

    def _running_jobs(self) -> dict[str, Mapping[str, Any]]:
        try:
            status = json.loads(self.status_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}  # the orchestrator has not said anything yet
        return {job["id"]: job for worker in status["workers"].values() for job in worker["jobs"]}


@asynccontextmanager
async def running_rig(
    *,
    catalogue: Catalogue,
    workers: Sequence[ModelFamily],
    data: Path,
    port: int = 0,
    redis_url: str | None = None,
    profile: Any = "2025-07",
    log_file: Path | None = None,
) -> AsyncIterator[Rig]:
    """Start both, and stop both at the end. Raises `OSError` for a taken port, and `ConfigurationError`."""
    settings = read_settings(QwenSettings)
    selected = select_models(settings, workers)
    probe_port = settings.probe_port or _free_port(settings.probe_host)
    pods = [settings.probe_address(probe_port)]
    backend = EmbeddedBackend(
        data=data,
        catalogue=catalogue,
        port=port,
        redis_url=redis_url,
        callback_profile=profile,
        qwen_token=chosen_token(settings),
        pods=pods,
    )
    variables = {"OURVIDZ_CALLBACK_PROFILE": profile, "OURVIDZ_SPOOL": str(data / "spool")}
    async with serving(
        backend,
        enhancer_url=settings.enhancer_url,
        time_limit=settings.enhancement_limit,
        pods=pods,
        variables=variables,
    ):
        status_file = data / "status.json"
        status_file.unlink(missing_ok=True)
        process = await _start_orchestrator(
            {
                **backend.environment(),
                **variables,
                "OURVIDZ_MODELS": selected.models,
                "OURVIDZ_WORKERS": ",".join(workers),
                "OURVIDZ_STATUS_FILE": str(status_file),
                "OURVIDZ_PROBE_PORT": str(probe_port),
            },
            log_file,
        )
        try:
            yield Rig(backend, process, status_file, selected)
        finally:
            await _stop(process)


async def _start_orchestrator(environment: Mapping[str, str], log_file: Path | None) -> asyncio.subprocess.Process:
    door = [str(_REPOSITORY_DOOR)] if _REPOSITORY_DOOR.is_file() else ["-m", "ourvidz_worker", "orchestrator"]
    stderr = log_file.open("ab") if log_file else None
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *door,
            env={**SHOWING, **os.environ, **environment},
            stderr=stderr,
            start_new_session=True,  # Ctrl-C is for the command; it stops the orchestrator in order
        )
    finally:
        if stderr is not None:
            stderr.close()


def _free_port(host: str) -> int:
    """One that nobody has now; where somebody takes it meanwhile, the studio shows no steps, and all else works."""
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
        return int(server.getsockname()[1])


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    await process.wait()


def families_of(payloads: Sequence[Mapping[str, Any]], catalogue: Catalogue) -> list[ModelFamily]:
    """The workers that these jobs need, SDXL first."""
    names = {payload.get("type") or payload.get("job_type") for payload in payloads}
    return sorted({catalogue[name].model_family for name in names if isinstance(name, str) and name in catalogue})


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="ourvidz-")
