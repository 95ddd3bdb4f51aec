"""Requests that only the page itself, or a program on this machine, may make."""

from __future__ import annotations

from starlette.requests import Request

from ourvidz_worker.host_header import host_name, is_address

LOCAL_NAME = "localhost"


def objection(request: Request, served_host: str) -> str | None:
    """Why a request does not come from the page, in one sentence; None where nothing speaks against it.

    A browser says in `Origin` which page it asks for. A name in `Host` that is none of ours may belong to somebody who
    lets it point here (DNS rebinding); a bare address cannot, and names are only believed where they are ours.
    """
    host = request.headers.get("host", "")
    name = host_name(host)
    if name not in (LOCAL_NAME, served_host.lower()) and not is_address(name):
        return f"this backend is not served as {name[:80]!r}: open it by its address, or as {LOCAL_NAME}"
    origin = request.headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return f"only the page of this backend may ask for this, not one of {origin[:80]!r}"
    return None
