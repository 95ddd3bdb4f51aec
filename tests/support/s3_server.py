"""A server that speaks S3, in a thread of its own."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Final, Self

import httpx
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

BUCKET: Final = "results"


class S3Server:
    """`with S3Server() as server:` has one empty bucket; `read` is what lies under a key, with its media type."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.url = ""

    def read(self, key: str) -> tuple[bytes, str]:
        found = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].get_object(BUCKET, key)
        assert found is not None, f"nothing lies under {key}"
        return found.value, found.metadata["content-type"]

    def write(self, key: str, content: bytes) -> None:
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(BUCKET, key, content)

    def keys(self) -> list[str]:
        return list(s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[BUCKET].keys)

    def __enter__(self) -> Self:
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        httpx.put(f"{self.url}/{BUCKET}").raise_for_status()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.stop()
