"""Contract section 5: how `job-callback` answers, row by row."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.embedded import RunningBackend

PAYLOADS = Path(__file__).parents[1] / "payloads"
ADDRESS = "/functions/v1/job-callback"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
NAN = b'{"job_id": "00000000-0000-4000-8000-000000000000", "status": "processing", "metadata": {"vram_used_gb": NaN}}'
DEEP = b"[" * 100_000
SECRET = "the secret of both sides"


def recorded(name: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text())
    return payload


def submitted(backend: RunningBackend, name: str = "sdxl_image_fast.seed_6", *, link: bool = True) -> str:
    return backend.run(backend.backend.submit(recorded(name), link=link))


def called(http: httpx.Client, job_id: str, status: str, assets: Any = (), **more: Any) -> httpx.Response:
    assets = list(assets) if isinstance(assets, tuple) else assets
    return http.post(ADDRESS, json={"job_id": job_id, "status": status, "assets": assets, **more})


def refused(response: httpx.Response) -> str:
    assert response.status_code == 400
    body = response.json()
    assert body["success"] is False
    return str(body["error"])


def status(backend: RunningBackend, job_id: str) -> str:
    job = backend.backend.job(job_id)
    assert job is not None
    return str(job["status"])


class TestProfile2025:
    def test_processing_then_completed(self, backend: RunningBackend, http: httpx.Client) -> None:
        job_id = submitted(backend)
        assert called(http, job_id, "processing").status_code == 200
        assert status(backend, job_id) == "processing"
        keys = tuple(f"user/{job_id}_{index}.png" for index in range(6))
        metadata = {"seed": 7, "generation_time": 4.2, "num_images": 6, "vram_used_gb": 9.5}
        assert called(http, job_id, "completed", keys, metadata=metadata).json()["success"] is True
        job = backend.backend.job(job_id)
        assert job is not None
        assert job["completed_at"]
        assert job["metadata"]["all_assets"] == list(keys)
        assert (job["metadata"]["seed"], job["metadata"]["generation_time"]) == (7, 4.2)
        images = backend.backend.rows("images", job_id)
        assert [(image["image_url"], image["status"]) for image in images] == [(key, "completed") for key in keys]

    def test_a_video(self, backend: RunningBackend, http: httpx.Client) -> None:
        job_id = submitted(backend, "video_fast.project_videoid")
        assert called(http, job_id, "completed", ("user/job.mp4",)).status_code == 200
        (video,) = backend.backend.rows("videos", job_id)
        assert (video["id"], video["video_url"]) == (recorded("video_fast.project_videoid")["video_id"], "user/job.mp4")

    def test_failed(self, backend: RunningBackend, http: httpx.Client) -> None:
        for name in ("image_fast", "video_fast"):
            job_id = submitted(backend, name)
            assert called(http, job_id, "failed", error_message="the card is full").status_code == 200
            job = backend.backend.job(job_id)
            assert job is not None
            assert (job["status"], job["error_message"]) == ("failed", "the card is full")

    @pytest.mark.parametrize(("name", "column"), [("image_fast", "image_id"), ("video_fast", "video_id")])
    def test_the_race(self, backend: RunningBackend, http: httpx.Client, name: str, column: str) -> None:
        """Section 5: completed too early | 400 `… cannot be completed without an associated image_id`."""
        job_id = submitted(backend, name, link=False)
        assert called(http, job_id, "processing").status_code == 200
        error = refused(called(http, job_id, "completed", ("a",)))
        assert error.endswith(f"cannot be completed without an associated {column}")
        assert status(backend, job_id) == "processing"
        backend.backend.link(job_id)
        assert called(http, job_id, "completed", ("a",)).status_code == 200

    def test_job_row_missing(self, http: httpx.Client) -> None:
        """Section 5: job row missing | 400 `Cannot coerce the result to a single JSON object`."""
        assert refused(called(http, UNKNOWN, "processing")) == "Cannot coerce the result to a single JSON object"

    @pytest.mark.parametrize("word", ["done", "queued", "COMPLETED", "", None, 7])
    def test_status_not_one_of_the_three(self, backend: RunningBackend, http: httpx.Client, word: Any) -> None:
        """Section 5: status not one of the three | 400."""
        job_id = submitted(backend)
        assert "jobs_status_check" in refused(called(http, job_id, word))
        assert status(backend, job_id) == "queued"

    def test_processing_after_completed(self, backend: RunningBackend, http: httpx.Client) -> None:
        """Section 5: `processing` after `completed` | 200 and the job goes **back** to processing."""
        job_id = submitted(backend)
        called(http, job_id, "completed", ("a",))
        assert called(http, job_id, "processing").status_code == 200
        job = backend.backend.job(job_id)
        assert job is not None
        assert (job["status"], job["completed_at"]) == ("processing", None)

    def test_completed_twice(self, backend: RunningBackend, http: httpx.Client) -> None:
        """Section 5: `completed` twice | 200, same result."""
        job_id = submitted(backend)
        for _ in range(2):
            assert called(http, job_id, "completed", ("a", "b")).status_code == 200
            images = backend.backend.rows("images", job_id)
            assert [image["image_url"] for image in images] == ["a", "b", None, None, None, None]
            assert status(backend, job_id) == "completed"

    def test_completed_with_no_assets(self, backend: RunningBackend, http: httpx.Client) -> None:
        """Section 5: `completed` with no assets | 200 and a broken record."""
        job_id = submitted(backend)
        assert called(http, job_id, "completed").status_code == 200
        job = backend.backend.job(job_id)
        assert job is not None
        assert job["metadata"]["callback_error"]["issue"] == "completed_without_assets"
        assert all(image["image_url"] is None for image in backend.backend.rows("images", job_id))

    @pytest.mark.parametrize("assets", [[{"type": "image", "url": "a"}], ["a", {"url": "b"}], [7], "a.png", {"a": 1}])
    def test_assets_are_strings(self, backend: RunningBackend, http: httpx.Client, assets: Any) -> None:
        """Section 5: `assets` are strings: an object in the list fails the call."""
        job_id = submitted(backend)
        assert refused(called(http, job_id, "completed", assets))
        assert status(backend, job_id) == "queued"

    @pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"{}", b'{"job_id": ""}', b'{"job_id": "x"}', NAN, DEEP])
    def test_any_failure_at_all_is_400(self, http: httpx.Client, body: bytes) -> None:
        """Section 5: any failure at all, passing or final | 400 `{"error":"…","success":false}`."""
        assert refused(http.post(ADDRESS, content=body))

    def test_not_a_number_is_not_json(self, backend: RunningBackend, http: httpx.Client) -> None:
        """Python writes NaN without complaint; the function's JSON.parse refuses the whole call."""
        body = NAN.replace(UNKNOWN.encode(), submitted(backend).encode())
        assert "NaN is not JSON" in refused(http.post(ADDRESS, content=body))

    def test_metadata_that_is_no_object_is_passed_over(self, backend: RunningBackend, http: httpx.Client) -> None:
        assert called(http, submitted(backend), "processing", metadata="fast").status_code == 200

    def test_an_error_message_of_the_wrong_type_becomes_text(self, backend: RunningBackend, http: httpx.Client) -> None:
        job_id = submitted(backend)
        assert called(http, job_id, "failed", error_message={"reason": "no"}).status_code == 200
        job = backend.backend.job(job_id)
        assert job is not None
        assert job["error_message"] == '{"reason": "no"}'

    def test_enhanced_prompts_are_kept_for_image_high(self, backend: RunningBackend, http: httpx.Client) -> None:
        job_id = submitted(backend, "image_high")
        called(http, job_id, "completed", ("a",), enhancedPrompt="better", enhanced_prompt="better")
        job = backend.backend.job(job_id)
        assert job is not None
        assert job["metadata"]["enhanced_prompt"] == "better"

    def test_gateway(self, backend: RunningBackend) -> None:
        """Section 5: gateway | 401/404: configuration."""
        address = f"{backend.url}{ADDRESS}"
        assert httpx.post(address, json={}).status_code == 401
        wrong = {**backend.service_headers(), "apikey": "wrong"}
        assert httpx.post(address, headers=wrong, json={}).status_code == 401

    def test_every_call_is_recorded_in_order(self, backend: RunningBackend, http: httpx.Client) -> None:
        job_id = submitted(backend, link=False)
        called(http, job_id, "processing")
        called(http, job_id, "completed", ("a",))
        calls = backend.backend.rows("callbacks", job_id)
        assert [(call["status"], call["answer_status"]) for call in calls] == [("processing", 200), ("completed", 400)]
        assert json.loads(calls[1]["body"])["assets"] == ["a"]
        assert "cannot be completed" in calls[1]["answer"]
        assert calls[0]["received_at"] <= calls[1]["received_at"]


