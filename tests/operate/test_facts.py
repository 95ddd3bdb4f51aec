"""What becomes of the statuses of pods and of a look at the backend, whatever they say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ourvidz_worker.errors import BackendUnavailable
from ourvidz_worker.operate.desk import Outcome, Papers, QueueFacts
from ourvidz_worker.operate.facts import facts_of
from ourvidz_worker.operate.lookout import Lookout
from ourvidz_worker.operate.pods import Pod, Pods
from tests.operate.scripted_pod import BUSY, ScriptedPod, component, failure, job, worker
from tests.support.ports import free_port
from tests.support.stories import story

HERE = "http://127.0.0.1:9400"
HOSTILE: list[Any] = [None, 7, "text", [], [1], {}, {"a": "b"}, True, float("1e400"), "\x1b[2J"]


def told(status: Any, papers: Papers | None = None) -> dict[str, Any]:
    return facts_of([Pod(HERE, status)], papers or Papers())


def pod_of(**workers: Any) -> dict[str, Any]:
    return {"version": "0.1.0", "uptime_seconds": 60.0, "workers": workers, "cards": []}


def queue(**changes: Any) -> QueueFacts:
    return QueueFacts(**{"queue": "sdxl_queue", "kind": "sdxl", "waiting": 0, "dead": 0, **changes})


class TestWorkers:
    def test_each_is_told_of_with_its_job(self) -> None:
        [pod] = told(BUSY)["pods"]
        sdxl, wan, qwen = pod["workers"]
        assert (sdxl["name"], sdxl["state"], sdxl["device"], sdxl["restarts"]) == ("sdxl", "BUSY", "cuda:0", 0)
        assert sdxl["uptime_seconds"] == 7230.4
        [running] = wan["jobs"]
        assert (running["type"], running["step"], running["steps"], running["attempt"]) == ("video_fast", 12, 25, 2)
        assert (qwen["process"], qwen["reason"]) == ("BACKOFF", "was ended by signal 9 (SIGKILL)")

    def test_a_numbered_worker_is_of_its_kind(self) -> None:
        second = worker(device="auto")
        del second["kind"]
        [pod] = told(pod_of(**{"sdxl-2": second}))["pods"]
        assert (pod["workers"][0]["name"], pod["workers"][0]["kind"]) == ("sdxl-2", "sdxl")
        assert pod["workers"][0]["device"] is None, "no particular one"

    @pytest.mark.parametrize("value", HOSTILE)
    def test_nothing_a_pod_says_spoils_the_rest(self, value: Any) -> None:
        fields = ("kind", "device", "state", "outcomes", "jobs", "card", "failures", "uptime_seconds", "restarts")
        odd = {f"odd {name}": worker(**{name: value}) for name in fields}
        odd["odd job"] = worker(jobs=[job(**dict.fromkeys(job(), value))])
        odd["odd failure"] = worker(failures=[failure(**dict.fromkeys(failure(), value))])
        odd["odd worker"] = value
        facts = told({**pod_of(**odd, sane=worker()), "cards": [value, {"used_gb": value, "total_gb": value}]})
        json.dumps(facts, allow_nan=False)
        assert facts["pods"][0]["workers"][-1]["name"] == "sane"

    def test_one_that_was_given_up_needs_a_person(self) -> None:
        facts = told(pod_of(wan=worker(process="FATAL", state="STARTING", problem="5 failures in a row")))
        assert facts["needs"] == ["the wan worker was given up: 5 failures in a row"]
        assert not facts["well"]

    @pytest.mark.parametrize(("state", "well"), [("LOADING", True), ("DRAINING", True), ("FAILED", False)])
    def test_one_that_comes_or_goes_needs_nobody(self, state: str, *, well: bool) -> None:
        assert told(pod_of(wan=worker(state=state)))["well"] is well


class TestCards:
    def test_memory_is_told_of_by_holder(self) -> None:
        [card] = told(BUSY)["pods"][0]["cards"]
        assert (card["total_gb"], card["used_gb"], card["free_gb"]) == (51.5, 47.4, 4.1)
        largest, idle = card["holders"][:2]
        assert (largest["worker"], largest["component"], largest["in_use"]) == ("wan", "transformer", True)
        assert (idle["component"], idle["gb"], idle["in_use"]) == ("text encoder", 11.4, False)
        workspace = [holder for holder in card["holders"] if holder["component"] == "workspace"]
        assert [(holder["worker"], holder["gb"]) for holder in workspace] == [("sdxl", 2.9)]

    def test_each_card_has_its_own_holders(self) -> None:
        cards = [{"device": f"cuda:{place}", "used_gb": 10.0, "total_gb": 24.0} for place in (0, 1)]
        status = pod_of(
            sdxl=worker(card={"gb": 5.0, "components": [component("unet", 5.0)]}),
            **{"sdxl-2": worker(device="cuda:1", card={"gb": 6.0, "components": [component("unet", 6.0)]})},
        )
        first, second = told({**status, "cards": cards})["pods"][0]["cards"]
        assert [card["holders"][0]["worker"] for card in (first, second)] == ["sdxl", "sdxl-2"]
        assert (first["other_gb"], second["other_gb"]) == (5.0, 4.0)

    def test_without_a_driver_what_is_held_is_known_all_the_same(self) -> None:
        status = pod_of(sdxl=worker(device="auto", card={"gb": 5.0, "components": [component("unet", 5.0)]}))
        [card] = told(status)["pods"][0]["cards"]
        assert (card["held_gb"], card["total_gb"], card["free_gb"]) == (5.0, None, None)


class TestFailures:
    def test_they_are_grouped_by_type_and_error(self) -> None:
        newest = failure(at=1_764_115_300.0, reason="the newest", job_id="new")
        status = pod_of(
            wan=worker(failures=[failure(), failure(error_type="deadline")]), **{"wan-2": worker(failures=[newest])}
        )
        groups = told(status)["failures"]
        assert [(group["error_type"], group["count"]) for group in groups] == [("out_of_memory", 2), ("deadline", 1)]
        assert (groups[0]["last_reason"], groups[0]["job_ids"][0]) == ("the newest", "new")
        assert groups[0]["last_at"] == "2025-11-26T00:01:40+00:00"


class TestQueues:
    def test_the_wait_is_the_work_shared_by_the_workers(self) -> None:
        status = pod_of(sdxl=worker(), **{"sdxl-2": worker()}, wan=worker(kind="wan"))
        [fact] = told(status, Papers(queues=[queue(waiting=6, work_seconds=24.0)]))["queues"]
        assert (fact["workers"], fact["wait_seconds"], fact["completed_per_minute"]) == (2, 12.0, 6.8)

    def test_without_a_worker_nobody_knows_the_wait(self) -> None:
        papers = Papers(queues=[queue(waiting=6, work_seconds=24.0)])
        facts = told(pod_of(wan=worker(kind="wan")), papers)
        assert facts["queues"][0]["wait_seconds"] is None
        assert facts["needs"] == ["6 jobs wait in sdxl_queue, and no sdxl worker is there to take them"]

    def test_one_that_loads_or_lives_elsewhere_will_take_them(self) -> None:
        papers = Papers(queues=[queue(waiting=1)])
        elsewhere = Papers(queues=[queue(waiting=1, held=[{"alive": True}])])
        assert told(pod_of(sdxl=worker(state="LOADING")), papers)["well"]
        assert told(pod_of(), elsewhere)["well"]
        unseen = facts_of([Pod(HERE, {}, "no pod answers")], papers)
        assert unseen["needs"] == ["no pod answers"], "who cannot be asked may be at work"

    def test_what_was_put_aside_needs_a_person(self) -> None:
        papers = Papers(queues=[queue(dead=1), queue(queue="wan_queue", dead=1)], parked=[{"job_id": "a"}])
        assert told(pod_of(sdxl=worker()), papers)["needs"] == [
            "2 dead letters wait to be queued again or dropped",
            "1 parked result waits to be sent again or dropped",
        ]


class TestPods:
    @story
    async def test_each_that_cannot_be_read_says_why(self) -> None:
        nobody = f"http://127.0.0.1:{free_port()}"
        with ScriptedPod(BUSY) as well, ScriptedPod(b"<html>") as page, ScriptedPod([]) as odd:
            pods = Pods([well.address, nobody, page.address, odd.address])
            try:
                good, refused, html, listed = await pods.look()
            finally:
                await pods.close()
        assert (good.problem, good.status) == (None, BUSY)
        assert refused.problem == f"no pod answers at {nobody} (connection refused)"
        assert html.problem == f"what answers at {page.address} is no pod: its /status is not JSON"
        assert listed.problem == f"what answers at {odd.address} is no pod: its /status names no workers"


class Desk:
    """Counts who looks, and may be out of reach."""

    def __init__(self) -> None:
        self.looks = 0
        self.trouble: BackendUnavailable | None = None

    async def look(self) -> Papers:
        self.looks += 1
        if self.trouble:
            raise self.trouble
        return Papers(queues=[queue(waiting=self.looks)])

    async def requeue(self, letter_id: str, *, force: bool) -> Outcome:
        raise NotImplementedError

    async def drop(self, letter_id: str) -> Outcome:
        raise NotImplementedError

    resend = discard = cancel = drop


class TestLookout:
    @story
    async def test_redis_is_asked_only_now_and_then_and_after_an_action(self) -> None:
        desk = Desk()
        lookout = Lookout([], desk, desk_seconds=3600)
        assert (await lookout.facts())["queues"][0]["waiting"] == 1
        assert (await lookout.facts())["queues"][0]["waiting"] == 1
        lookout.acted()
        assert (await lookout.facts())["queues"][0]["waiting"] == 2
        await lookout.close()

    @story
    async def test_a_backend_out_of_reach_spoils_no_pod(self) -> None:
        desk = Desk()
        desk.trouble = BackendUnavailable("Redis did not answer: no route")
        with ScriptedPod(BUSY) as pod:
            lookout = Lookout([pod.address], desk, desk_seconds=0)
            facts = await lookout.facts()
            assert facts["needs"] == ["Redis did not answer: no route"]
            assert len(facts["pods"][0]["workers"]) == 3
            desk.trouble = None
            assert (await lookout.facts())["well"]
            await lookout.close()
