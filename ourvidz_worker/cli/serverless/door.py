"""`runpod/handler.py`: the SDK takes jobs from RunPod, or from its own local test modes, and the runner runs them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

import structlog

from ourvidz_worker.cli.serverless.answers import Answer
from ourvidz_worker.cli.serverless.runner import Runner
from ourvidz_worker.cli.startup import start_daemon
from ourvidz_worker.contract.catalogue import ModelFamily
from ourvidz_worker.control import ExitCode
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.settings import ServerlessSettings

_LEVELS = {"INFO": "info", "TIP": "info", "WARN": "warning", "ERROR": "error"}  # those below hold jobs and addresses
_RESULTS_VARIABLE = "RUNPOD_WEBHOOK_POST_OUTPUT"


def run() -> int:
    """Serve until the SDK ends, with the SDK's own arguments; `--help` shows them."""
    try:
        settings = start_daemon("serverless", ServerlessSettings)
        runner = Runner(only_family(settings), settings)
    except ConfigurationError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return ExitCode.CONFIGURATION
    loading = runner.start()
    import runpod  # noqa: PLC0415 - takes seconds, in which the models load

    code = loading.result()
    if code is None:
        runpod.RunPodLogger.log = _log
        code = _serve(runner)
    # Not sys.exit: a step that never ends would hold the process here.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def only_family(settings: ServerlessSettings) -> ModelFamily:
    """Which worker the endpoint runs; raises `ConfigurationError` where it is not one."""
    families = [name for name in settings.workers if name != "qwen"]
    if len(families) != 1:
        named = ",".join(settings.workers)
        raise ConfigurationError(
            f"OURVIDZ_WORKERS is wrong: a serverless endpoint runs one worker, sdxl or wan, got {named!r}"
        )
    return "sdxl" if families[0] == "sdxl" else "wan"


def _serve(runner: Runner) -> int:
    """The exit code of whoever has one: a worker that could not go on, or the SDK's test of one job."""
    from runpod import serverless  # noqa: PLC0415 - as above

    try:
        serverless.start(_configuration(runner))
        tested = ExitCode.OK
    except SystemExit as end:
        tested = end.code if isinstance(end.code, int) else ExitCode.INTERNAL
    return runner.stop() or tested


def _configuration(runner: Runner) -> dict[str, Any]:
    from runpod.serverless import progress_update  # noqa: PLC0415 - as above

    heard = os.environ.get(_RESULTS_VARIABLE)
    configuration: dict[str, Any] = {}
    signals = _Signals(runner)

    async def handle(job: Mapping[str, Any]) -> Answer:
        signals.obey()
        answer = await runner.answer(
            job.get("input"), lambda words: progress_update(dict(job), words) if heard else None
        )
        if answer.get("refresh_worker"):
            configuration["refresh_worker"] = True  # RunPod stops the pod; the SDK looks here, and ends by itself
        return answer

    configuration["handler"] = handle
    return configuration


class _Signals:
    """SIGTERM lets the running job finish within our grace period; the SDK's own handler only takes no more jobs."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._theirs: Any = None

    def obey(self) -> None:
        """From the first job on, for the SDK sets its handler when it starts."""
        theirs = signal.getsignal(signal.SIGTERM)
        if theirs != self._hear:
            self._theirs = theirs
            signal.signal(signal.SIGTERM, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._runner.drain()
        if callable(self._theirs):
            self._theirs(number, frame)


def _log(_logger: object, message: object, message_level: str = "INFO", job_id: str | None = None) -> None:
    if (level := _LEVELS.get(message_level)) is not None:
        getattr(structlog.get_logger(), level)("runpod", text=str(message), request_id=job_id)
