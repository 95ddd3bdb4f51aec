"""Whether Redis lets a worker do what it does, and what lies there that somebody has to see to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ourvidz_worker.backend.queue.commands import Redis
from ourvidz_worker.backend.queue.holders import holders
from ourvidz_worker.backend.queue.keys import QueueKeys, lease_key, new_owner
from ourvidz_worker.cli.doctor.diagnosis import Diagnosis, Mend, counted, good, note, problem
from ourvidz_worker.cli.queueing import build_queue, open_redis
from ourvidz_worker.errors import BackendRefused, WorkerError
from ourvidz_worker.settings import Settings

_NOWHERE = "worker:doctor:nothing"
_ALLOWED_POLICIES = ("noeviction", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl")


async def examine_queues(settings: Settings, queues: Sequence[str]) -> list[Diagnosis]:
    """Nothing where Redis does not answer at all: that is a finding of its own."""
    redis = open_redis(settings)
    try:
        await redis.llen(_NOWHERE)
        return [
            *await _allowed(redis, settings),
            *await _eviction(redis),
            *[diagnosis for queue in queues for diagnosis in await _left(redis, queue, settings)],
        ]
    except WorkerError:
        return []
    finally:
        await redis.close()


async def _allowed(redis: Redis, settings: Settings) -> list[Diagnosis]:
    """Commands that change nothing where there is nothing; Redis refuses them all the same where they are forbidden."""
    ours = "OURVIDZ_QUEUE_URL" if settings.queue_url is not None else "UPSTASH_REDIS_REST_TOKEN"
    tries: dict[str, list[object]] = {"DEL": ["DEL", _NOWHERE]}
    if settings.queue_mode == "held":
        tries |= {
            "LMOVE": ["LMOVE", _NOWHERE, _NOWHERE, "RIGHT", "LEFT"],
            "EVAL": ["EVAL", "return redis.call('LLEN', KEYS[1])", "1", _NOWHERE],
        }
    for command, words in tries.items():
        try:
            await redis.execute(words)
        except BackendRefused as refusal:
            cure = f"set {ours} to one that may write and run scripts, not to a read-only one"
            if command == "LMOVE" and "unknown command" in str(refusal).lower():
                cure = "use Redis 6.2 or newer, or set OURVIDZ_QUEUE_MODE=rpop, which may lose jobs"
            return [problem("redis", f"Redis refuses {command}: {refusal}", cure)]
    return [good("redis", f"Redis takes {', '.join(tries)}")]


async def _eviction(redis: Redis) -> list[Diagnosis]:
    """Upstash does not tell, and evicts nothing unless that was asked for when the database was made."""
    try:
        told = await redis.execute(["CONFIG", "GET", "maxmemory-policy"])
    except WorkerError:
        return []
    policy = told[1] if isinstance(told, list) and len(told) == 2 else None
    if isinstance(policy, bytes):
        policy = policy.decode(errors="replace")
    if not isinstance(policy, str) or policy in _ALLOWED_POLICIES:
        return []
    cure = "set maxmemory-policy to noeviction: jobs that are evicted are lost"
    return [note("redis", f"Redis may evict queued jobs (maxmemory-policy {policy})", cure)]


async def _left(redis: Redis, queue: str, settings: Settings) -> list[Diagnosis]:
    keys = QueueKeys(queue)
    found = []
    dead = await redis.llen(keys.dead)
    if dead:
        cure = "see `ourvidz-worker queue dead list`, then requeue or drop"
        found.append(note("aside", f"{counted(dead, 'dead letter')} in {queue}", cure))
    if settings.queue_mode == "held":
        gone = [owner for owner in await holders(redis, keys) if not await redis.exists(lease_key(owner))]
        held = sum([await redis.llen(keys.held(owner)) for owner in gone])
        if held:
            cure = f"any worker takes them up within {settings.reap_interval:g} s; `doctor --fix` queues them now"
            sentence = f"{counted(held, 'job')} of {queue} held by workers that are gone"
            found.append(note("aside", sentence, cure, mend=_reaper_of(settings, queue)))
    return found


def _reaper_of(settings: Settings, queue: str) -> Mend:
    return partial(_reap, settings, queue)


async def _reap(settings: Settings, queue: str) -> str:
    jobs = build_queue(settings, queue, owner=new_owner())
    try:
        reaping = await jobs.reap()
    finally:
        await jobs.close()
    return f"queued {counted(reaping.jobs, 'job')} of {queue} again, held by workers that are gone"
