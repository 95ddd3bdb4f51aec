"""A worker without Supabase and Upstash: jobs from a Redis server, results into a folder, reports to a receiver."""

from __future__ import annotations

import json
import signal
import uuid
from io import BytesIO
from pathlib import Path

import redis
from PIL import Image

from tests.support.commands import COMMAND_SECONDS, PAYLOADS, RunningCommand, run_command
from tests.support.redis_server import RedisServer
from tests.support.report_receiver import ReportReceiver
from tests.support.waiting import wait_until

PASSWORD, WRITTEN = "p@ss/w0rd-7c1e", "p%40ss%2Fw0rd-7c1e"
SECRET = "callback-secret-5d2b"
QUEUE = "sdxl_queue"


def job(**metadata: str) -> tuple[str, str, str]:
    """A recorded job as one of its own: its id, its user and its element."""
    payload = json.loads((PAYLOADS / "sdxl_image_fast.json").read_text())
    payload |= {"id": str(uuid.uuid4()), "metadata": {**payload["metadata"], **metadata}}
    return payload["id"], payload["user_id"], json.dumps(payload)


def test_jobs_go_through_and_none_is_lost_at_the_end(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    with RedisServer() as server, ReportReceiver(SECRET) as receiver:
        queue = redis.Redis.from_url(server.url, decode_responses=True)
        queue.config_set("requirepass", PASSWORD)
        environment = {
            "OURVIDZ_MODELS": "testcard",
            "OURVIDZ_QUEUE_URL": server.url.replace("redis://", f"redis://default:{WRITTEN}@"),
            "OURVIDZ_STORE_URL": results.as_uri(),
            "OURVIDZ_REPORT_URL": receiver.url,
            "JOB_CALLBACK_SECRET": SECRET,
            "OURVIDZ_SPOOL": str(tmp_path / "spool"),
        }
        with RunningCommand(["-m", "ourvidz_worker", "sdxl"], environment) as worker:
            _, user, _ = job()
            source = f"reference_images/{user}/style.png"
            (results / source).parent.mkdir(parents=True)
            (results / source).write_bytes(picture())
            first, _, element = job(reference_image_url=source, reference_type="style")
            queue.lpush(QUEUE, element)
            over(receiver, first)
            stored = {path.name: path for path in (results / "sdxl_image_fast" / user).iterdir()}
            assert set(stored) == {f"{first}_0.png", f"{first}_0.thumb.webp"}
            with Image.open(stored[f"{first}_0.png"]) as result:
                assert result.size == (1024, 1024)
            # It waits with the server now, and hears of the next job.
            wait_until(lambda: queue.info("clients")["blocked_clients"] == 1, "a worker that waits")
            others = [job() for _ in range(3)]
            for _, _, element in others:
                queue.lpush(QUEUE, element)
            over(receiver, others[0][0])
            command_line = Path(f"/proc/{worker.process.pid}/cmdline").read_text()
            assert worker.stop(signal.SIGTERM) == 0
        status = run_command("queue", "status", "--json", environment=environment)
        assert status.returncode == 0, status.stderr
        [state] = [state for state in json.loads(status.stdout)["queues"] if state["queue"] == QUEUE]
        waiting = [json.loads(element)["id"] for element in queue.lrange(QUEUE, 0, -1)]
        assert (state["held"], state["dead"], state["waiting"]) == ([], 0, len(waiting))
        for job_id, _, _ in others:
            assert (job_id in waiting) != (receiver.statuses(job_id)[-1:] == ["completed"]), worker.log()
        said = worker.log() + status.stdout + status.stderr + command_line
        assert not any(secret in said for secret in (PASSWORD, WRITTEN, SECRET))
        queue.close()


def over(receiver: ReportReceiver, job_id: str) -> None:
    wait_until(
        lambda: receiver.statuses(job_id) == ["processing", "completed"], f"job {job_id}", seconds=COMMAND_SECONDS
    )


def picture() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    return buffer.getvalue()
