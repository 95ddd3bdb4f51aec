"""What an operator sees of the queues, and does about jobs that were put aside."""

from __future__ import annotations

import errno
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ourvidz_worker.backend.callback_patience import CallbackPatience
from ourvidz_worker.contract.callback import Callback, ReportedAsset
from ourvidz_worker.contract.envelope import Delivery
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.ports import Asset
from ourvidz_worker.runtime.courier import Courier
from ourvidz_worker.runtime.spool import Result, Spool, StoredAsset
from tests.support.commands import COMMAND_SECONDS, PAYLOADS, RunningCommand, run_command
from tests.support.embedded import RunningBackend
from tests.support.said import Said, said_by, set_environment
from tests.support.waiting import wait_until

DIED_AT = "2026-01-02T03:04:05+00:00"
PICTURE = b"\x89PNG of a lighthouse"
NASTY = "\x1b[2J\x1b]0;title\x07 [red]markup[/] \u202e\nsecond line"
HASTY = CallbackPatience(unlinked=0.1, missing=0.1, unavailable=0.1)


class Operator:
    """A person at a shell with the product's environment, and a hand in its Redis."""

    def __init__(self, backend: RunningBackend, spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.backend = backend
        self.spool = Spool(spool)
        self._capsys = capsys

    def runs(self, *arguments: str) -> Said:
        return said_by(self._capsys, "queue", *arguments)

    def redis(self, *command: str | bytes) -> Any:
        return self.backend.run(self.backend.backend._redis.execute(list(command)))

    def texts(self, queue: str) -> list[str]:
        return [element.decode("utf-8", "surrogateescape") for element in self.redis("LRANGE", queue, "0", "-1")]

    def submit(self, name: str = "sdxl_image_fast", **changes: Any) -> tuple[str, str]:
        """A job's id and its element, taken from the queue again."""
        payload = json.loads((PAYLOADS / f"{name}.json").read_text())
        job_id = self.backend.run(self.backend.backend.submit({**payload, **changes}))
        queue = "sdxl_queue" if name.startswith("sdxl") else "wan_queue"
        return job_id, self.redis("LPOP", queue).decode()

    def bury(self, element: str, reason: str = "it died 3 times", *, queue: str = "sdxl_queue") -> None:
        letter = Delivery(element, 3, ("the worker was killed",)).dead_letter(reason, died_at=DIED_AT)
        self.redis("LPUSH", f"{queue}:dead", letter.encode("utf-8", "surrogateescape"))

    def status_of(self, job_id: str) -> str:
        job = self.backend.backend.job(job_id)
        assert job is not None
        return str(job["status"])

    def status_becomes(self, job_id: str, status: str) -> None:
        self.backend.backend._database.update("jobs", {"status": status}, "id = ?", [job_id])

    def park(self, job_id: str, *, bucket: str = "sdxl_image_fast", reason: str = "the bucket was missing") -> None:
        key = f"somebody/{job_id}_0.png"
        file = self.spool.draft(job_id) / "0.png"
        file.write_bytes(PICTURE)
        asset = Asset(file, "image/png", len(PICTURE), width=1024, height=1024, frames=1, seed=7)
        callback = Callback(job_id, "completed", (ReportedAsset(key, "image", 1024, 1024, 7),), metadata={"seed": 7})
        self.spool.save(Result(bucket, (StoredAsset(key, asset),), callback))
        self.spool.park(job_id, reason)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBackend]:
    with RunningBackend(tmp_path_factory.mktemp("backend")) as backend:
        yield backend


@pytest.fixture
def operator(
    backend: RunningBackend,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    own_logging: None,
) -> Operator:
    backend.clear()
    set_environment(monkeypatch, {**backend.environment(), "OURVIDZ_SPOOL": str(tmp_path / "spool")})
    return Operator(backend, tmp_path / "spool", capsys)


