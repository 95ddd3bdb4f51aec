"""Is the product's side in reach and set up? One look each, for a person who reads the findings."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from ourvidz_worker.backend.loopback import is_loopback
from ourvidz_worker.backend.objects.places import Place
from ourvidz_worker.backend.objects.store import Objects
from ourvidz_worker.backend.queue.commands import Redis
from ourvidz_worker.contract.catalogue import MIB, Bucket
from ourvidz_worker.errors import WorkerError

_SECONDS = 10.0
_RESULTS = ("image/png", "video/mp4")
_THUMBNAIL = "image/webp"  # left out where a bucket does not take it


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about the environment; `cure` says what to do and is empty where nothing is wrong."""

    ok: bool
    sentence: str
    cure: str = ""


async def check_queue(redis: Redis, *, queues: tuple[str, ...], cure: str) -> list[Finding]:
    """Whether any Redis answers, and how many jobs wait in each queue; closes the client."""
    try:
        lengths = {queue: await redis.llen(queue) for queue in queues}
    except WorkerError as error:
        return [Finding(ok=False, sentence=str(error), cure=cure)]
    finally:
        await redis.close()
    waiting = ", ".join(f"{length} in {queue}" for queue, length in lengths.items())
    return [Finding(ok=True, sentence=f"Redis answers; jobs waiting: {waiting}")]


async def check_storage(*, url: str, service_key: str, buckets: Mapping[str, Bucket]) -> list[Finding]:
    """Whether each of these buckets exists and takes what the catalogue says."""
    try:
        answer = await _request("GET", f"{url.rstrip('/')}/storage/v1/bucket", service_key)
    except (TimeoutError, httpx.HTTPError) as error:
        return [_unreachable("storage", error)]
    try:
        answer.raise_for_status()
        found = {
            entry["id"]: (entry.get("file_size_limit"), entry.get("allowed_mime_types")) for entry in answer.json()
        }
    except (httpx.HTTPStatusError, ValueError, LookupError, TypeError):
        sentence = f"storage does not list its buckets (HTTP {answer.status_code})"
        return [Finding(ok=False, sentence=sentence, cure="check SUPABASE_URL and SUPABASE_SERVICE_KEY")]
    return [_bucket_finding(bucket, found) for bucket in buckets.values()]


async def check_store(objects: Objects, place: Place) -> Finding:
    """Whether a folder or an S3 bucket takes a file: writes a small one, removes it, and closes `objects`."""
    try:
        await objects.check()
    except WorkerError as error:
        sentence, _, cure = str(error).rpartition(": ")
        return Finding(ok=False, sentence=sentence or cure, cure=cure if sentence else "check OURVIDZ_STORE_URL")
    finally:
        await objects.close()
    return Finding(ok=True, sentence=f"{place} takes files")


async def check_report(url: str) -> Finding:
    """Whether anything answers where reports go to; a preflight request changes nothing, and may be refused there."""
    try:
        client = httpx.AsyncClient(timeout=_SECONDS, trust_env=not is_loopback(url))
        async with asyncio.timeout(_SECONDS), client as http:
            answer = await http.options(url)
    except (TimeoutError, httpx.HTTPError) as error:
        sentence = f"the receiver of reports does not answer ({type(error).__name__})"
        return Finding(ok=False, sentence=sentence, cure="check the network and OURVIDZ_REPORT_URL")
    if answer.is_redirect or answer.status_code >= 500:
        sentence = f"the receiver of reports answers HTTP {answer.status_code}"
        return Finding(ok=False, sentence=sentence, cure="set OURVIDZ_REPORT_URL to what takes the reports itself")
    return Finding(ok=True, sentence="the receiver of reports answers")


