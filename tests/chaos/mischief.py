"""What is done to the pods and their network while jobs go through: at random times, and at exact moments."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.chaos.plan import Kind, Planned
from tests.chaos.pods import Pod, Process
from tests.support.fault_proxy import Exchange, Fault, FaultProxy, Phase, Rule

_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

CALLBACK = "POST /functions/v1/job-callback"

MOMENTS: Mapping[str, tuple[str, Phase]] = {
    "begin done": ("REDIS begin", "executed"),
    "processing sent": ("processing", "arrived"),
    "processing done": ("processing", "executed"),
    "upload sent": ("POST /storage/v1/object", "arrived"),
    "upload done": ("POST /storage/v1/object", "executed"),
    "completed sent": ("completed", "arrived"),
    "completed done": ("completed", "executed"),
    "acknowledge sent": ("REDIS acknowledge", "arrived"),
    "acknowledge done": ("REDIS acknowledge", "executed"),
}

# Probability by route and fault; delays with their seconds: a client waits 10 s for Redis and 30 s for a callback.
_REDIS, _STORAGE, _ROWS = "REDIS *", "* /storage/*", "GET /rest/*"
NETWORK: Sequence[tuple[str, Fault, float, float]] = (
    *((_REDIS, fault, 0.002, 0.0) for fault in (Fault.RESET, Fault.TRUNCATED, Fault.TOO_MANY, Fault.SERVER_ERROR)),
    *((_REDIS, fault, 0.002, 0.0) for fault in (Fault.BAD_GATEWAY, Fault.LOST_GATEWAY, Fault.REFUSE)),
    (_REDIS, Fault.DROP, 0.004, 0.0),
    (_REDIS, Fault.DELAY, 0.01, 0.3),
    (_REDIS, Fault.DELAY, 0.001, 11.0),
    ("REDIS LLEN", Fault.QUOTA, 0.0005, 0.0),
    ("REDIS begin", Fault.DROP, 0.02, 0.0),
    ("REDIS claim", Fault.DROP, 0.02, 0.0),
    ("REDIS acknowledge", Fault.DROP, 0.02, 0.0),
    *(
        (route, fault, 0.004, 0.0)
        for route in (CALLBACK, _STORAGE, _ROWS)
        for fault in Fault
        if fault not in (Fault.DELAY, Fault.QUOTA)
    ),
    *((route, Fault.DELAY, 0.01, 1.0) for route in (CALLBACK, _STORAGE, _ROWS)),
    (CALLBACK, Fault.DELAY, 0.0015, 12.0),
    (CALLBACK, Fault.DELAY, 0.0005, 32.0),
)


BLOWS_IN_A_ROW = 8
"""So many may fall without a job that is begun in between, before they fall more slowly."""


class Mischief:
    """Seeded; `done` counts what was done and `diary` says when, with seconds since the epoch.

    `uploaded` lists (when, job, machine) of each upload that was begun, `late_reports` (when, job, status) of each
    report that was carried out when its sender was dead or paused.
    """

    def __init__(
        self,
        pods: Mapping[str, Pod],
        proxies: Mapping[str, FaultProxy],
        *,
        seed: int,
        lease_seconds: float,
        pause_seconds: float,
        moment_share: float,
    ) -> None:
        self.done: Counter[str] = Counter()
        self.diary: list[dict[str, Any]] = []
        self.uploaded: list[tuple[float, str, str]] = []
        self.late_reports: list[tuple[float, str, str]] = []
        self._pods = pods
        self._proxies = proxies
        self._dice = random.Random(f"mischief {seed}")
        self._poison_dice = random.Random(f"poison {seed}")
        self._lease_seconds = lease_seconds
        self._pause_seconds = pause_seconds
        self._moment_share = moment_share
        self._jobs: dict[bytes, Planned] = {}
        self._moments: dict[bytes, str] = {}
        self._senders: dict[tuple[str, int], Process | None] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._calm = False
        self._blows_in_vain = 0
        for name, proxy in proxies.items():
            for route, fault, probability, seconds in NETWORK:
                proxy.add(Rule(route, fault, probability, seconds=seconds))
            proxy.watch(self._watching(name))

    def expect(self, job: Planned) -> None:
        """Before a job is submitted; some get a moment at which their worker will be killed, once."""
        key = job.id.encode()
        self._jobs[key] = job
        if job.kind is Kind.ORDINARY and self._dice.random() < self._moment_share:
            self._moments[key] = self._dice.choice(list(MOMENTS))

    async def run(self) -> None:
        """Random blows with random pauses in between, until cancelled."""
        blows: Sequence[tuple[float, Callable[[], asyncio.Task[None] | None]]] = (
            (4.0, self._kill_worker),
            (3.0, self._pause_worker),
            (1.5, self._kill_orchestrator),
            (0.7, self._restart_orderly),
            (0.7, self._pause_orchestrator),
            (0.4, self._lose_machine),
            (1.0, self._cut_network),
        )
        weights, actions = zip(*blows, strict=True)
        while True:
            await asyncio.sleep(self._dice.expovariate(1 / self._pause_seconds) * self._mercy)
            self._blows_in_vain += 1
            [blow] = self._dice.choices(actions, weights)
            task = blow()
            if task:
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    @property
    def _mercy(self) -> float:
        """Times the pause. Where a machine has too much to do, no worker would ever come as far as to begin a job."""
        return max(1.0, self._blows_in_vain / BLOWS_IN_A_ROW)

    async def calm_down(self) -> None:
        """End every fault: the paused go on, the network works; poison stays poison."""
        self._calm = True
        for proxy in self._proxies.values():
            proxy.clear()
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for pod in self._pods.values():
            for process in pod.processes.values():
                pod.resume(process)
        for proxy in self._proxies.values():
            await proxy.start()

    def relieve(self, event: Mapping[str, Any]) -> None:
        """A worker that found its quota used up waits for many minutes; an operator starts it again."""
        if event["event"] == "generation_started":
            self._blows_in_vain = 0
        if event["event"] == "redis_quota_exceeded":
            pod = self._pods[event["pod"]]
            owner = event.get("owner")
            for process in [p for p in pod.workers if owner is None or p.owner == owner]:
                self._note("worker restarted after a used-up quota", pod, process)
                pod.kill(process)

    def _kill_worker(self) -> None:
        if found := self._some_worker():
            self._note("worker killed", *found)
            found[0].kill(found[1])

    def _kill_orchestrator(self) -> None:
        pod = self._some_pod()
        if pod.orchestrator:
            self._note("orchestrator killed", pod, pod.orchestrator)
            pod.kill(pod.orchestrator)

    def _restart_orderly(self) -> None:
        pod = self._some_pod()
        if pod.orchestrator and pod.orchestrator.paused_since is None:
            self._note("orchestrator stopped in order", pod, pod.orchestrator)
            pod.terminate(pod.orchestrator)

    def _lose_machine(self) -> None:
        pod = self._some_pod()
        self._note("machine lost", pod, pod.orchestrator)
        pod.lose_machine()

    def _pause_worker(self) -> asyncio.Task[None] | None:
        found = self._some_worker()
        return self._paused(*found, self._some_time()) if found else None

    def _pause_orchestrator(self) -> asyncio.Task[None] | None:
        pod = self._some_pod()
        return self._paused(pod, pod.orchestrator, self._some_time()) if pod.orchestrator else None

    def _paused(self, pod: Pod, process: Process, seconds: float) -> asyncio.Task[None] | None:
        if process.paused_since is not None:
            return None
        role = "worker" if process.is_worker else "orchestrator"
        long = seconds > self._lease_seconds
        self._note(f"{role} paused {'beyond the lease' if long else 'for a while'}", pod, process, seconds=seconds)
        pod.pause(process)

        async def resume() -> None:
            try:
                await asyncio.sleep(seconds)
            finally:
                pod.resume(process)

        return asyncio.create_task(resume())

    def _cut_network(self) -> asyncio.Task[None]:
        pod, seconds = self._some_pod(), self._some_time()
        proxy = self._proxies[pod.name]
        self._note("network cut", pod, None, seconds=seconds)

        async def outage() -> None:
            await proxy.shut()
            await asyncio.sleep(seconds)
            await proxy.start()

        return asyncio.create_task(outage())

    def _some_pod(self) -> Pod:
        return self._dice.choice(list(self._pods.values()))

    def _some_worker(self) -> tuple[Pod, Process] | None:
        pod = self._some_pod()
        workers = pod.workers
        return (pod, self._dice.choice(workers)) if workers else None

    def _some_time(self) -> float:
        """Mostly shorter than a lease, one time in four longer."""
        if self._dice.random() < 0.25:
            return self._lease_seconds * self._dice.uniform(1.1, 1.8)
        return self._dice.uniform(0.05, 0.8 * self._lease_seconds)

    def _watching(self, pod_name: str) -> Callable[[Exchange], None]:
        def watch(exchange: Exchange) -> None:
            key = next((found for found in _UUID.findall(_text(exchange)) if found in self._jobs), None)
            if key is None:
                return
            pod, step = self._pods[pod_name], _step(exchange)
            sender = self._sender(pod, exchange)
            self._remember(exchange, step, pod, sender, key.decode())
            if sender is None:
                return
            if not self._calm and step == MOMENTS.get(self._moments.get(key, "")):
                self._kill_at(self._moments.pop(key), pod, sender, key)
            if self._jobs[key].kind is Kind.POISON and self._is_deadly(step):
                self._kill_at("poison", pod, sender, key)

        return watch

    def _sender(self, pod: Pod, exchange: Exchange) -> Process | None:
        """Who opened the connection, None if it is gone; asked once for each, as the answer goes with the process."""
        connection = (pod.name, exchange.connection)
        if connection not in self._senders:
            self._senders[connection] = pod.at_connection(exchange.client_port)
        return self._senders[connection]

    def _remember(
        self, exchange: Exchange, step: tuple[str, Phase], pod: Pod, sender: Process | None, job_id: str
    ) -> None:
        if sender is not None and step == MOMENTS["upload sent"]:
            self.uploaded.append((time.time(), job_id, sender.machine))
        late = sender is None or not pod.acts(sender)
        if exchange.area == CALLBACK and exchange.phase == "executed" and late:
            self.late_reports.append((time.time(), job_id, step[0]))

    def _is_deadly(self, step: tuple[str, Phase]) -> bool:
        """Poison kills before its worker hears that it may begin, or else once it has begun."""
        before = step == MOMENTS["begin done"] and self._poison_dice.random() < 0.5
        return before or step == MOMENTS["processing sent"]

    def _kill_at(self, moment: str, pod: Pod, process: Process, key: bytes) -> None:
        if pod.kill(process):
            self._note(f"worker killed: {moment}", pod, process, job_id=key.decode())

    def _note(self, what: str, pod: Pod, process: Process | None, **more: Any) -> None:
        self.done[what] += 1
        whom = {"pid": process.pid, "role": process.role, "owner": process.owner} if process else {}
        self.diary.append({"at": time.time(), "did": what, "pod": pod.name, **whom, **more})


def _text(exchange: Exchange) -> bytes:
    """Where ids lie: of an upload in the path, and its body are pixels."""
    return exchange.path.encode() if "/storage/" in exchange.path else exchange.body


def _step(exchange: Exchange) -> tuple[str, Phase]:
    if exchange.area != CALLBACK:
        return exchange.area, exchange.phase
    status = re.search(rb'"status":\s*"(\w+)"', exchange.body)
    return (status[1].decode() if status else ""), exchange.phase
