"""Who may look and act: browsers of this machine, on the operator's own page alone.

A page of another site may send requests here from the operator's browser, and a name that it controls may point here.
So the `Host` must be one that is served, and whatever changes something comes as JSON from this very origin.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import dataclass

from starlette.requests import Request

from ourvidz_worker.host_header import host_name, is_address

_SAME_ORIGIN = ("same-origin", "none")


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    sentence: str


class Guard:
    """`token` is what a request carries as bearer; None where everybody who reaches this machine may act.

    `hosts` are names besides `localhost`.
    """

    def __init__(self, token: str | None, *, hosts: Collection[str] = ()) -> None:
        self._token = token
        self._hosts = {host.lower() for host in hosts}

    def look(self, request: Request) -> Refusal | None:
        """Why the facts are not for this request, or None."""
        return self.page(request) or self._stranger(request)

    def act(self, request: Request) -> Refusal | None:
        """Why this request may change nothing, or None."""
        return self.page(request) or self._foreign(request) or self._stranger(request)

    def page(self, request: Request) -> Refusal | None:
        """Why not even the page, which says nothing, is for this request, or None."""
        name = host_name(request.headers.get("host", ""))
        if name in self._hosts or name == "localhost" or is_address(name):
            return None
        return Refusal(421, "this page is not served under this name: open it by its address, like http://127.0.0.1")

    def _foreign(self, request: Request) -> Refusal | None:
        origin, host = request.headers.get("origin"), request.headers.get("host", "")
        site = request.headers.get("sec-fetch-site", "none")
        if site not in _SAME_ORIGIN or origin not in (None, f"http://{host}", f"https://{host}"):
            return Refusal(403, "another site may not act here: use the operator's own page")
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            return Refusal(415, "an action is a JSON object with the content type application/json")
        return None

    def _stranger(self, request: Request) -> Refusal | None:
        if self._token is None:
            return None
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token.encode()):
            return None
        return Refusal(401, "open the address that `ourvidz-worker operator` printed: it carries the token")
