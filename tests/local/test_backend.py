"""The embedded backend as a whole: start, stop, replayed jobs, and the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from ourvidz_worker.local.server import PortTaken
from tests.support.embedded import RunningBackend

PAYLOADS = sorted((Path(__file__).parents[1] / "payloads").glob("*.json"))
PNG = {"Content-Type": "image/png"}


def element_of(backend: RunningBackend, queue: str) -> str:
    environment = backend.environment()
    headers = {"Authorization": f"Bearer {environment['UPSTASH_REDIS_REST_TOKEN']}"}
    answer = httpx.get(f"{environment['UPSTASH_REDIS_REST_URL']}/rpop/{queue}", headers=headers)
    return str(answer.json()["result"])


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with RunningBackend(tmp_path / "first") as first:
        port = int(first.url.rpartition(":")[2])
        second = RunningBackend(tmp_path / "second", port=port)
        with pytest.raises(PortTaken, match=f"port {port} on 127.0.0.1 is taken by another process"), second:
            pass


def test_the_environment_is_the_same_after_a_restart(tmp_path: Path) -> None:
    with RunningBackend(tmp_path) as first:
        before, port = first.environment(), int(first.url.rpartition(":")[2])
    with RunningBackend(tmp_path, port=port) as second:
        assert second.environment() == before


class TestReplay:
    @pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
    def test_recorded_jobs_keep_their_ids(self, backend: RunningBackend, path: Path) -> None:
        payload = json.loads(path.read_text())
        assert backend.run(backend.backend.submit(payload)) == payload["id"]
        queue = "sdxl_queue" if payload["type"].startswith("sdxl") else "wan_queue"
        element = element_of(backend, queue)
        assert json.loads(element) == payload
        assert element == json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
        job = backend.backend.job(payload["id"])
        assert job is not None
        assert job["image_id"] or job["video_id"]

    @pytest.mark.parametrize("wrap", ["{job}", '"{text}"', '["{text}"]', '{{"data":"{text}"}}'])
    def test_an_envelope_goes_onto_the_queue_byte_for_byte(self, backend: RunningBackend, wrap: str) -> None:
        """Section 1: all of these are the same job."""
        job = json.dumps(
            {"id": "5f0c1de0-0000-4000-8000-000000000001", "type": "image_fast", "prompt": 'a "b"'}, indent=1
        )
        element = wrap.format(job=job, text=json.dumps(job)[1:-1])
        backend.run(backend.backend.submit(element))
        assert element_of(backend, "wan_queue") == element

    def test_a_job_without_a_number_of_images_has_six(self, backend: RunningBackend) -> None:
        """Section 2: none at all means an oldest-generation producer that expects 6."""
        job = {"id": "5f0c1de0-0000-4000-8000-000000000001", "type": "sdxl_image_fast", "prompt": "x", "metadata": None}
        job_id = backend.run(backend.backend.submit(job))
        assert len(backend.backend.rows("images", job_id)) == 6

    def test_a_second_replay_starts_anew(self, backend: RunningBackend, http: httpx.Client) -> None:
        payload = json.loads(PAYLOADS[0].read_text())
        for _ in range(2):
            job_id = backend.run(backend.backend.submit(payload))
            job = backend.backend.job(job_id)
            assert job is not None
            assert job["status"] == "queued"
            assert backend.backend.rows("callbacks", job_id) == []
            http.post("/functions/v1/job-callback", json={"job_id": job_id, "status": "failed"})

    @pytest.mark.parametrize(
        ("payload", "reason"),
        [
            ({"type": "image_fast"}, "no id"),
            ({"id": "x", "type": "nosuch"}, "'nosuch' is not in the catalogue"),
            ("[1]", "must hold one job object"),
            ("{", "is not JSON"),
        ],
    )
    def test_what_is_no_job_is_refused(
        self, backend: RunningBackend, payload: dict[str, object] | str, reason: str
    ) -> None:
        with pytest.raises(ValueError, match=reason):
            backend.run(backend.backend.submit(payload))


class TestFiles:
    """Of each job, as `EmbeddedBackend.job` gives them."""

    def test_with_signed_addresses(self, backend: RunningBackend, http: httpx.Client) -> None:
        path = next(path for path in PAYLOADS if path.stem == "sdxl_image_fast")
        job_id = backend.run(backend.backend.submit(json.loads(path.read_text())))
        http.post("/storage/v1/object/sdxl_image_fast/user/a_0.png", content=b"picture", headers=PNG)
        call = {"job_id": job_id, "status": "completed", "assets": ["user/a_0.png"]}
        http.post("/functions/v1/job-callback", json=call)
        (asset,) = assets(backend, job_id)
        assert (asset["bytes"], asset["media_type"]) == (7, "image/png")
        assert httpx.get(f"{backend.url}{asset['url']}").content == b"picture"
        assert backend.backend.file(asset["bucket"], asset["key"]).read_bytes() == b"picture"

    def test_in_the_payloads_bucket(self, backend: RunningBackend, http: httpx.Client) -> None:
        """Section 3: the bucket is named like the job type unless the payload's `bucket` says otherwise."""
        job = {"id": "5f0c1de0-0000-4000-8000-000000000001", "type": "image_fast", "bucket": "workspace_assets"}
        job_id = backend.run(backend.backend.submit(job))
        http.post("/storage/v1/object/workspace_assets/a.png", content=b"x", headers=PNG)
        http.post("/functions/v1/job-callback", json={"job_id": job_id, "status": "completed", "assets": ["a.png"]})
        assert [asset["bucket"] for asset in assets(backend, job_id)] == ["workspace_assets"]

    def test_only_those_that_were_uploaded(self, backend: RunningBackend, http: httpx.Client) -> None:
        job_id = backend.run(backend.backend.submit(json.loads(PAYLOADS[0].read_text())))
        http.post("/functions/v1/job-callback", json={"job_id": job_id, "status": "completed", "assets": ["ghost.png"]})
        assert assets(backend, job_id) == []


def assets(backend: RunningBackend, job_id: str) -> list[dict[str, Any]]:
    job = backend.backend.job(job_id)
    assert job is not None
    found: list[dict[str, Any]] = job["assets"]
    return found


class TestPage:
    def test_the_page_needs_nothing_from_elsewhere(self, backend: RunningBackend) -> None:
        page = httpx.get(backend.url)
        assert "default-src 'self'" in page.headers["content-security-policy"]
        files = {address.partition("#")[0] for address in re.findall(r'(?:src|href)="([^"]+)"', page.text)}
        files -= {"", "/", "/operator"}
        assert len(files) >= 5
        for file in files:
            assert file.startswith("/static/")
            assert httpx.get(f"{backend.url}{file}").status_code == 200
