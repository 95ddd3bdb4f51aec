"""What the studio asks for under `/local`: who may, what jobs look like, places in line, progress, cancelling."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.local.auth import DEMO_USER_ID
from ourvidz_worker.local.waiting_line import WINDOW, Waiting, in_claim_order
from tests.support.embedded import JOB_TYPES, RunningBackend
from tests.support.loop_thread import LoopThread
from tests.support.waiting import wait_until

PAYLOADS = Path(__file__).parents[1] / "payloads"
CATALOGUE = parse_catalogue(JOB_TYPES.read_text())
PNG = {"Content-Type": "image/png"}
OTHER_USER = "5f0c1de0-0000-4000-8000-00000000beef"
NO_JOB = "5f0c1de0-0000-4000-8000-000000000000"


def user_headers(backend: RunningBackend, user_id: str = DEMO_USER_ID) -> dict[str, str]:
    token = backend.backend.keys.sign({"sub": user_id, "role": "authenticated"}, 60)
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def studio(backend: RunningBackend) -> Iterator[httpx.Client]:
    """The demo user's page."""
    with httpx.Client(base_url=backend.url, headers=user_headers(backend), timeout=60) as client:
        yield client


def queue(studio: httpx.Client, job_type: str = "sdxl_image_fast", **metadata: Any) -> str:
    body = {"jobType": job_type, "metadata": {"prompt": "a lighthouse", **metadata}}
    return str(studio.post("/functions/v1/queue-job", json=body).raise_for_status().json()["job"]["id"])


def shown(studio: httpx.Client) -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = studio.get("/local/jobs").raise_for_status().json()["jobs"]
    return jobs


def report(http: httpx.Client, job_id: str, status: str, **more: Any) -> None:
    http.post("/functions/v1/job-callback", json={"job_id": job_id, "status": status, **more}).raise_for_status()


def redis(backend: RunningBackend, *command: str) -> Any:
    return backend.run(backend.backend._redis.execute(command))


class TestConfig:
    def test_every_type_with_what_it_takes(self, backend: RunningBackend) -> None:
        config = httpx.get(f"{backend.url}/local/config").json()
        assert [choice["name"] for choice in config["job_types"]] == list(CATALOGUE)
        assert config["anon_key"] == backend.backend.keys.anon_key
        choices = {choice["name"]: choice for choice in config["job_types"]}
        still, clip = choices["sdxl_image_fast"], choices["video7b_high_enhanced"]
        assert (still["num_images"], still["negative_prompt"]) == ([1, 3, 6], True)
        assert (clip["num_images"], clip["negative_prompt"]) == ([1], False)
        assert still["references"] == ["style", "composition", "character"]
        assert clip["references"] == ["style", "composition", "character", "start", "end"]
        assert (clip["enhanced"], clip["quality"], clip["fps"]) == (True, "high", 16)

    def test_no_secret_is_in_it(self, backend: RunningBackend) -> None:
        text = httpx.get(f"{backend.url}/local/config").text
        keys = backend.backend.keys
        for secret in (keys.service_key, keys.redis_token, keys.jwt_secret, keys.demo_password, keys.callback_secret):
            assert secret not in text


