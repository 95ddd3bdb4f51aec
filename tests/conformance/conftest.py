from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ourvidz_worker.contract.catalogue import Catalogue, parse_catalogue
from tests.conformance.native_layer import NativeLayer
from tests.conformance.queue_worlds import MemoryWorld, QueueWorld, RedisWorld
from tests.conformance.rest_layer import RestLayer
from tests.support.embedded import JOB_TYPES, RunningBackend
from tests.support.redis_server import RedisServer
from tests.support.s3_server import S3Server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def rest_over_fakeredis() -> Iterator[RestLayer]:
    with RestLayer() as layer:
        yield layer


@pytest.fixture(scope="session")
def rest_over_redis_server(redis_server: RedisServer) -> Iterator[RestLayer]:
    with RestLayer(redis_server.url) as layer:
        yield layer


@pytest.fixture(scope="session")
def native(redis_server: RedisServer) -> Iterator[NativeLayer]:
    with NativeLayer(redis_server.url) as layer:
        yield layer


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBackend]:
    with RunningBackend(tmp_path_factory.mktemp("backend")) as running:
        yield running


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models stay between runs where OURVIDZ_CACHE names a place for them."""
    configured = os.environ.get("OURVIDZ_CACHE")
    return Path(configured) if configured else tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return parse_catalogue(JOB_TYPES.read_text())


@pytest.fixture(params=["memory", "rest_over_fakeredis", "rest_over_redis_server", "native"])
def world(request: pytest.FixtureRequest) -> QueueWorld:
    if request.param == "memory":
        return MemoryWorld()
    layer: RestLayer | NativeLayer = request.getfixturevalue(request.param)
    return RedisWorld(layer)
