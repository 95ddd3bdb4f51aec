"""A pod whose `/status` says what a test wants it to say."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class ScriptedPod:
    """`with ScriptedPod(BUSY) as pod:` answers at `pod.address`; `pod.status` may change, and may be any bytes."""

    def __init__(self, status: Any) -> None:
        self.status = status
        self.asked = 0
        pod = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pod.asked += 1
                body = pod.status if isinstance(pod.status, bytes) else json.dumps(pod.status).encode()
                self.send_response(200 if self.path == "/status" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing to standard error."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self._server.daemon_threads = True
        self._serving = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="scripted-pod")

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._serving.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._serving.join()
        self._server.server_close()


def worker(**told: Any) -> dict[str, Any]:
    """A worker that waits for jobs, unless it is told otherwise."""
    return {
        "kind": "sdxl",
        "device": "cuda:0",
        "process": "RUNNING",
        "problem": None,
        "pid": 4711,
        "restarts": 0,
        "state": "READY",
        "uptime_seconds": 7230.4,
        "outcomes": {"completed": 12, "failed": 1},
        "completed_per_minute": 3.4,
        "failures": [],
        "waiting": 0,
        "jobs": [],
        "card": {"gb": 0.0, "components": []},
        **told,
    }


def failure(**told: Any) -> dict[str, Any]:
    return {
        "job_id": "5d0e7b1c-7e0f-4b5e-9a55-2f8f6f8d0c11",
        "job_type": "video_fast",
        "attempt": 1,
        "status": "failed",
        "error_type": "out_of_memory",
        "reason": "the card's memory did not suffice for 81 frames of 480x832",
        "at": 1_764_115_200.0,
        **told,
    }


def job(**told: Any) -> dict[str, Any]:
    return {
        "id": "510111e5-b01b-424c-b699-c5107e0b087b",
        "type": "video_fast",
        "attempt": 1,
        "phase": "generating",
        "step": 12,
        "steps": 25,
        "seconds": 61.2,
        "previews": 3,
        **told,
    }


def component(name: str, gb: float, *, in_use: bool = True) -> dict[str, Any]:
    return {"name": name, "gb": gb, "in_use": in_use}


BUSY = {
    "version": "0.1.0",
    "uptime_seconds": 7240.0,
    "workers": {
        "sdxl": worker(
            state="BUSY",
            jobs=[job(id="0e1f7a52-52a8-4c5f-8a3a-6c8de8a30b11", type="sdxl_image_high", step=19, seconds=5.2)],
            card={
                "gb": 9.8,
                "components": [component("unet", 5.1), component("vae", 0.2), component("text encoders", 1.6)],
            },
            outcomes={"completed": 412, "failed": 3},
        ),
        "wan": worker(
            kind="wan",
            pid=4712,
            state="BUSY",
            restarts=2,
            jobs=[job(attempt=2)],
            outcomes={"completed": 57, "failed": 2, "dead": 1},
            completed_per_minute=0.4,
            failures=[
                failure(),
                failure(at=1_764_115_100.0),
                failure(
                    error_type="reference", reason="metadata.reference_image_url leads to a host that is not allowed"
                ),
            ],
            card={
                "gb": 34.5,
                "components": [
                    component("transformer", 28.6),
                    component("text encoder", 11.4, in_use=False),
                    component("vae", 0.5),
                ],
            },
        ),
        "qwen": worker(
            kind="qwen",
            pid=None,
            process="BACKOFF",
            state="STARTING",
            problem="was ended by signal 9 (SIGKILL)",
            restarts=1,
            outcomes={},
            uptime_seconds=3.0,
            completed_per_minute=0.0,
        ),
    },
    "cards": [{"device": "cuda:0", "name": "NVIDIA RTX 6000 Ada", "used_gb": 47.4, "total_gb": 51.5}],
}