class TestSession:
    def test_the_demo_user_is_signed_in_and_can_refresh(self, backend: RunningBackend) -> None:
        session = httpx.post(f"{backend.url}/local/session").json()
        assert session["user"]["id"] == DEMO_USER_ID
        bearer = {"Authorization": f"Bearer {session['access_token']}"}
        assert httpx.get(f"{backend.url}/local/jobs", headers=bearer).json() == {"jobs": []}
        again = {"refresh_token": session["refresh_token"]}
        refreshed = httpx.post(f"{backend.url}/auth/v1/token?grant_type=refresh_token", json=again)
        assert refreshed.json()["user"]["id"] == DEMO_USER_ID

    def test_no_other_site_gets_one(self, studio: httpx.Client) -> None:
        foreign: list[dict[str, str]] = [
            {"Origin": "https://elsewhere.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:1"},
            {"Host": "rebound.example"},
            {"Host": "rebound.example:8787", "Origin": "http://rebound.example:8787"},
            {"Host": "127.0.0.1.rebound.example"},
            {"Host": "[::1"},
        ]
        for headers in foreign:
            answer = studio.post("/local/session", headers=headers)
            assert answer.status_code == 403, headers
            assert "token" not in answer.text

    def test_the_page_itself_gets_one_under_each_of_its_names(
        self, backend: RunningBackend, studio: httpx.Client
    ) -> None:
        port = backend.url.rpartition(":")[2]
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", "[::1]:9"):
            headers = {"Host": host, "Origin": f"http://{host}"}
            assert studio.post("/local/session", headers=headers).status_code == 200, host

    def test_reading_gives_none(self, backend: RunningBackend) -> None:
        assert httpx.get(f"{backend.url}/local/session").status_code == 405


class TestWhoMay:
    @pytest.mark.parametrize("token", ["", "Bearer nonsense", "Basic x", "anon"])
    def test_nobody_sees_a_job_without_signing_in(
        self, backend: RunningBackend, studio: httpx.Client, token: str
    ) -> None:
        job_id = queue(studio)
        headers = {"Authorization": f"Bearer {backend.backend.keys.anon_key}" if token == "anon" else token}
        with httpx.Client(base_url=backend.url, headers=headers) as stranger:
            refused = [
                stranger.get("/local/jobs"),
                stranger.post(f"/local/jobs/{job_id}/cancel"),
                stranger.get(f"/local/previews/{job_id}"),
            ]
        assert {answer.status_code for answer in refused} == {401}
        assert all("sign in first" in answer.json()["error"] for answer in refused)

    def test_a_user_sees_and_stops_only_the_users_own(self, backend: RunningBackend, studio: httpx.Client) -> None:
        job_id = queue(studio)
        with httpx.Client(base_url=backend.url, headers=user_headers(backend, OTHER_USER)) as other:
            assert shown(other) == []
            assert other.post(f"/local/jobs/{job_id}/cancel").status_code == 404
            assert other.get(f"/local/previews/{job_id}").status_code == 404
        assert [job["status"] for job in shown(studio)] == ["queued"]

    def test_the_service_key_sees_all(self, studio: httpx.Client, http: httpx.Client) -> None:
        job_id = queue(studio)
        assert [job["id"] for job in shown(http)] == [job_id]

    def test_ids_of_no_job(self, studio: httpx.Client) -> None:
        for job_id in (NO_JOB, "x", "..%2f..%2fstatus", "%00", "%ff", "a" * 5000):
            assert studio.post(f"/local/jobs/{job_id}/cancel").status_code == 404, job_id
            assert studio.get(f"/local/previews/{job_id}").status_code == 404, job_id


