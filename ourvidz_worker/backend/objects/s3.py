"""Objects in a bucket of S3, or of whatever speaks its protocol."""

from __future__ import annotations

import contextlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from ourvidz_worker.backend.objects.places import S3Bucket
from ourvidz_worker.backend.references.stored import missing, too_large
from ourvidz_worker.backend.wording import quoted
from ourvidz_worker.errors import BackendRefused, BackendUnavailable, ConfigurationError, WorkerError
from ourvidz_worker.ports import Asset

if TYPE_CHECKING:
    from obstore.store import S3Config

PART_BYTES = 8 * 1024 * 1024
"""What is larger goes in parts of this size."""

_PARTS_AT_ONCE = 4
_CONNECT_SECONDS = 5.0
# Of a large file one part is repeated, not all of them; whatever lasts longer is the caller's to repeat.
_RETRIES = 2
_LONGEST_RETRY_PAUSE = 1.0

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_PASSING = frozenset({"RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable", "NoSuchUpload"})
_ELSEWHERE = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"})


@dataclass(frozen=True, slots=True)
class S3Access:
    """How a bucket is reached; without keys the library finds those of the machine's role by itself."""

    region: str
    endpoint: str | None = None
    key_id: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)


class S3Objects:
    """`Objects` in one bucket; `timeout_seconds` bounds one request."""

    def __init__(self, bucket: S3Bucket, access: S3Access, *, timeout_seconds: float = 60.0) -> None:
        self._bucket = bucket
        self._secrets = tuple(filter(None, (access.secret_key, access.session_token, access.key_id)))
        self._store = S3Store(
            bucket.name,
            prefix=bucket.prefix or None,
            config=_config(bucket, access),
            client_options={
                "allow_http": bool(access.endpoint),
                "connect_timeout": timedelta(seconds=min(_CONNECT_SECONDS, timeout_seconds)),
                "timeout": timedelta(seconds=timeout_seconds),
            },
            retry_config={
                "max_retries": _RETRIES,
                "backoff": {"max_backoff": timedelta(seconds=_LONGEST_RETRY_PAUSE)},
                "retry_timeout": timedelta(seconds=timeout_seconds),
            },
        )

    async def put(self, name: str, asset: Asset) -> None:
        try:
            await obstore.put_async(
                self._store,
                name,
                asset.path,
                attributes={"Content-Type": asset.media_type},
                chunk_size=PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )
        except (BaseError, OSError) as error:
            if isinstance(error, OSError) and not _STATUS.search(str(error)):
                raise  # about the file here
            raise self._problem(name, str(error)) from error

    async def read(self, name: str, *, max_bytes: int) -> bytes:
        try:
            found = await obstore.get_async(self._store, name)
            if found.meta["size"] > max_bytes:
                raise too_large(max_bytes)
            return bytes(await found.bytes_async())
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self._problem(name, str(error)) from error
            raise missing() from error
        except BaseError as error:
            raise self._problem(name, str(error)) from error

    async def check(self) -> None:
        name = f"doctor-{secrets.token_hex(4)}"
        try:
            await obstore.put_async(self._store, name, b"A worker of this bucket was looked at.")
        except (BaseError, OSError) as error:
            raise self._problem(name, str(error)) from error
        with contextlib.suppress(BaseError, OSError):  # a worker need not be allowed to remove anything
            await obstore.delete_async(self._store, name)

    async def close(self) -> None:
        """The library closes its connections by itself."""

    def _problem(self, name: str, text: str) -> WorkerError:
        told = text.partition("\n\nDebug source")[0]
        status, code, message = (_found(pattern, told) for pattern in (_STATUS, _CODE, _MESSAGE))
        said = quoted(" ".join(filter(None, (status, code, message))), *self._secrets)
        if code in _ELSEWHERE or status.startswith("3") or "redirect" in told.lower():
            return ConfigurationError(
                f"{self._bucket} is not where it is looked for ({said or 'a redirect'}): check AWS_REGION, "
                "AWS_ENDPOINT_URL and OURVIDZ_STORE_URL"
            )
        if not status or status.startswith("5") or status in ("408", "429") or code in _PASSING:
            reason = said or quoted(told.rpartition(" - ")[2], *self._secrets)
            return BackendUnavailable(f"{self._bucket} could not take or give {name} now ({reason})")
        if status == "404":
            return ConfigurationError(
                f"{self._bucket} does not exist ({said}): create it, or correct OURVIDZ_STORE_URL"
            )
        if status in ("401", "403"):
            return ConfigurationError(
                f"{self._bucket} refuses {name} ({said}): check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they "
                "allow in this bucket"
            )
        return BackendRefused(f"{self._bucket} refuses {name}: {said}")


def _config(bucket: S3Bucket, access: S3Access) -> S3Config:
    config: S3Config = {"region": access.region, "virtual_hosted_style_request": bucket.virtual_host}
    if access.endpoint:
        # Under both names, or AWS_ENDPOINT_URL_S3 of the environment would win.
        config["endpoint"] = config["aws_endpoint_url_s3"] = _endpoint(bucket, access.endpoint)
    if access.key_id and access.secret_key:
        config["access_key_id"] = access.key_id
        config["secret_access_key"] = access.secret_key
    if access.session_token:
        config["session_token"] = access.session_token
    return config


def _endpoint(bucket: S3Bucket, endpoint: str) -> str:
    """The library wants the bucket's own host where that is to be asked."""
    parts = urlsplit(endpoint)
    if not bucket.virtual_host or parts.netloc.startswith(f"{bucket.name}."):
        return endpoint
    return urlunsplit(parts._replace(netloc=f"{bucket.name}.{parts.netloc}"))


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""