class TestStatus:
    def test_every_queue_is_told_of(self, operator: Operator) -> None:
        job_id, element = operator.submit()
        operator.redis("LPUSH", "sdxl_queue", element)
        operator.redis("LPUSH", "sdxl_queue:held:pod-1-abc", Delivery(element, 2, ("it died",)).begun("0f"))
        operator.redis("SET", "worker:lease:pod-1-abc", "pod-1-abc", "EX", "60")
        operator.redis("LPUSH", "wan_queue:held:pod-2-def", "{broken")
        operator.bury(element)
        operator.park(job_id)
        said = operator.runs("status", "--json")
        assert said.code == 0
        sdxl, wan = said.document["queues"]
        assert (sdxl["queue"], sdxl["waiting"], sdxl["dead"]) == ("sdxl_queue", 1, 1)
        assert (sdxl["next"][0]["job_id"], sdxl["next"][0]["job_type"]) == (job_id, "sdxl_image_fast")
        [holder] = sdxl["held"]
        assert (holder["owner"], holder["alive"], holder["count"]) == ("pod-1-abc", True, 1)
        assert 0 < holder["lease_seconds"] <= 60
        assert (holder["jobs"][0]["attempt"], holder["jobs"][0]["started"]) == (2, True)
        assert (wan["waiting"], wan["held"][0]["alive"], wan["held"][0]["lease_seconds"]) == (0, False, None)
        assert said.document["parked"] == 1

    def test_a_person_reads_one_table(self, operator: Operator) -> None:
        job_id, element = operator.submit(prompt="a secret lighthouse")
        operator.redis("LPUSH", "sdxl_queue:held:pod-1-abc", element)
        said = operator.runs("status")
        assert said.code == 0
        assert "held by pod-1-abc, lease lapsed" in said.out
        assert f"sdxl_image_fast {job_id}" in said.out
        assert "parked on this machine: 0" in said.out
        assert "lighthouse" not in said.out

    def test_a_broken_policy_hides_no_queue(
        self, operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No command of these draws anything."""
        (tmp_path / "configs" / "policy").mkdir(parents=True)
        (tmp_path / "configs" / "policy" / "terms.toml").write_text("broken")
        monkeypatch.setenv("OURVIDZ_CONFIG_DIR", str(tmp_path / "configs"))
        assert operator.runs("status").code == 0

    def test_an_owners_name_steers_no_terminal(self, operator: Operator) -> None:
        operator.redis("LPUSH", f"sdxl_queue:held:{NASTY}", "x")
        said = operator.runs("status")
        assert "\\x1b[2J" in said.out
        assert not set(said.out) & set("\x1b\x07\u202e")
        assert "[red]markup[/]" in said.out


class TestCancel:
    def test_the_mark_lasts_a_day(self, operator: Operator) -> None:
        assert operator.runs("cancel", "job-1").code == 0
        assert operator.redis("EXISTS", "worker:cancel:job-1") == 1
        assert 86_000 < operator.redis("TTL", "worker:cancel:job-1") <= 86_400

    def test_what_is_no_job_id_is_usage(self, operator: Operator) -> None:
        said = operator.runs("cancel", "../x")
        assert said.code == 2
        assert "letters, digits" in said.err


class TestDeadList:
    def test_letters_come_newest_first_without_their_prompts(self, operator: Operator) -> None:
        first, element = operator.submit(prompt="a secret lighthouse")
        operator.bury(element)
        second, element = operator.submit("video_fast")
        operator.bury(element, queue="wan_queue", reason="another reason")
        operator.bury("{broken")
        said = operator.runs("dead", "list", "--json")
        assert said.code == 0
        assert [letter["job_id"] for letter in said.document] == [None, first, second]
        assert {"attempt": 3, "died_at": DIED_AT, "reason": "another reason"}.items() <= said.document[2].items()
        assert "lighthouse" not in said.out
        shown = operator.runs("dead", "list")
        assert all(text in shown.out for text in (first, second, "it died 3 times", said.document[0]["id"]))
        assert "lighthouse" not in shown.out

    def test_one_queue_alone(self, operator: Operator) -> None:
        operator.bury("{broken")
        assert len(operator.runs("dead", "list", "--json", "--queue", "sdxl_queue").document) == 1
        assert operator.runs("dead", "list", "--json", "--queue", "wan_queue").document == []
        assert operator.runs("dead", "list", "--queue", "wan_queue").out == "there are no dead letters\n"

    def test_an_unknown_queue_is_usage(self, operator: Operator) -> None:
        said = operator.runs("dead", "list", "--queue", "flux_queue")
        assert said.code == 2
        assert said.err == "there is no queue flux_queue: use sdxl_queue or wan_queue\n"

    def test_anything_may_lie_there(self, operator: Operator) -> None:
        operator.redis("LPUSH", "sdxl_queue:dead", b"\xff\xfe", b"", b"[" * 50_000, NASTY.encode(), b"x" * 3_000_000)
        operator.bury("{broken", reason=NASTY)
        said = operator.runs("dead", "list")
        assert said.code == 0
        assert not set(said.out) & set("\x1b\x07\u202e")
        assert said.out.count("no dead letter") == 5
        assert len(operator.runs("dead", "list", "--json").document) == 6
        for letter in operator.runs("dead", "list", "--json").document:
            assert operator.runs("dead", "show", letter["id"]).code == 0
            assert operator.runs("dead", "show", letter["id"], "--json").document["id"] == letter["id"]

    def test_a_secret_of_ours_is_struck_out(self, operator: Operator) -> None:
        key = operator.backend.environment()["SUPABASE_SERVICE_KEY"]
        operator.bury("{broken", reason=f"the server said {key}")
        assert key not in operator.runs("dead", "list", "--json").out
        assert "[secret]" in operator.runs("dead", "list").out


class TestDeadShow:
    def test_a_letter_is_shown_with_its_history_and_element(self, operator: Operator) -> None:
        job_id, element = operator.submit()
        operator.bury(element)
        said = operator.runs("dead", "show", job_id)
        assert said.code == 0
        assert "delivery 1 came to nothing: the worker was killed" in said.out
        assert element in said.out
        assert operator.runs("dead", "show", job_id, "--json").document["element"] == element

    def test_an_unknown_one_is_said_so(self, operator: Operator) -> None:
        said = operator.runs("dead", "show", "nobody")
        assert said.code == 1
        assert "there is no dead letter nobody" in said.err

    def test_an_ambiguous_name_lists_who_may_be_meant(self, operator: Operator) -> None:
        job_id, element = operator.submit()
        operator.bury(element, "first reason")
        operator.bury(element, "second reason")
        ids = [letter["id"] for letter in operator.runs("dead", "list", "--json").document]
        said = operator.runs("dead", "show", job_id)
        assert said.code == 1
        assert "may mean any of 2 letters" in said.err
        assert all(text in said.err for text in (*ids, "first reason", "second reason"))
        assert operator.runs("dead", "show", ids[0][:8]).code == 0


class TestRequeue:
    def test_the_producers_bytes_go_back_to_where_producers_push(self, operator: Operator) -> None:
        job_id, element = operator.submit()
        operator.redis("LPUSH", "sdxl_queue", "waiting")
        operator.bury(element)
        said = operator.runs("dead", "requeue", job_id)
        assert (said.code, said.err) == (0, "")
        assert "queued again on sdxl_queue" in said.out
        assert operator.texts("sdxl_queue") == [element, "waiting"]
        assert operator.texts("sdxl_queue:dead") == []

    def test_the_other_end_is_respected(self, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OURVIDZ_POP_END", "left")
        job_id, element = operator.submit()
        operator.redis("LPUSH", "sdxl_queue", "waiting")
        operator.bury(element)
        assert operator.runs("dead", "requeue", job_id).code == 0
        assert operator.texts("sdxl_queue") == ["waiting", element]

    def test_all_go_back_in_the_order_in_which_they_came(self, operator: Operator) -> None:
        elements = []
        for seed in range(3):
            _, element = operator.submit(id=f"00000000-0000-4000-8000-00000000000{seed}")
            operator.bury(element)
            elements.append(element)
        said = operator.runs("dead", "requeue", "--all", "--json")
        assert said.code == 0
        assert all(outcome["done"] for outcome in said.document)
        assert operator.texts("sdxl_queue")[::-1] == elements

    def test_a_job_in_two_letters_is_queued_once(self, operator: Operator) -> None:
        _, element = operator.submit()
        operator.bury(element, "first")
        operator.bury(element, "second")
        assert operator.runs("dead", "requeue", "--all").code == 1
        assert operator.texts("sdxl_queue") == [element]

    @pytest.mark.parametrize("status", ["completed", "cancelled"])
    def test_a_job_that_is_over_is_not_run_again(self, operator: Operator, status: str) -> None:
        job_id, element = operator.submit()
        operator.status_becomes(job_id, status)
        operator.bury(element)
        said = operator.runs("dead", "requeue", job_id)
        assert said.code == 1
        assert f"the product has the job {job_id} as {status} already (--force" in said.err
        assert operator.texts("sdxl_queue") == []
        assert operator.runs("dead", "requeue", job_id, "--force").code == 0
        assert operator.texts("sdxl_queue") == [element]

    def test_a_job_whose_row_is_not_there_yet_may_be_queued_again(self, operator: Operator) -> None:
        """Rows are made late; the worker says so where one never comes."""
        payload = json.loads((PAYLOADS / "sdxl_image_fast.json").read_text())
        element = json.dumps({**payload, "id": "no-such-row"})
        operator.bury(element)
        assert operator.runs("dead", "requeue", "no-such-row").code == 0
        assert operator.texts("sdxl_queue") == [element]

    def test_what_no_worker_would_run_stays(self, operator: Operator) -> None:
        operator.bury("{broken")
        [letter] = operator.runs("dead", "list", "--json").document
        said = operator.runs("dead", "requeue", letter["id"], "--json")
        assert said.code == 1
        assert "no worker would run it: element is not JSON" in said.document[0]["sentence"]
        assert operator.runs("dead", "requeue", letter["id"], "--force").code == 0
        assert operator.texts("sdxl_queue") == ["{broken"]

    def test_what_is_no_letter_stays_even_by_force(self, operator: Operator) -> None:
        operator.redis("LPUSH", "sdxl_queue:dead", "garbage")
        assert operator.runs("dead", "requeue", "--all", "--force").code == 1
        assert operator.texts("sdxl_queue:dead") == ["garbage"]

    def test_a_finished_result_on_this_machine_is_delivered_instead(self, operator: Operator) -> None:
        job_id, element = operator.submit()
        operator.bury(element)
        operator.park(job_id)
        said = operator.runs("dead", "requeue", job_id)
        assert said.code == 1
        assert f"queue parked resend {job_id}" in said.err

    def test_a_product_out_of_reach_decides_nothing(self, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
        job_id, element = operator.submit()
        operator.bury(element)
        monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:1")
        said = operator.runs("dead", "requeue", job_id)
        assert said.code == 1
        assert "did not answer" in said.err
        assert operator.texts("sdxl_queue") == []

    def test_a_requeued_job_is_completed(self, operator: Operator, tmp_path: Path) -> None:
        job_id, element = operator.submit()
        operator.bury(element)
        assert operator.runs("dead", "requeue", job_id).code == 0
        environment = {
            **operator.backend.environment(),
            "OURVIDZ_MODELS": "testcard",
            "OURVIDZ_SDXL_POLL": "0.05",
            "OURVIDZ_SPOOL": str(tmp_path / "spool"),
        }
        with RunningCommand(["-m", "ourvidz_worker", "sdxl"], environment):
            wait_until(lambda: operator.status_of(job_id) == "completed", "the job", seconds=COMMAND_SECONDS)


class TestDrop:
    def test_a_letter_is_dropped(self, operator: Operator) -> None:
        job_id, element = operator.submit()
        operator.bury(element)
        operator.bury("{broken")
        assert operator.runs("dead", "drop", job_id).code == 0
        assert len(operator.texts("sdxl_queue:dead")) == 1
        assert operator.texts("sdxl_queue") == []

    @pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("\n", 1, 2), ("", 1, 2), ("no\n", 1, 2)])
    def test_all_are_dropped_after_a_question(
        self, operator: Operator, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: int
    ) -> None:
        operator.bury("{one")
        operator.bury("{two", queue="wan_queue")
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        said = operator.runs("dead", "drop", "--all")
        assert said.code == code
        assert "drop 2 letters of sdxl_queue and wan_queue for good?" in said.err
        assert len(operator.texts("sdxl_queue:dead") + operator.texts("wan_queue:dead")) == left

    def test_where_nothing_lies_nothing_is_asked(self, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", Terminal(""))
        said = operator.runs("dead", "drop", "--all")
        assert (said.code, said.out, said.err) == (0, "there are no dead letters\n", "")
        assert operator.runs("dead", "requeue", "--all", "--json").document == []

    def test_where_nobody_can_be_asked_yes_must_be_said(
        self, operator: Operator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        operator.bury("{one")
        monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
        assert operator.runs("dead", "drop", "--all").code == 2
        assert operator.runs("dead", "drop", "--all", "--yes").code == 0
        assert operator.texts("sdxl_queue:dead") == []


class TestParked:
    def test_what_is_parked_is_listed_with_its_reason(self, operator: Operator) -> None:
        job_id, _ = operator.submit()
        operator.park(job_id, reason=NASTY)
        [entry] = operator.runs("parked", "list", "--json").document
        assert (entry["job_id"], entry["report"], entry["bucket"]) == (job_id, "completed", "sdxl_image_fast")
        assert (entry["files"], entry["bytes"], entry["reason"]) == (1, len(PICTURE), NASTY)
        said = operator.runs("parked", "list")
        assert job_id in said.out
        assert not set(said.out) & set("\x1b\x07\u202e")

    def test_a_resent_result_reaches_the_user_and_takes_its_letter_along(self, operator: Operator) -> None:
        job_id, element = operator.submit()
        operator.park(job_id)
        operator.bury(element)
        said = operator.runs("parked", "resend", job_id)
        assert said.code == 0, said.err
        assert "delivered as completed, dead letter dropped" in said.out
        job = operator.backend.backend.job(job_id)
        assert job is not None
        assert (job["status"], len(job["assets"])) == ("completed", 1)
        stored = operator.backend.backend.file("sdxl_image_fast", f"somebody/{job_id}_0.png")
        assert stored.read_bytes() == PICTURE
        assert operator.spool.parked() == []
        assert operator.texts("sdxl_queue:dead") == []

    def test_what_is_refused_again_stays_with_the_new_reason(self, operator: Operator) -> None:
        job_id, element = operator.submit()
        operator.park(job_id, bucket="no_such_bucket")
        operator.bury(element)
        said = operator.runs("parked", "resend", "--all", "--json")
        assert said.code == 1
        assert "no_such_bucket" in said.document[0]["sentence"]
        [entry] = operator.spool.parked()
        assert "no_such_bucket" in entry.reason
        assert entry.result is not None
        assert len(operator.texts("sdxl_queue:dead")) == 1

    def test_a_product_out_of_reach_changes_nothing(self, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ourvidz_worker.cli.queue.parked._PATIENCE", HASTY)
        job_id, _ = operator.submit()
        operator.spool.park_callback(Callback(job_id, "completed", (ReportedAsset("k", "image", 8, 8, 7),)), "refused")
        monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:1")
        said = operator.runs("parked", "resend", job_id)
        assert said.code == 1
        assert "did not answer" in said.err
        assert [entry.reason for entry in operator.spool.parked()] == ["refused"]

    def test_a_parked_failure_is_reported(self, operator: Operator) -> None:
        job_id, _ = operator.submit()
        operator.spool.park_callback(Callback(job_id, "failed", error_message="the prompt is empty"), "refused")
        assert operator.runs("parked", "resend", job_id).code == 0
        job = operator.backend.backend.job(job_id)
        assert job is not None
        assert (job["status"], job["error_message"]) == ("failed", "the prompt is empty")
        assert operator.spool.parked() == []

    def test_a_parked_failure_undoes_no_completed_job(self, operator: Operator) -> None:
        job_id, _ = operator.submit()
        operator.spool.park_callback(Callback(job_id, "failed", error_message="the prompt is empty"), "refused")
        operator.status_becomes(job_id, "completed")
        said = operator.runs("parked", "resend", job_id)
        assert said.code == 0
        assert "as completed by now" in said.out
        assert operator.status_of(job_id) == "completed"
        assert operator.spool.parked() == []

    def test_a_spool_that_cannot_be_read_is_named(self, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
        def forbidden(_spool: Spool) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Spool, "parked", forbidden)
        said = operator.runs("parked", "list")
        assert said.code == 78
        assert "cannot be read (Permission denied): mend that or set OURVIDZ_SPOOL" in said.err

    def test_what_was_done_is_told_where_an_error_ends_it(
        self, operator: Operator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(2):
            job_id, _ = operator.submit(id=f"00000000-0000-4000-8000-00000000000{number}")
            operator.park(job_id)
        deliver = Courier.deliver
        delivered: list[Result] = []

        async def once(courier: Courier, result: Result) -> None:
            if delivered:
                raise ConfigurationError("the key was replaced")
            delivered.append(result)
            await deliver(courier, result)

        monkeypatch.setattr(Courier, "deliver", once)
        said = operator.runs("parked", "resend", "--all", "--json")
        assert said.code == 78
        assert [outcome["done"] for outcome in said.document] == [True]
        assert said.err == "the key was replaced\n"
        assert len(operator.spool.parked()) == 1

    def test_damaged_files_are_named_and_kept(self, operator: Operator) -> None:
        job_id, _ = operator.submit()
        operator.park(job_id)
        [entry] = operator.spool.parked()
        assert entry.result is not None
        entry.result.assets[0].asset.path.write_bytes(b"")
        said = operator.runs("parked", "resend", "--all")
        assert said.code == 1
        assert "damaged" in said.err
        assert operator.runs("parked", "list").code == 0
        assert len(operator.spool.parked()) == 1

    def test_an_unknown_one_is_said_so(self, operator: Operator) -> None:
        said = operator.runs("parked", "resend", "nobody")
        assert said.code == 1
        assert "nothing of a job nobody is parked on this machine" in said.err
        assert operator.runs("parked", "resend", "--all").code == 0


class TestTheDoor:
    @pytest.mark.parametrize("command", ["", "dead", "dead requeue", "dead requeue x --all", "parked resend", "flux"])
    def test_wrong_use_exits_2(self, operator: Operator, command: str) -> None:
        assert operator.runs(*command.split()).code == 2

    def test_a_missing_environment_is_configuration(self) -> None:
        result = run_command("queue", "status")
        assert result.returncode == 78
        assert "UPSTASH_REDIS_REST_URL is not set" in result.stderr

    def test_a_wrong_token_is_configuration(self, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UPSTASH_REDIS_REST_TOKEN", "a-wrong-token")
        said = operator.runs("dead", "list", "--json")
        assert (said.code, said.out) == (78, "")
        assert "UPSTASH_REDIS_REST_TOKEN" in said.err
        assert "a-wrong-token" not in said.err

    def test_a_wrong_service_key_is_configuration(self, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
        job_id, element = operator.submit()
        operator.bury(element)
        operator.park("another-job")
        monkeypatch.setenv("SUPABASE_SERVICE_KEY", "not-the-key")
        for command in (("dead", "requeue", job_id), ("parked", "resend", "--all")):
            said = operator.runs(*command)
            assert said.code == 78
            assert "SUPABASE_SERVICE_KEY" in said.err
            assert "not-the-key" not in said.err
        assert len(operator.texts("sdxl_queue:dead")) == len(operator.spool.parked()) == 1

    def test_nobody_there_is_a_sentence(self, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UPSTASH_REDIS_REST_URL", "http://127.0.0.1:1")
        said = operator.runs("status")
        assert said.code == 1
        assert "Redis did not answer" in said.err

    def test_a_real_process_works_the_same_and_prints_ascii_where_it_must(self, operator: Operator) -> None:
        operator.bury("{broken", reason="naïve ✓")
        environment = {**operator.backend.environment(), "PYTHONIOENCODING": "ascii"}
        result = run_command("queue", "dead", "list", environment=environment)
        assert result.returncode == 0, result.stderr
        assert "na\\xefve \\u2713" in result.stdout


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True