async def check_callback(*, url: str, service_key: str) -> Finding:
    """Whether `job-callback` is deployed; a preflight request changes nothing."""
    try:
        answer = await _request("OPTIONS", f"{url.rstrip('/')}/functions/v1/job-callback", service_key)
    except (TimeoutError, httpx.HTTPError) as error:
        return _unreachable("job-callback", error)
    if answer.is_success:
        return Finding(ok=True, sentence="job-callback is deployed")
    return Finding(
        ok=False,
        sentence=f"job-callback answers HTTP {answer.status_code}",
        cure="deploy the function to this project, or correct SUPABASE_URL",
    )


async def check_qwen(*, url: str, token: str | None) -> Finding:
    """Whether a qwen worker answers there, and with this token if there is one; an empty question costs it nothing."""
    try:
        client = httpx.AsyncClient(timeout=_SECONDS, trust_env=not is_loopback(url))
        async with asyncio.timeout(_SECONDS), client as http:
            health = await http.get(f"{url}/health")
            admitted = token is None or await _admitted(http, url, token)
            state, model = (str(health.json()[name])[:80] for name in ("state", "model"))
    except (TimeoutError, httpx.HTTPError) as error:
        sentence = f"no qwen worker answers at {url} ({type(error).__name__})"
        return Finding(ok=False, sentence=sentence, cure="start one there, or correct OURVIDZ_ENHANCER_URL")
    except (ValueError, LookupError, TypeError):
        sentence = f"what answers at {url} is no qwen worker (HTTP {health.status_code})"
        return Finding(ok=False, sentence=sentence, cure="correct OURVIDZ_ENHANCER_URL")
    if not admitted:
        cure = "set OURVIDZ_QWEN_TOKEN to the one it was given"
        return Finding(ok=False, sentence=f"the qwen worker at {url} refuses the token", cure=cure)
    return Finding(ok=True, sentence=f"the qwen worker at {url} answers: {model}, {state}")


async def _admitted(http: httpx.AsyncClient, url: str, token: str) -> bool:
    answer = await http.post(f"{url}/enhance", json={}, headers={"Authorization": f"Bearer {token}"})
    return answer.status_code != 401


def _bucket_finding(bucket: Bucket, found: Mapping[str, tuple[int | None, list[str] | None]]) -> Finding:
    if bucket.name not in found:
        return Finding(
            ok=False,
            sentence=f"bucket {bucket.name} does not exist",
            cure=f"create it with a limit of {bucket.limit_bytes // MIB} MiB",
        )
    limit, allowed = found[bucket.name]
    if limit is not None and limit < bucket.limit_bytes:
        return Finding(
            ok=False,
            sentence=f"bucket {bucket.name} takes {limit} bytes, less than the {bucket.limit_bytes} expected",
            cure=f"raise its file size limit to {bucket.limit_bytes // MIB} MiB",
        )
    refused = [media_type for media_type in bucket.media_types if not _admits(allowed, media_type)]
    if not set(refused).isdisjoint(_RESULTS):
        return Finding(
            ok=False,
            sentence=f"bucket {bucket.name} does not take {', '.join(refused)}",
            cure=f"add {', '.join(refused)} to its allowed MIME types",
        )
    without = ", and no thumbnails" if _THUMBNAIL in refused else ""
    shown = "no limit of its own" if limit is None else f"up to {limit // MIB} MiB"
    return Finding(ok=True, sentence=f"bucket {bucket.name} exists, {shown}{without}")


def _admits(allowed: list[str] | None, media_type: str) -> bool:
    """A list may hold whole groups, like `image/*`; without one a bucket takes everything."""
    return not allowed or media_type in allowed or f"{media_type.partition('/')[0]}/*" in allowed or "*/*" in allowed


async def _request(method: str, url: str, service_key: str) -> httpx.Response:
    headers = {"apikey": service_key, "Authorization": f"Bearer {service_key}"}
    async with asyncio.timeout(_SECONDS), httpx.AsyncClient(timeout=_SECONDS) as http:
        return await http.request(method, url, headers=headers)


def _unreachable(what: str, error: Exception) -> Finding:
    sentence = f"{what} does not answer ({type(error).__name__})"
    return Finding(ok=False, sentence=sentence, cure="check the network and SUPABASE_URL")
