"""Contract section 6: `queue-job`, and the other functions a front end calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from supabase_functions.errors import FunctionsHttpError

from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.local.auth import DEMO_USER_ID
from ourvidz_worker.local.prompts import negative_prompt
from tests.support.embedded import JOB_TYPES, RunningBackend

PAYLOADS = Path(__file__).parents[1] / "payloads"
CATALOGUE = parse_catalogue(JOB_TYPES.read_text())
OF_THE_MOMENT = {"id", "created_at", "generation_timestamp", "image_id", "video_id"}
RECORDED = sorted(
    path.stem
    for path in PAYLOADS.glob("*.json")
    if "2026" not in path.stem and "project" not in path.stem and "image_id" not in path.stem
)
ADDED = {"model_variant", "queue", "dual_worker_routing", "negative_prompt_supported", "negative_prompt", "user_id"}
ADDED |= {"negative_prompt_generation_error", "prompt_length", "prompt_word_count", "edge_function_version"}
ADDED |= {"expected_generation_time", "sample_steps", "sample_guide_scale", "sample_solver", "sample_shift"}
ADDED |= {"content_type", "file_extension", "character_id", *OF_THE_MOMENT}


def queued(backend: RunningBackend, queue: str) -> Any:
    environment = backend.environment()
    headers = {"Authorization": f"Bearer {environment['UPSTASH_REDIS_REST_TOKEN']}"}
    element = httpx.get(f"{environment['UPSTASH_REDIS_REST_URL']}/rpop/{queue}", headers=headers).json()["result"]
    return element and json.loads(element)


def invoke(client: Any, name: str, body: Any) -> Any:
    return json.loads(client.functions.invoke(name, {"body": body}))


def lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: lasting(item) for name, item in value.items() if name not in OF_THE_MOMENT}
    return value


@pytest.mark.parametrize("name", RECORDED)
def test_payloads_look_like_the_recorded_ones(backend: RunningBackend, user: Any, name: str) -> None:
    """Section 2: SDXL jobs carry WAN's config, and every field lies where the producer puts it."""
    recorded = json.loads((PAYLOADS / f"{name}.json").read_text())
    ordered = {key: value for key, value in recorded["metadata"].items() if key not in ADDED}
    answer = invoke(user, "queue-job", {"jobType": recorded["type"], "metadata": ordered})
    made = queued(backend, answer["queue"])
    assert lasting(made) == lasting(recorded)
    assert list(lasting(made)) == list(lasting(recorded))


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_the_answer(user: Any, backend: RunningBackend, name: str) -> None:
    """Section 6: `{"success":true,"job":{…},"queueLength":n,"modelVariant","isSDXL",…}`."""
    answer = invoke(user, "queue-job", {"jobType": name, "metadata": {"prompt": "a lighthouse", "num_images": 1}})
    sdxl = name.startswith("sdxl")
    job = answer.pop("job")
    assert answer == {
        "success": True,
        "queueLength": 1,
        "modelVariant": "lustify_sdxl" if sdxl else "wan_2_1_1_3b",
        "isSDXL": sdxl,
        "negativePromptSupported": sdxl,
        "queue": CATALOGUE[name].queue,
        "jobType": name,
        "message": answer["message"],
    }
    assert (job["status"], job["user_id"], job["job_type"]) == ("queued", DEMO_USER_ID, name)
    assert backend.backend.job(job["id"])


def test_one_row_per_image(user: Any) -> None:
    """Section 6: `images` (one row per image, `image_index` 0…n-1)."""
    job = invoke(user, "queue-job", {"jobType": "sdxl_image_fast", "metadata": {"prompt": "x", "num_images": 3}})["job"]
    images = user.table("images").select("*").eq("job_id", job["id"]).order("image_index").execute().data
    assert [image["image_index"] for image in images] == [0, 1, 2]
    assert job["image_id"] == images[0]["id"]
    video = invoke(user, "queue-job", {"jobType": "video_fast", "metadata": {"prompt": "x"}})["job"]
    assert user.table("videos").select("*").eq("id", video["video_id"]).single().execute().data["job_id"] == video["id"]
    logs = user.table("usage_logs").select("*").order("created_at").execute().data
    assert [log["action"] for log in logs] == ["sdxl_image_fast", "video_fast"]


def test_ids_of_the_front_end_are_kept(backend: RunningBackend, user: Any) -> None:
    image_id = "2ed0ac38-49bf-4edd-adbb-be4d46f66fa5"
    body = {"jobType": "sdxl_image_high", "metadata": {"prompt": "x"}, "imageId": image_id}
    assert invoke(user, "queue-job", body)["job"]["image_id"] == image_id
    made = queued(backend, "sdxl_queue")
    assert (made["image_id"], made["metadata"]["image_id"]) == (image_id, image_id)


def test_a_projects_prompt_goes_first(backend: RunningBackend, user: Any) -> None:
    project = {"user_id": DEMO_USER_ID, "original_prompt": "original", "enhanced_prompt": "enhanced project prompt"}
    made = user.table("projects").insert(project).execute().data[0]
    invoke(user, "queue-job", {"jobType": "video_fast", "metadata": {"prompt": "own"}, "projectId": made["id"]})
    payload = queued(backend, "wan_queue")
    assert (payload["prompt"], payload["metadata"]["prompt"]) == ("enhanced project prompt", "own")


