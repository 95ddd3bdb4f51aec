"""Sign-in, as `supabase` does it."""

from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest
from supabase import Client
from supabase_auth.errors import AuthApiError

from ourvidz_worker.local.auth import DEMO_USER_ID
from ourvidz_worker.local.keys import Keys
from tests.support.embedded import RunningBackend


def test_the_demo_user_signs_in(user: Client) -> None:
    found = user.auth.get_user()
    assert found is not None
    assert found.user.id == DEMO_USER_ID


def test_a_refresh_token_works_once(backend: RunningBackend, user: Client) -> None:
    session = user.auth.get_session()
    assert session is not None
    renewed = user.auth.refresh_session(session.refresh_token)
    assert renewed.session is not None
    assert renewed.session.refresh_token != session.refresh_token
    with pytest.raises(AuthApiError, match="Refresh Token Not Found"):
        user.auth.refresh_session(session.refresh_token)


def test_signing_out_ends_the_refresh_tokens(user: Client) -> None:
    session = user.auth.get_session()
    assert session is not None
    user.auth.sign_out()
    with pytest.raises(AuthApiError):
        user.auth.refresh_session(session.refresh_token)


def test_wrong_passwords_are_refused(backend: RunningBackend) -> None:
    for body in ({"email": "demo@ourvidz.example", "password": "x"}, {"email": "nobody@ourvidz.example"}, {}):
        answer = httpx.post(f"{backend.url}/auth/v1/token?grant_type=password", json=body)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "invalid_credentials")
    answer = httpx.post(f"{backend.url}/auth/v1/token?grant_type=magic", content=b"not json")
    assert (answer.status_code, answer.json()["error_code"]) == (400, "validation_failed")


@pytest.mark.parametrize("token", ["", "nonsense"])
def test_the_user_needs_a_token(backend: RunningBackend, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}".strip()}
    assert httpx.get(f"{backend.url}/auth/v1/user", headers=headers).status_code == 403
    assert httpx.post(f"{backend.url}/auth/v1/logout", headers=headers).status_code == 403


def test_keys_stay_with_the_data_folder_and_nobody_else_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    first = Keys.load(path)
    assert Keys.load(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.service_key not in repr(first)
    assert Keys.load(tmp_path / "other.json") != first
