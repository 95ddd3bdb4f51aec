"""The rows as `supabase` reads and writes them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from postgrest.exceptions import APIError

from ourvidz_worker.local.auth import DEMO_USER_ID
from tests.support.embedded import RunningBackend

ROWS = "/rest/v1/jobs"
OTHER_USER = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def jobs(supabase: Any) -> list[dict[str, Any]]:
    rows = [
        {"user_id": DEMO_USER_ID, "job_type": "image_fast", "status": "queued", "created_at": "2026-01-01T00:00:00Z"},
        {
            "user_id": DEMO_USER_ID,
            "job_type": "video_fast",
            "status": "failed",
            "error_message": '100% (odd), "quoted"',
        },
        {"user_id": OTHER_USER, "job_type": "image_high", "status": "completed", "metadata": {"seed": 7}},
    ]
    return [supabase.table("jobs").insert(row).execute().data[0] for row in rows]


def types(response: Any) -> list[str]:
    return [row["job_type"] for row in response.data]


class TestReading:
    def test_select_columns_and_filter(self, supabase: Any, jobs: list[dict[str, Any]]) -> None:
        found = supabase.table("jobs").select("id, kind:job_type").eq("status", "queued").execute()
        assert found.data == [{"id": jobs[0]["id"], "kind": "image_fast"}]

    def test_filters_of_the_client(self, supabase: Any, jobs: list[dict[str, Any]]) -> None:
        def table() -> Any:
            return supabase.table("jobs").select("*").order("job_type")

        assert types(table().in_("id", [jobs[0]["id"], jobs[2]["id"]]).execute()) == ["image_fast", "image_high"]
        assert types(table().neq("status", "queued").execute()) == ["image_high", "video_fast"]
        assert types(table().is_("error_message", "null").execute()) == ["image_fast", "image_high"]
        assert types(table().not_.is_("error_message", "null").execute()) == ["video_fast"]
        assert types(table().gt("created_at", "2026-01-02").execute()) == ["image_high", "video_fast"]
        assert types(table().lte("created_at", "2026-01-02").execute()) == ["image_fast"]
        assert types(table().like("job_type", "image_%").execute()) == ["image_fast", "image_high"]
        assert types(table().like("job_type", "IMAGE%").execute()) == []
        assert types(table().ilike("job_type", "IMAGE%").execute()) == ["image_fast", "image_high"]
        assert types(table().in_("error_message", ['100% (odd), "quoted"']).execute()) == ["video_fast"]

    def test_order_limit_offset_count(self, supabase: Any, jobs: list[dict[str, Any]]) -> None:
        newest = supabase.table("jobs").select("*", count="exact").order("created_at", desc=True).limit(2).execute()
        assert types(newest) == ["image_high", "video_fast"]
        assert newest.count == 3
        assert types(supabase.table("jobs").select("*").order("job_type").range(1, 1).execute()) == ["image_high"]
        assert supabase.table("jobs").select("*").order("error_message").execute().data[0]["error_message"]

    def test_single_takes_exactly_one(self, supabase: Any, jobs: list[dict[str, Any]]) -> None:
        """Section 5: `Cannot coerce the result to a single JSON object`."""
        assert supabase.table("jobs").select("*").eq("id", jobs[2]["id"]).single().execute().data["metadata"] == {
            "seed": 7
        }
        with pytest.raises(APIError, match="Cannot coerce the result to a single JSON object") as caught:
            supabase.table("jobs").select("*").single().execute()
        assert caught.value.code == "PGRST116"

    def test_maybe_single(self, supabase: Any) -> None:
        assert supabase.table("jobs").select("*").eq("id", OTHER_USER).maybe_single().execute() is None

    def test_an_empty_list_matches_nothing(self, supabase: Any, jobs: list[dict[str, Any]]) -> None:
        assert supabase.table("jobs").select("*").in_("id", []).execute().data == []


class TestWriting:
    def test_defaults_are_filled_in(self, jobs: list[dict[str, Any]]) -> None:
        assert jobs[1]["id"]
        assert jobs[1]["created_at"]
        assert jobs[1]["metadata"] == {}

    def test_update_returns_the_rows(self, supabase: Any, jobs: list[dict[str, Any]]) -> None:
        changed = supabase.table("jobs").update({"status": "processing"}).eq("id", jobs[0]["id"]).execute()
        assert [row["status"] for row in changed.data] == ["processing"]
        assert supabase.table("jobs").update({"status": "x"}).eq("id", OTHER_USER).execute().data == []

    def test_several_rows_at_once(self, supabase: Any) -> None:
        rows = [{"job_id": OTHER_USER, "image_index": index} for index in range(3)]
        assert [row["image_index"] for row in supabase.table("images").insert(rows).execute().data] == [0, 1, 2]

    def test_a_key_that_is_taken(self, supabase: Any, jobs: list[dict[str, Any]]) -> None:
        with pytest.raises(APIError, match="duplicate key") as caught:
            supabase.table("jobs").insert({"id": jobs[0]["id"]}).execute()
        assert caught.value.code == "23505"


class TestWhoSeesWhat:
    def test_users_see_and_change_their_own_rows(self, user: Any, jobs: list[dict[str, Any]]) -> None:
        assert types(user.table("jobs").select("*").order("job_type").execute()) == ["image_fast", "video_fast"]
        assert user.table("jobs").update({"status": "x"}).eq("id", jobs[2]["id"]).execute().data == []
        with pytest.raises(APIError, match="row-level security"):
            user.table("jobs").insert({"user_id": OTHER_USER, "job_type": "image_fast"}).execute()

    def test_strangers_see_nothing(self, backend: RunningBackend, jobs: list[dict[str, Any]]) -> None:
        key = backend.environment()["SUPABASE_ANON_KEY"]
        headers = {"apikey": key, "Authorization": f"Bearer {key}"}
        assert httpx.get(f"{backend.url}{ROWS}", headers=headers).json() == []

    @pytest.mark.parametrize("headers", [{}, {"apikey": "x"}, {"Authorization": "Bearer x"}])
    def test_no_key_is_401(self, backend: RunningBackend, headers: dict[str, str]) -> None:
        assert httpx.get(f"{backend.url}{ROWS}", headers=headers).status_code == 401

    def test_tables_of_the_backend_itself_are_not_served(self, http: httpx.Client) -> None:
        for table in ("users", "refresh_tokens", "objects", "sqlite_master"):
            assert http.get(f"/rest/v1/{table}").status_code == 404


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("nosuch=eq.1", "42703"),
        ("select=nosuch", "42703"),
        ("order=nosuch.desc", "42703"),
        ("order=id.sideways", "PGRST100"),
        ("id=eq.not-a-uuid", "22P02"),
        ("id=in.(1,2)", "22P02"),
        ("created_at=gt.yesterday", "22P02"),
        ("status=approximately.queued", "PGRST100"),
        ("status=queued", "PGRST100"),
        ("status=is.maybe", "PGRST100"),
        ("limit=many", "PGRST100"),
        ("select=*,images(*)", "PGRST200"),
        ("select=id'--", "PGRST100"),
        ('select="id', "PGRST100"),
    ],
)
def test_bad_queries_are_400(http: httpx.Client, query: str, code: str) -> None:
    answer = http.get(f"{ROWS}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert set(answer.json()) == {"code", "message", "details", "hint"}


@pytest.mark.parametrize("body", [b"", b"not json", b"[1]", b'"text"', b'{"nosuch": 1}', b'{"metadata": 1, "x": 2}'])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_bad_bodies_are_400(http: httpx.Client, method: str, body: bytes) -> None:
    assert http.request(method, ROWS, content=body).status_code == 400


def test_a_value_of_the_wrong_type_is_400(http: httpx.Client) -> None:
    for row in ({"id": "not-a-uuid"}, {"status": {"a": 1}}, {"user_id": 7}):
        answer = http.post(ROWS, content=json.dumps(row))
        assert (answer.status_code, answer.json()["code"]) == (400, "22P02")
    assert http.post("/rest/v1/images", json={"image_index": "many"}).status_code == 400
    assert http.post("/rest/v1/images", json={"image_index": 2**70}).json()["code"] == "22003"


def test_numbers_and_letters_beyond_the_database_do_no_harm(http: httpx.Client) -> None:
    content = b'{"error_message": "\\ud800", "metadata": {"seed": 1e30, "prompt": "\\ud800"}}'
    assert http.post(ROWS, content=content).status_code == 201
    (row,) = http.get(f"{ROWS}?limit={10**30}").json()
    assert (row["error_message"], row["metadata"]["prompt"]) == ("?", "?")
