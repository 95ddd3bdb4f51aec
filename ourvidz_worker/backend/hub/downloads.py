"""Files from a hub over HTTPS: resumed where they broke off, checked before they get their name."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from ourvidz_worker.backend.hub.partial_file import PartialFile, opened
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError

OnBytes = Callable[[int, int], None]
"""Hears how many bytes of a file are there, and how many it has."""

_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_FRUITLESS_ATTEMPTS = 5  # in a row, before a download is given up
_BACKOFF = wait_exponential_jitter(multiplier=0.5, max=15.0, jitter=0.5)
_LONGEST_PAUSE = 300.0  # seconds; what a hub asks for beyond that is for a person to wait
_WORTH_A_RETRY = frozenset({408, 425, 429})
_NOTHING_MORE = 416  # the range that was asked for begins at the file's end, or behind it
_RANGE = re.compile(r"bytes (?:(?P<start>\d+)-\d+|\*)/(?P<total>\d+)")
_SHA256 = re.compile(r'"?([0-9a-f]{64})"?')
_HEADERS = {
    "Accept-Encoding": "identity",  # the bytes on the wire are the file's
    "User-Agent": "ourvidz_worker",
}


@dataclass(frozen=True, slots=True)
class Download:
    """A file by its `address` below the hub's URL, and where it belongs; what is not known of it is None."""

    address: str
    path: Path
    bytes: int | None = None
    sha256: str | None = None


