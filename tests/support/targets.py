"""What the embedded backend was asked for, as it came over the wire."""

from __future__ import annotations

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from ourvidz_worker.local import EmbeddedBackend


def record_targets(patch: pytest.MonkeyPatch) -> list[str]:
    """The path and query of every request to the embedded backends that start from now on."""
    targets: list[str] = []
    build = EmbeddedBackend._application

    def recording(backend: EmbeddedBackend) -> ASGIApp:
        application = build(backend)

        async def record(scope: Scope, receive: Receive, send: Send) -> None:
            path, query = scope["raw_path"].partition(b"?")[0], scope["query_string"]
            targets.append((path + (b"?" + query if query else b"")).decode("latin-1"))
            await application(scope, receive, send)

        return record

    patch.setattr(EmbeddedBackend, "_application", recording)
    return targets
