from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from supabase import Client, ClientOptions, create_client

from tests.support.embedded import RunningBackend


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def shared_backend(shared_data: Path) -> Iterator[RunningBackend]:
    with RunningBackend(shared_data) as running:
        yield running


@pytest.fixture
def backend(shared_backend: RunningBackend) -> RunningBackend:
    """A backend as if newly started."""
    shared_backend.clear()
    return shared_backend


@pytest.fixture
def http(backend: RunningBackend) -> Iterator[httpx.Client]:
    """A plain client with the service key in both headers."""
    with httpx.Client(base_url=backend.url, headers=backend.service_headers(), timeout=60) as client:
        yield client


@pytest.fixture
def supabase(backend: RunningBackend) -> Iterator[Client]:
    with httpx.Client(timeout=60) as client:
        yield create_client(backend.url, backend.environment()["SUPABASE_SERVICE_KEY"], _options(client))


@pytest.fixture
def user(backend: RunningBackend) -> Iterator[Client]:
    """The demo user, signed in."""
    environment = backend.environment()
    with httpx.Client(timeout=60) as client:
        signed_in = create_client(backend.url, environment["SUPABASE_ANON_KEY"], _options(client))
        signed_in.auth.sign_in_with_password(
            {"email": environment["OURVIDZ_USER_EMAIL"], "password": environment["OURVIDZ_USER_PASSWORD"]}
        )
        yield signed_in


def _options(client: httpx.Client) -> ClientOptions:
    return ClientOptions(httpx_client=client, auto_refresh_token=False)