class TestProfile2026:
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[RunningBackend]:
        with RunningBackend(tmp_path, callback_profile="2026-02", callback_secret=SECRET) as running:
            yield running

    def signed(self, http: httpx.Client, call: Any, *, secret: str = SECRET, after: bytes = b"") -> httpx.Response:
        body = call if isinstance(call, bytes) else json.dumps(call, indent=1).encode()
        signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return http.post(ADDRESS, content=body + after, headers={"X-Callback-Signature": signature})

    def test_the_secret_is_part_of_the_environment(self, backend: RunningBackend) -> None:
        assert backend.environment()["JOB_CALLBACK_SECRET"] == SECRET

    def test_assets_are_objects(self, backend: RunningBackend, http: httpx.Client) -> None:
        job_id = submitted(backend, "sdxl_image_fast.2026-02")
        asset = {"type": "image", "url": "user/a.png", "thumbnail_url": "user/a.thumb.webp", "metadata": {"seed": 42}}
        answer = self.signed(
            http, {"job_id": job_id, "status": "completed", "assets": [asset], "metadata": {"seed": 42}}
        )
        assert answer.json() == {
            "success": True,
            "jobId": job_id,
            "status": "completed",
            "message": "Callback processed successfully",
        }
        (row,) = backend.backend.rows("workspace_assets", job_id)
        assert (row["temp_storage_path"], row["mime_type"], row["generation_seed"]) == ("user/a.png", "image/png", 42)
        assert row["thumbnail_path"] == "user/a.thumb.webp"

    def test_string_assets_are_silently_dropped(self, backend: RunningBackend, http: httpx.Client) -> None:
        """Section 5: there, string assets are silently dropped."""
        job_id = submitted(backend, "sdxl_image_fast.2026-02")
        answer = self.signed(http, {"job_id": job_id, "status": "completed", "assets": ["user/a.png"]})
        assert answer.json()["success"] is True
        assert status(backend, job_id) == "completed"
        assert backend.backend.rows("workspace_assets", job_id) == []

    def test_the_signature_covers_the_exact_bytes(self, backend: RunningBackend, http: httpx.Client) -> None:
        """Section 5: HMAC-SHA256(JOB_CALLBACK_SECRET, exact body bytes)."""
        call = {"job_id": submitted(backend), "status": "processing"}
        assert http.post(ADDRESS, json=call).status_code == 401
        assert self.signed(http, call, secret="another").status_code == 401
        assert self.signed(http, call, after=b"\n").status_code == 401
        assert self.signed(http, call).status_code == 200

    def test_finished_and_unknown_jobs_are_skipped(self, backend: RunningBackend, http: httpx.Client) -> None:
        job_id = submitted(backend)
        self.signed(http, {"job_id": job_id, "status": "completed", "assets": []})
        for late in ({"job_id": job_id, "status": "processing"}, {"job_id": UNKNOWN, "status": "processing"}):
            assert self.signed(http, late).json() == {"success": True, "skipped": True}
        assert status(backend, job_id) == "completed"

    def test_failed(self, backend: RunningBackend, http: httpx.Client) -> None:
        job_id = submitted(backend)
        call = {"job_id": job_id, "status": "failed", "error_message": "no", "metadata": {"error_type": "bad_job"}}
        assert self.signed(http, call).status_code == 200
        job = backend.backend.job(job_id)
        assert job is not None
        assert (job["error_message"], job["metadata"]["error_type"]) == ("no", "bad_job")

    @pytest.mark.parametrize(
        ("call", "code"),
        [(b"not json", 500), (b"{}", 400), (b"[]", 400), ({"job_id": "x"}, 400)],
    )
    def test_bad_calls(self, http: httpx.Client, call: Any, code: int) -> None:
        assert self.signed(http, call).status_code == code

    def test_other_methods_are_405(self, http: httpx.Client) -> None:
        assert http.get(ADDRESS).status_code == 405