class TestJobs:
    def test_a_job_on_its_way(self, studio: httpx.Client, http: httpx.Client) -> None:
        first = queue(studio, "video_fast", seed=4)
        job_id = queue(studio, num_images=3, seed=7, negative_prompt="fog,")
        newest, oldest = shown(studio)
        assert (newest["id"], oldest["id"]) == (job_id, first)
        assert (newest["media"], newest["family"], newest["num_images"]) == ("image", "sdxl", 3)
        assert (oldest["media"], oldest["family"], oldest["negative_prompt"]) == ("video", "wan", None)
        assert newest["negative_prompt"].startswith("fog, bad anatomy")
        assert newest["request"] == {
            "jobType": "sdxl_image_fast",
            "metadata": {"prompt": "a lighthouse", "num_images": 3, "seed": 7, "negative_prompt": "fog,"},
        }
        assert newest["started_at"] is None
        report(http, job_id, "processing")
        assert shown(studio)[0]["started_at"] is not None

    def test_a_finished_job_says_what_its_worker_said(
        self, backend: RunningBackend, studio: httpx.Client, http: httpx.Client
    ) -> None:
        job_id = queue(studio, num_images=3, seed=7)
        keys = [f"{DEMO_USER_ID}/{job_id}_{index}.png" for index in range(3)]
        for key in keys:
            http.post(f"/storage/v1/object/sdxl_image_fast/{key}", content=b"picture", headers=PNG)
        thumbnail = f"/storage/v1/object/sdxl_image_fast/{DEMO_USER_ID}/{job_id}_0.thumb.webp"
        http.post(thumbnail, content=b"small", headers={"Content-Type": "image/webp"})
        told = {
            "generation_time": 3.5,
            "seed": 7,
            "seeds": [7, 8, 9],
            "width": 64,
            "height": 32,
            "model": "tiny-sdxl",
            "reference_methods": [{"type": "style", "method": "ip_adapter", "strength": 0.7}],
        }
        report(http, job_id, "processing", metadata={})
        report(http, job_id, "completed", assets=keys, metadata=told, enhancedPrompt="a tall lighthouse")
        (job,) = shown(studio)
        assert (job["status"], job["seconds"], job["model"]) == ("completed", 3.5, "tiny-sdxl")
        assert (job["seed"], job["seeds"], job["methods"]) == (7, [7, 8, 9], {"style": "ip_adapter"})
        assert (job["metadata"], job["enhanced_prompt"]) == (told, "a tall lighthouse")
        first, second, _ = job["assets"]
        assert (first["name"], first["seed"], first["bytes"]) == (f"{job_id}_0.png", 7, 7)
        assert (second["seed"], second["width"], second["height"], second["thumbnail"]) == (8, 64, 32, None)
        assert httpx.get(backend.url + first["url"]).content == b"picture"
        assert httpx.get(backend.url + first["thumbnail"]).content == b"small"
        assert shown(studio)[0]["assets"] == job["assets"]  # a browser need not load them again

    def test_half_a_letter_in_a_report_spoils_nothing(self, studio: httpx.Client, http: httpx.Client) -> None:
        body = json.dumps(
            {"job_id": queue(studio), "status": "failed", "error_message": "x", "metadata": {"a": "\ud800"}}
        )
        http.post("/functions/v1/job-callback", content=body).raise_for_status()
        assert [job["status"] for job in shown(studio)] == ["failed"]

    def test_a_failed_job_says_why_and_whether_to_try_again(self, studio: httpx.Client, http: httpx.Client) -> None:
        job_id = queue(studio)
        told = {"error_type": "out_of_memory", "retryable": True}
        report(http, job_id, "failed", error_message="no room", metadata=told)
        (job,) = shown(studio)
        assert (job["status"], job["error"]) == ("failed", "no room")
        assert (job["error_type"], job["retryable"]) == ("out_of_memory", True)

    def test_a_job_that_was_stopped_is_no_failure(self, studio: httpx.Client, http: httpx.Client) -> None:
        told = {"error_type": "cancelled", "retryable": False}
        report(http, queue(studio), "failed", error_message="the job was cancelled", metadata=told)
        assert [job["status"] for job in shown(studio)] == ["cancelled"]

    def test_references_can_be_shown(self, backend: RunningBackend, studio: httpx.Client) -> None:
        path = f"reference_images/{DEMO_USER_ID}/style.png"
        studio.post(f"/storage/v1/object/{path}", content=b"style", headers=PNG).raise_for_status()
        lapsed = f"{backend.url}/storage/v1/object/sign/{path}?token=lapsed"
        elsewhere = "https://pictures.example/a.png"
        references = [{"type": "style", "url": path, "strength": 0.4}, {"type": "character", "url": elsewhere}]
        queue(studio, references=references, reference_image_url=lapsed, reference_type="composition")
        by_type = {reference["type"]: reference for reference in shown(studio)[0]["references"]}
        assert by_type["style"]["strength"] == 0.4
        for role in ("style", "composition"):
            assert httpx.get(backend.url + by_type[role]["url"]).content == b"style", role
        assert by_type["character"]["url"] == elsewhere

    @pytest.mark.parametrize("references", ["nonsense", [{"type": "style", "url": f"reference_images/{OTHER_USER}/a"}]])
    def test_references_that_no_worker_takes_are_not_shown(self, studio: httpx.Client, references: object) -> None:
        queue(studio, references=references)
        assert shown(studio)[0]["references"] == []

    def test_recorded_jobs_can_be_asked_for_again(self, backend: RunningBackend, http: httpx.Client) -> None:
        payloads = {path.stem: json.loads(path.read_text()) for path in sorted(PAYLOADS.glob("*.json"))}
        for payload in payloads.values():
            backend.run(backend.backend.submit(payload))
        requests = {job["id"]: job["request"] for job in shown(http)}
        for name, payload in payloads.items():
            request, told = requests[payload["id"]], payload["metadata"]
            assert request["jobType"] == payload["type"], name
            assert request["metadata"]["prompt"] == told.get("original_prompt", payload["prompt"]), name
            for wish in ("seed", "reference_image_url", "start_reference_url", "num_images"):
                said = [section[wish] for section in (payload, told, payload["config"]) if section.get(wish)]
                assert request["metadata"].get(wish) == (said[-1] if said else None), (name, wish)