class Hub:
    """The token goes to the hub itself, and to nobody that it redirects to."""

    def __init__(self, *, url: str, token: str | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self._url = url.rstrip("/")
        self._knows_us = token is not None
        self._sleep = sleep
        credentials = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(headers=_HEADERS | credentials, timeout=_TIMEOUT, follow_redirects=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._http.close()

    def fetch(self, download: Download, on_bytes: OnBytes) -> None:
        """Bring one file into its place.

        What is there of it is kept for the next time, whatever happens. Raises `BackendUnavailable` after several
        attempts in a row without a new byte, `BackendRefused` for what the hub will not give or what is not the file
        asked for, and `ConfigurationError` where the disk or another process stands in the way.
        """
        try:
            with opened(download.path) as partial:
                self._patiently(partial)(self._transfer, download, partial, on_bytes)
                partial.finish()
        except OSError as error:
            raise ConfigurationError(f"{download.path} cannot be written: {error.strerror or error}") from error

    def _patiently(self, partial: PartialFile) -> Retrying:
        return Retrying(
            retry=retry_if_exception_type(BackendUnavailable),
            stop=_Patience(lambda: partial.size).used_up,
            wait=_pause,
            sleep=self._sleep,
            reraise=True,
        )

    def _transfer(self, download: Download, partial: PartialFile, on_bytes: OnBytes) -> None:
        """Ask for what is not there yet, and take it."""
        etag = partial.etag
        headers = {} if etag is None else {"Range": f"bytes={partial.size}-", "If-Range": etag}
        try:
            with self._http.stream("GET", f"{self._url}/{quote(download.address)}", headers=headers) as answer:
                self._check_answer(download, answer)
                total = _begin(download, partial, answer)
                on_bytes(partial.size, total)
                if answer.status_code != _NOTHING_MORE:
                    for content in answer.iter_raw():
                        partial.append(content)
                        on_bytes(partial.size, total)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise BackendUnavailable(
                f"the download of {download.address} from {self._url} failed ({reason}); {partial.size} bytes of it "
                "are there: check the network and HF_ENDPOINT, then go on with the same command"
            ) from error
        _check_content(download, partial, total, _stated_sha256(answer))

    def _check_answer(self, download: Download, answer: httpx.Response) -> None:
        status = answer.status_code
        if status in (200, 206, _NOTHING_MORE):
            if answer.headers.get("Content-Encoding", "identity") != "identity":
                raise BackendRefused(f"the hub sends {download.address} compressed: ask without the proxy in between")
            return
        if status in (401, 403):
            raise BackendRefused(f"the hub refuses {download.address} (HTTP {status}): {self._cure(status)}")
        if status == 404:
            raise BackendRefused(f"the hub has no {download.address} (HTTP 404): check its source in models.toml")
        message = f"the hub answered HTTP {status} for {download.address}"
        if status >= 500 or status in _WORTH_A_RETRY:
            raise _HubBusy(f"{message}: go on with the same command later", _asked_pause(answer))
        raise BackendRefused(f"{message}: check HF_ENDPOINT and its source in models.toml")

    def _cure(self, status: int) -> str:
        if not self._knows_us:  # the hub does not tell strangers what is gated from what does not exist
            return "check its source in models.toml, and if the model is gated, accept its terms there and set HF_TOKEN"
        if status == 401:
            return "HF_TOKEN is not valid there: set one that is, or none if the model is open to all"
        return "accept the model's terms on the hub with the account that HF_TOKEN belongs to"


class _HubBusy(BackendUnavailable):
    """The hub wants to be asked again later: after so many seconds, if it says so."""

    def __init__(self, message: str, pause: float) -> None:
        super().__init__(message)
        self.pause = pause


class _Patience:
    """Counts attempts in a row that brought nothing."""

    def __init__(self, progress: Callable[[], int]) -> None:
        self._progress = progress
        self._reached = progress()
        self._fruitless = 0

    def used_up(self, _state: RetryCallState) -> bool:
        reached = self._progress()
        self._fruitless = self._fruitless + 1 if reached <= self._reached else 0
        # A hub without ranges begins anew each time: only what was never there before is progress.
        self._reached = max(reached, self._reached)
        return self._fruitless >= _FRUITLESS_ATTEMPTS


def _pause(state: RetryCallState) -> float:
    """Seconds until the next attempt: longer each time, and never shorter than the hub asks for."""
    error = state.outcome.exception() if state.outcome else None
    return max(_BACKOFF(state), error.pause if isinstance(error, _HubBusy) else 0.0)


def _asked_pause(answer: httpx.Response) -> float:
    """Seconds that `Retry-After` asks for, as a number or as a moment; 0 where it says nothing."""
    asked = answer.headers.get("Retry-After", "")
    if asked.isdecimal():
        return min(float(asked), _LONGEST_PAUSE)
    try:
        seconds = (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_PAUSE)


def _begin(download: Download, partial: PartialFile, answer: httpx.Response) -> int:
    """Make ready for the content that comes, and return how long the whole file is; 0 where nobody says."""
    if answer.status_code == 200:
        # The first answer, or a hub without ranges, or a file that is not the one this part belongs to.
        partial.begin(answer.headers.get("ETag"))
        total = int(answer.headers.get("Content-Length") or download.bytes or 0)
    else:
        start, total = _range(answer)
        if start != partial.size:
            partial.begin(None)
            raise BackendUnavailable(f"the hub sent another part of {download.address} than it was asked for")
    if download.bytes is not None and total != download.bytes:
        partial.discard()
        raise BackendRefused(
            f"{download.address} has {total} bytes on the hub, and {download.bytes} in models.toml: check its source"
        )
    free = shutil.disk_usage(download.path.parent).free
    if total - partial.size > free:
        raise ConfigurationError(
            f"{download.path} needs {total - partial.size} bytes more, and its disk has {free} free: make room"
        )
    return total


def _check_content(download: Download, partial: PartialFile, total: int, stated_sha256: str | None) -> None:
    if total and partial.size != total:
        raise BackendUnavailable(f"{download.address} broke off after {partial.size} of {total} bytes")
    expected = download.sha256 or stated_sha256
    if expected is not None and (found := partial.sha256()) != expected:
        partial.discard()
        raise BackendRefused(
            f"{download.address} is not what it should be (SHA-256 {found}, expected {expected}): "
            "it was thrown away; fetch it again, and check its source if that does not help"
        )


def _range(answer: httpx.Response) -> tuple[int, int]:
    """Where the content begins, and how long the whole file is; where nothing is left, it begins at the end."""
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if found is None:
        return -1, 0
    return int(found["start"] or found["total"]), int(found["total"])


def _stated_sha256(answer: httpx.Response) -> str | None:
    """What the hub says of a large file before it redirects to where that lies."""
    for response in (*answer.history, answer):
        if found := _SHA256.fullmatch(response.headers.get("X-Linked-ETag", "")):
            return found[1]
    return None
