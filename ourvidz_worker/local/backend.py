"""The embedded backend put together: what is served where, and what tests and the demo do in-process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route

from ourvidz_worker.contract.callback import CallbackProfile
from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.local.addresses import Addresses
from ourvidz_worker.local.auth import DEMO_EMAIL, Auth
from ourvidz_worker.local.changes import Changes
from ourvidz_worker.local.database import Database, Row
from ourvidz_worker.local.enhance_prompt import Enhance
from ourvidz_worker.local.functions import Functions
from ourvidz_worker.local.gateway import CROSS_ORIGIN
from ourvidz_worker.local.keys import Keys
from ourvidz_worker.local.live import Live
from ourvidz_worker.local.page import Page
from ourvidz_worker.local.pods import Pods
from ourvidz_worker.local.queue_job import JobProducer
from ourvidz_worker.local.recorded import Recorder
from ourvidz_worker.local.redis_commands import RedisCommands
from ourvidz_worker.local.redis_rest import PREFIX, RedisRest
from ourvidz_worker.local.rest_rows import RestRows
from ourvidz_worker.local.resumable import Resumable
from ourvidz_worker.local.server import LocalServer
from ourvidz_worker.local.showcase import Showcase
from ourvidz_worker.local.storage import SERVICE, ObjectStore
from ourvidz_worker.local.storage_http import StorageHttp
from ourvidz_worker.local.studio import Studio
from ourvidz_worker.local.waiting_line import WaitingLine

SIGNED_FOR = 24 * 3600


class EmbeddedBackend:
    """The product's far side on one port of this machine. For development and tests only.

    `data` keeps rows, objects and keys between starts; an in-process Redis starts empty each time, so give
    `redis_url` where the queue must outlive the process. `callback_secret` and `qwen_token` replace the data
    folder's own. `enhance` and `further_routes` may be set until the start; without the first, a template rewrites
    prompts. `pods` are the addresses at which those who work for this backend tell of their progress.
    """

    def __init__(
        self,
        *,
        data: Path,
        catalogue: Catalogue,
        host: str = "127.0.0.1",
        port: int = 0,
        redis_url: str | None = None,
        enhance: Enhance | None = None,
        callback_profile: CallbackProfile = "2025-07",
        callback_secret: str | None = None,
        qwen_token: str | None = None,
        pods: Sequence[str] = (),
    ) -> None:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)  # prompts, results and keys
        self.keys = Keys.load(data / "keys.json")
        self.url = ""
        self._host, self._port = host, port
        self._catalogue = catalogue
        self._profile = callback_profile
        self._callback_secret = callback_secret or self.keys.callback_secret
        self.qwen_token = qwen_token or self.keys.qwen_token
        self._changes = Changes()
        self._database = Database(data / "backend.sqlite3")
        self._store = ObjectStore(self._database, self.keys, data / "storage")
        self._store.provide(catalogue.buckets.values())
        self._database.listen(self._changes.announce)
        self._redis = RedisCommands(redis_url)
        self._auth = Auth(self._database, self.keys)
        self._producer = JobProducer(self._database, self._redis, catalogue)
        self._recorder = Recorder(self._database, self._producer, catalogue)
        self._showcase = Showcase(self._database, Addresses(self._store), catalogue)
        self._pods = Pods(pods)
        self._line = WaitingLine(self._redis, catalogue)
        self._live = Live(self._pods, self._line)
        self._database.listen(self._live.rows_changed)
        self.enhance = enhance
        self.further_routes: Sequence[BaseRoute] = ()
        self._server: LocalServer | None = None

    async def start(self) -> None:
        """Serve. Raises `PortTaken` (an `OSError`) naming the port, or `RedisUnreachable`."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        await self._redis.check()
        await asyncio.to_thread(self._auth.provide_demo_user)
        self._server = LocalServer(self._application(), self._host, self._port)
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{host}:{self._server.port}"
        self._changes.open()
        self._live.open()
        await self._server.start()

    async def stop(self) -> None:
        """End open event streams, finish running requests, close files; a second call does nothing."""
        self._changes.close()
        self._live.close()
        if self._server:
            await self._server.stop()
        await self._live.closed()
        await self._redis.close()
        self._database.close()

    def environment(self) -> dict[str, str]:
        """What a worker and a front end export to use this backend."""
        return {
            "SUPABASE_URL": self.url,
            "SUPABASE_SERVICE_KEY": self.keys.service_key,
            "SUPABASE_ANON_KEY": self.keys.anon_key,
            "UPSTASH_REDIS_REST_URL": self.url + PREFIX,
            "UPSTASH_REDIS_REST_TOKEN": self.keys.redis_token,
            "OURVIDZ_QWEN_TOKEN": self.qwen_token,
            "OURVIDZ_USER_EMAIL": DEMO_EMAIL,
            "OURVIDZ_USER_PASSWORD": self.keys.demo_password,
            **({"JOB_CALLBACK_SECRET": self._callback_secret} if self._profile == "2026-02" else {}),
        }

    async def submit(self, payload: Mapping[str, Any] | str, *, link: bool = True) -> str:
        """Put a recorded job on its queue, with its rows and its own id; gives the id.

        A string may be any envelope of contract section 1 and becomes the queue's element as it is. With
        `link=False` the rows come only with `link`: the race of contract section 5.
        Raises `ValueError` for a payload without an id or with an unknown type.
        """
        return await self._recorder.submit(payload, link=link)

    def link(self, job_id: str) -> None:
        """Make and link the rows that `submit(…, link=False)` left out. Raises `KeyError`."""
        self._recorder.link(job_id)

    async def place_reference(self, bucket: str, key: str, content: bytes, media_type: str) -> str:
        """Store a picture and give an absolute signed address of it. Raises `StorageError`."""

        async def whole() -> AsyncIterator[bytes]:
            yield content

        destination = self._store.admit(SERVICE, bucket, key, media_type, upsert=True)
        await self._store.receive(destination, whole())
        return f"{self.url}/storage/v1{self._store.sign(SERVICE, bucket, key, SIGNED_FOR)}"

    def job(self, job_id: str) -> Row | None:
        """The job's row, with its `assets` (bucket, key, bytes, media_type, relative signed url)."""
        row = self._database.one("jobs", "id = ?", job_id)
        return row and {**row, "assets": self._showcase.assets(row)}

    def jobs(self) -> list[Row]:
        """All jobs, the oldest first, each as `job` gives it."""
        rows = self._database.select("jobs", tail="ORDER BY created_at")
        return [{**row, "assets": self._showcase.assets(row)} for row in rows]

    def rows(self, table: str, job_id: str) -> list[Row]:
        """The rows of `images`, `videos`, `workspace_assets` or `callbacks` that belong to a job, in order."""
        return self._database.select(table, "job_id = ?", [job_id], tail="ORDER BY rowid")

    def file(self, bucket: str, key: str) -> Path:
        """Where a stored object lies. Raises `StorageError` when there is none."""
        return self._store.path(self._store.find(SERVICE, bucket, key))

    def changes(self, heartbeat: float = 1.0) -> AsyncIterator[bool]:
        """Wakes after changes of any row, and every `heartbeat` seconds; ends when the backend stops."""
        return self._changes.follow(heartbeat)

    def _application(self) -> Starlette:
        functions = Functions(
            self._database,
            self.keys,
            self._producer,
            self._catalogue,
            enhance=self.enhance,
            callback_profile=self._profile,
            callback_secret=self._callback_secret,
        )
        parts = (self._database, self.keys)
        storage = [*Resumable(self._store, *parts).routes(), *StorageHttp(self._store, *parts).routes()]
        redis = RedisRest(self._redis, self.keys.redis_token)
        studio = Studio(
            database=self._database,
            keys=self.keys,
            auth=self._auth,
            catalogue=self._catalogue,
            showcase=self._showcase,
            line=self._line,
            pods=self._pods,
            live=self._live,
            host=self._host,
        )
        mounted = {
            "/storage/v1": storage,
            "/rest/v1": RestRows(*parts).routes(),
            "/auth/v1": self._auth.routes(),
            "/functions/v1": functions.routes(),
        }
        return Starlette(
            routes=[
                Route(PREFIX, redis),
                Mount(PREFIX, redis),
                *(Mount(path, routes=routes, middleware=[CROSS_ORIGIN]) for path, routes in mounted.items()),
                *studio.routes(),
                *self.further_routes,
                *Page().routes(),
            ]
        )