class TestPlaces:
    def test_each_queue_counts_from_one_and_fast_jobs_come_first(self, studio: httpx.Client) -> None:
        slow, fast = queue(studio, "sdxl_image_high"), queue(studio, "sdxl_image_fast")
        clip = queue(studio, "video_high")
        with events(studio) as told:
            assert told.progress()["queued"] == {fast: 1, slow: 2, clip: 1}

    def test_a_job_that_has_waited_long_is_passed_by_nobody(self) -> None:
        now = datetime.now(UTC)
        ages = {"young": 1, "old": 500}
        line = [Waiting(name, "sdxl_image_high", now - timedelta(seconds=age)) for name, age in ages.items()]
        line += [Waiting("again", "sdxl_image_high", now, redelivered=True), Waiting(), Waiting("fast", "f", now)]
        order = [job.job_id for job in in_claim_order(line, {"f"}, now)]
        assert order == ["old", "again", None, "fast", "young"]

    def test_a_claim_looks_only_so_far(self) -> None:
        now = datetime.now(UTC)
        line = [Waiting(str(number), "slow", now) for number in range(WINDOW)] + [Waiting("fast", "f", now)]
        assert [job.job_id for job in in_claim_order(line, {"f"}, now)][:2] == ["0", "fast"]

    def test_what_is_no_job_takes_a_place_and_spoils_nothing(
        self, backend: RunningBackend, studio: httpx.Client
    ) -> None:
        redis(backend, "LPUSH", "sdxl_queue", "{", "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), "[]")
        job_id = queue(studio)
        with events(studio) as told:
            assert told.progress()["queued"] == {job_id: 4}


class TestCancelling:
    def test_a_job_that_waits_leaves_the_queue(self, backend: RunningBackend, studio: httpx.Client) -> None:
        other, job_id = queue(studio), queue(studio)
        answer = studio.post(f"/local/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()) == (202, {"status": "cancelled"})
        assert redis(backend, "LLEN", "sdxl_queue") == 1
        assert [(job["id"], job["status"]) for job in shown(studio)] == [(job_id, "cancelled"), (other, "queued")]
        assert shown(studio)[0]["completed_at"]
        assert [row["status"] for row in backend.backend.rows("images", job_id)] == ["cancelled"]
        again = studio.post(f"/local/jobs/{job_id}/cancel")
        assert (again.status_code, again.json()["error"]) == (409, "the job is cancelled already")

    def test_a_job_that_runs_is_marked_as_the_command_does(
        self, backend: RunningBackend, studio: httpx.Client, http: httpx.Client
    ) -> None:
        job_id = queue(studio)
        redis(backend, "LMOVE", "sdxl_queue", "sdxl_queue:held:pod-1", "RIGHT", "LEFT")
        report(http, job_id, "processing")
        answer = studio.post(f"/local/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()) == (202, {"status": "cancelling"})
        assert 0 < redis(backend, "TTL", f"worker:cancel:{job_id}") <= 24 * 3600
        (job,) = shown(studio)
        assert (job["status"], job["cancelling"]) == ("processing", True)
        report(http, job_id, "failed", error_message="the job was cancelled", metadata={"error_type": "cancelled"})
        (job,) = shown(studio)
        assert (job["status"], job["cancelling"]) == ("cancelled", False)

    def test_a_job_that_was_lost_with_its_redis_is_over_at_once(
        self, backend: RunningBackend, studio: httpx.Client
    ) -> None:
        job_id = queue(studio)
        redis(backend, "FLUSHDB")
        assert studio.post(f"/local/jobs/{job_id}/cancel").json() == {"status": "cancelled"}
        assert redis(backend, "EXISTS", f"worker:cancel:{job_id}") == 1  # for a worker that has it all the same

    def test_a_job_that_is_over_stays_so(self, studio: httpx.Client, http: httpx.Client) -> None:
        job_id = queue(studio)
        report(http, job_id, "failed", error_message="no room")
        answer = studio.post(f"/local/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()["error"]) == (409, "the job is failed already")
        assert shown(studio)[0]["status"] == "failed"


class Told:
    """The event stream, read as it comes."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()

    def next(self, event: str) -> str:
        """The data of the next event of this name."""
        while next(self._lines) != f"event: {event}":
            pass
        return next(self._lines).removeprefix("data: ")

    def progress(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.next("progress"))
        return found

    def progress_with(self, **wanted: Any) -> dict[str, Any]:
        while True:
            progress = self.progress()
            if wanted.items() <= progress.items():
                return progress


@contextmanager
def events(client: httpx.Client) -> Iterator[Told]:
    with client.stream("GET", "/local/events") as response:
        yield Told(response)


class ScriptedPod:
    """The probes of a pod, which say what `workers` and `pictures` hold."""

    def __init__(self) -> None:
        self.workers: Any = {}
        self.pictures: dict[str, bytes] = {}
        self.asked = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        app = web.Application()
        app.add_routes([web.get("/status", self._status), web.get("/previews/{job_id}", self._preview)])
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def working_on(self, job_id: str, **changes: Any) -> None:
        job = {"id": job_id, "type": "t", "attempt": 1, "phase": "generating", "step": 1, "steps": 4, "previews": 0}
        self.workers = {"sdxl": {"state": "BUSY", "jobs": [job | changes]}}

    async def _status(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"version": "1", "workers": self.workers})

    async def _preview(self, request: web.Request) -> web.Response:
        picture = self.pictures.get(request.match_info["job_id"])
        if picture is None:
            raise web.HTTPNotFound
        return web.Response(body=picture, content_type="text/html")


@pytest.fixture(scope="module")
def pod_and_backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ScriptedPod, RunningBackend]]:
    loop, pod = LoopThread("scripted-pod"), ScriptedPod()
    loop.start()
    address = loop.run(pod.start())
    with RunningBackend(tmp_path_factory.mktemp("with-a-pod"), pods=["http://127.0.0.1:1", address]) as backend:
        yield pod, backend
    loop.run(pod.stop())
    loop.stop()


class TestProgress:
    @pytest.fixture
    def pod(self, pod_and_backend: tuple[ScriptedPod, RunningBackend]) -> ScriptedPod:
        pod, backend = pod_and_backend
        backend.clear()
        pod.workers, pod.pictures = {}, {}
        return pod

    @pytest.fixture
    def page(self, pod_and_backend: tuple[ScriptedPod, RunningBackend]) -> Iterator[httpx.Client]:
        backend = pod_and_backend[1]
        with httpx.Client(base_url=backend.url, headers=user_headers(backend), timeout=60) as client:
            yield client

    def test_steps_come_from_the_pod_although_another_one_is_out_of_reach(
        self, pod: ScriptedPod, page: httpx.Client
    ) -> None:
        job_id = queue(page)
        with events(page) as told:
            told.progress_with(queued={job_id: 1}, running=[])
            pod.working_on(job_id, step=2, previews=1)
            running = [{"id": job_id, "phase": "generating", "step": 2, "steps": 4, "previews": 1}]
            progress = told.progress_with(running=running)
            assert progress["workers"] == [{"name": "sdxl", "state": "BUSY"}]
            assert progress["queued"] == {}  # it is claimed, and the queue was looked at before
            pod.working_on(job_id, step=3)
            assert told.progress()["running"][0]["step"] == 3

    @pytest.mark.parametrize("nonsense", [None, [], "x", {"sdxl": None}, {"sdxl": {"state": "BUSY", "jobs": [{}]}}])
    def test_a_pod_that_talks_nonsense_is_a_pod_out_of_reach(
        self, pod: ScriptedPod, page: httpx.Client, nonsense: Any
    ) -> None:
        pod.working_on(NO_JOB)
        with events(page) as told:
            told.progress_with(workers=[{"name": "sdxl", "state": "BUSY"}])
            pod.workers = nonsense
            assert told.progress() == {"running": [], "queued": {}, "workers": []}

    def test_no_pod_is_asked_while_nobody_watches(
        self, pod: ScriptedPod, page: httpx.Client, pod_and_backend: tuple[ScriptedPod, RunningBackend]
    ) -> None:
        live = pod_and_backend[1].backend._live
        with events(page) as first, events(page) as second:
            first.progress()
            second.progress()
        wait_until(lambda: live._looking is None and not live._ending, "the last look")
        asked = pod.asked
        assert page.get("/local/jobs").status_code == 200
        assert pod.asked == asked > 0

    def test_a_preview_is_passed_on_as_a_picture_whatever_the_pod_calls_it(
        self, pod: ScriptedPod, page: httpx.Client
    ) -> None:
        job_id = queue(page)
        assert page.get(f"/local/previews/{job_id}").status_code == 204
        pod.pictures[job_id] = b"webp"
        answer = page.get(f"/local/previews/{job_id}")
        assert (answer.content, answer.headers["content-type"]) == (b"webp", "image/webp")
        assert answer.headers["x-content-type-options"] == "nosniff"
        pod.pictures[job_id] = b"x" * 1_000_000
        assert page.get(f"/local/previews/{job_id}").status_code == 204


class TestEvents:
    def test_they_tell_of_changes_and_hold_nothing_of_a_job(self, studio: httpx.Client) -> None:
        with events(studio) as told:
            assert told.next("jobs") == "changed"
            told.progress()
            job_id = queue(studio, prompt="a secret lighthouse")
            assert told.next("jobs") == "changed"
            assert told.progress_with(queued={job_id: 1}) == {"running": [], "queued": {job_id: 1}, "workers": []}

    def test_a_cancellation_is_a_change(self, backend: RunningBackend, studio: httpx.Client) -> None:
        job_id = queue(studio)
        redis(backend, "LMOVE", "sdxl_queue", "sdxl_queue:held:pod-1", "RIGHT", "LEFT")
        with events(studio) as told:
            told.next("jobs")
            studio.post(f"/local/jobs/{job_id}/cancel").raise_for_status()
            assert told.next("jobs") == "changed"

    def test_they_end_with_the_server(self, tmp_path: Path) -> None:
        with (
            RunningBackend(tmp_path) as running,
            httpx.Client(base_url=running.url, timeout=60) as client,
            events(client) as told,
        ):
            told.progress()
            running.run(running.backend.stop())
            with pytest.raises(StopIteration):
                told.next("jobs")