def test_without_a_user_it_is_401(backend: RunningBackend) -> None:
    """Section 6: errors: 401 without a user."""
    address = f"{backend.url}/functions/v1/queue-job"
    service = httpx.post(address, headers=backend.service_headers(), json={"jobType": "image_fast"})
    assert service.status_code == 401
    assert service.json() == {"success": False, "error": "Authentication required", "details": "Auth session missing!"}
    assert httpx.post(address, json={}).json() == {"code": 401, "message": "Missing authorization header"}
    wrong = httpx.post(address, headers={"Authorization": "Bearer nonsense"}, json={})
    assert (wrong.status_code, wrong.json()) == (401, {"code": 401, "message": "Invalid JWT"})


@pytest.mark.parametrize("name", ["video_ultra", "", None, ["image_fast"], 7])
def test_an_unknown_type_is_400(user: Any, name: object) -> None:
    """Section 6: 400 `Invalid job type` with `validJobTypes`."""
    with pytest.raises(FunctionsHttpError, match="Invalid job type"):
        invoke(user, "queue-job", {"jobType": name, "metadata": {"prompt": "x"}})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"not json",
        b'{"jobType":"image_fast","metadata":"x"}',
        b'{"jobType":"image_fast","metadata":{"num_images":"many"}}',
        b'{"jobType":"image_fast","metadata":{"num_images":1000000}}',
        b'{"jobType":"video_fast","metadata":{},"videoId":"x"}',
    ],
)
def test_everything_else_is_500(backend: RunningBackend, user: Any, body: bytes) -> None:
    """Section 6: 500 otherwise, body `{"success":false,"error","details?"}`."""
    session = user.auth.get_session()
    assert session is not None
    headers = {"Authorization": f"Bearer {session.access_token}"}
    answer = httpx.post(f"{backend.url}/functions/v1/queue-job", headers=headers, content=body)
    assert answer.status_code == 500
    assert answer.json()["success"] is False
    assert answer.json()["error"]
    assert backend.backend.jobs() == []


def test_strange_metadata_is_queued_as_it_is(backend: RunningBackend, user: Any) -> None:
    metadata = {"prompt": "a lighthouse 🌅", "credits": {"a": 1}, "seed": "12345678901234567890"}
    invoke(user, "queue-job", {"jobType": "image_fast", "metadata": metadata})
    payload = queued(backend, "wan_queue")
    assert payload["metadata"]["seed"] == "12345678901234567890"
    assert payload["metadata"]["credits"] == {"a": 1}


def test_a_queue_that_cannot_be_pushed_to_fails_the_job(backend: RunningBackend, user: Any) -> None:
    environment = backend.environment()
    token = {"Authorization": f"Bearer {environment['UPSTASH_REDIS_REST_TOKEN']}"}
    httpx.post(f"{environment['UPSTASH_REDIS_REST_URL']}/set/wan_queue/x", headers=token)
    with pytest.raises(FunctionsHttpError, match="WRONGTYPE"):
        invoke(user, "queue-job", {"jobType": "image_fast", "metadata": {"prompt": "x"}})
    (job,) = backend.backend.jobs()
    assert job["status"] == "failed"
    assert "WRONGTYPE" in job["error_message"]


class TestNegativePrompt:
    def test_terms(self) -> None:
        """Section 6: quality, anatomy, artefact terms; more when several people are in the scene."""
        alone, group = negative_prompt("a lighthouse"), negative_prompt("Two women on a pier")
        for term in ("worst quality", "bad anatomy", "watermark"):
            assert term in alone
        assert group.startswith(alone)
        assert len(group) > len(alone)

    def test_under_77_tokens(self) -> None:
        text = negative_prompt("two men, three women, a crowd")
        assert len(text.replace(",", " ,").split()) <= 75


class TestOtherFunctions:
    def test_generate_admin_image_queues_a_real_job(self, backend: RunningBackend, http: httpx.Client) -> None:
        answer = http.post("/functions/v1/generate-admin-image", json={"prompt": "a logo", "mode": "portrait"}).json()
        assert answer["success"]
        assert answer["image"]["prompt"] == "a logo"
        made = queued(backend, "sdxl_queue")
        assert (made["id"], made["type"], made["user_id"]) == (answer["job"]["id"], "sdxl_image_fast", DEMO_USER_ID)

    def test_generate_admin_image_is_for_the_service_key(self, user: Any) -> None:
        with pytest.raises(FunctionsHttpError, match="Admin access required"):
            invoke(user, "generate-admin-image", {"prompt": "a logo"})

    def test_unknown_functions_are_404(self, http: httpx.Client) -> None:
        assert http.post("/functions/v1/nosuch", json={}).status_code == 404

    def test_browsers_may_ask_first(self, backend: RunningBackend) -> None:
        plain = httpx.options(f"{backend.url}/functions/v1/queue-job")
        assert (plain.status_code, plain.headers["access-control-allow-origin"]) == (200, "*")
        asking = {
            "Origin": "http://localhost:8080",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, x-client-info, apikey, content-type",
        }
        for path in ("/functions/v1/queue-job", "/rest/v1/jobs", "/storage/v1/object/image_fast/a.png"):
            answer = httpx.options(f"{backend.url}{path}", headers=asking)
            assert answer.status_code == 200
            assert "authorization" in answer.headers["access-control-allow-headers"]
