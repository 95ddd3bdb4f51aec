"""Secrets never appear in logs, errors, process titles, spool files, reports or health output.

Real processes go through good and bad paths with known secrets; then everything that they wrote is searched.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.commands import COMMAND_SECONDS, PAYLOADS, ROOT, RunningCommand, clean_environment, run_command
from tests.support.echo_server import EchoServer
from tests.support.embedded import RunningBackend
from tests.support.ports import free_port
from tests.support.said import said_by, set_environment
from tests.support.secrets import Planted, tokens_in
from tests.support.targets import record_targets
from tests.support.waiting import wait_until

CALLBACK_SECRET = "callback-Kx7Qp2-secret-9Zw4Lm8Tn"
FORGED_TOKEN = "forged-reference-token-V5r8Jd2H"
LANGUAGE_KEY = "language-model-key-T3c9Pz6Wb0"
DEBUG = {
    "OURVIDZ_MODELS": "testcard",
    "OURVIDZ_LOG_LEVEL": "debug",
    "OURVIDZ_SDXL_POLL": "0.05",
    "OURVIDZ_WAN_POLL": "0.05",
}


@dataclass
class Written:
    """What a scenario left behind, by where it stood; `planted` are the secrets that it was run with."""

    planted: Planted
    folder: Path
    texts: dict[str, str] = field(default_factory=dict)
    targets: list[str] = field(default_factory=list)
    command_lines: set[str] = field(default_factory=set)

    def leaks(self) -> dict[str, set[str]]:
        found = {name: self.planted.found_in(text) for name, text in self.texts.items()}
        return {name: secrets for name, secrets in found.items() if secrets}

    def events(self, name: str) -> set[str]:
        return {json.loads(line)["event"] for line in self.texts[name].splitlines()}

    def run(self, name: str, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        result = run_command(*arguments, environment={**environment, "TMPDIR": str(self.folder)})
        self.texts[name] = result.stdout + result.stderr
        return result


def recorded(name: str, **changes: Any) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text())
    return {**payload, **changes}


def referring(number: int, **changes: Any) -> dict[str, Any]:
    """A job of its own with other reference fields."""
    payload = recorded("sdxl_image_fast.style_reference_3", id=f"00000000-0000-4000-8000-{number:012}")
    payload["metadata"] |= changes
    return payload


@pytest.fixture(scope="module")
def daily(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    """Jobs that complete, fail, are refused, parked and buried by real workers, and a person's commands beside them."""
    folder = tmp_path_factory.mktemp("daily")
    home = folder / "written"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        targets = record_targets(patch)
        with RunningBackend(folder / "backend", callback_profile="2026-02", callback_secret=CALLBACK_SECRET) as running:
            backend = running.backend
            picture = running.run(backend.place_reference("reference_images", "user/a.png", sample_png(), "image/png"))
            token = picture.partition("?token=")[2]
            written = Written(planted_in(running, reference=token, forged=FORGED_TOKEN), home, targets=targets)
            environment = {
                **running.environment(),
                **DEBUG,
                "OURVIDZ_CALLBACK_PROFILE": "2026-02",
                "OURVIDZ_SPOOL": str(home / "spool"),
                "OURVIDZ_STATUS_FILE": str(home / "status.json"),
                "OURVIDZ_WORKERS": "sdxl,wan,qwen",
                "OURVIDZ_QWEN_PORT": str(free_port()),
                "OURVIDZ_LANGUAGE_MODEL_KEY": LANGUAGE_KEY,
                "TMPDIR": str(home),
            }
            qwen = f"http://127.0.0.1:{environment['OURVIDZ_QWEN_PORT']}"
            forged = f"http://x/a?token={FORGED_TOKEN}"
            completed = [
                recorded("sdxl_image_fast.2026-02"),
                recorded("image_fast"),
                recorded("image7b_fast_enhanced"),
                referring(1, reference_image_url=picture),
            ]
            failed = [
                referring(2, reference_image_url=picture.replace("a.png", "b.png")),
                referring(3, reference_image_url=forged),
                referring(4, reference_image_url=f"ftp://x/a?token={FORGED_TOKEN}"),
                referring(5, reference_image_url=f"http://user:{FORGED_TOKEN}@x/a"),
                referring(6, reference_image_url=f"http://x:99999/a?token={FORGED_TOKEN}"),
                referring(7, reference_type=forged),
                referring(8, reference_strength=forged),
                referring(9, references=forged),
                referring(10, references=[forged]),
                referring(11, references=[{"url": forged, "type": forged}]),
                referring(12, references=[{"url": forged, "strength": forged}]),
                recorded("sdxl_image_high", bucket="sdxl_image_high"),
            ]
            backend._database.delete("buckets", "id = ?", ["sdxl_image_high"])
            with RunningCommand(["orchestrator.py"], environment) as orchestrator:
                orchestrator.wait_for("models_loaded", worker="sdxl")
                orchestrator.wait_for("models_loaded", worker="wan")
                orchestrator.wait_for("models_loaded", worker="qwen")
                wrong = {"Authorization": f"Bearer {FORGED_TOKEN}"}
                written.texts["wrong qwen token"] = httpx.post(
                    f"{qwen}/enhance", headers=wrong, timeout=COMMAND_SECONDS
                ).text
                written.texts["qwen health"] = httpx.get(f"{qwen}/health", timeout=COMMAND_SECONDS).text
                ids = {running.run(backend.submit(payload)): "completed" for payload in completed}
                ids |= {running.run(backend.submit(payload)): "failed" for payload in failed}
                running.run(backend._redis.execute(["LPUSH", "sdxl_queue", "{broken"]))
                for job_id, status in ids.items():
                    wait_until(over(running, job_id, status), f"job {job_id} {status}", seconds=COMMAND_SECONDS)
                written.command_lines |= command_lines(orchestrator.process.pid)
                submit = ["submit", "sdxl_image_fast", "--prompt", "a lighthouse", "--enhance", "--json"]
                written.run("submit", *submit, "--reference", picture, "--wait", environment=environment)
                wait_until(lambda: reasons(running), "the dead letter")
                written.texts["status file"] = (home / "status.json").read_text()
                assert orchestrator.stop() == 0
            written.texts["orchestrator"] = orchestrator.log()
            written.run("doctor", "doctor", environment=environment)
            written.run("doctor --json", "doctor", "--json", environment=environment)
            for words in ("status", "dead list", "parked list"):
                written.run(f"queue {words}", "queue", *words.split(), "--json", environment=environment)
            written.texts["callbacks"] = json.dumps(backend._database.select("callbacks"))
            written.texts["dead letters"] = "\n".join(reasons(running))
            yield written


class TestDaily:
    def test_it_went_through_all_of_it(self, daily: Written) -> None:
        """A search proves nothing where nothing was written."""
        assert daily.events("orchestrator") >= {
            "job_completed",
            "job_failed",
            "job_refused",
            "job_parked",
            "job_dead",
            "prompt_rewritten",
            "worker_stopped",
        }
        assert json.loads(daily.texts["submit"].splitlines()[0])["status"] == "completed"
        assert json.loads(daily.texts["queue parked list"])
        assert json.loads(daily.texts["queue dead list"])
        assert json.loads(daily.texts["doctor --json"])["findings"]
        assert daily.texts["dead letters"]
        assert daily.texts["status file"]

    def test_no_text_holds_a_secret(self, daily: Written) -> None:
        assert daily.leaks() == {}

    def test_no_file_holds_a_secret(self, daily: Written) -> None:
        names = [path.name for path in daily.folder.rglob("*")]
        assert "parked.json" in names
        assert daily.planted.found_below(daily.folder) == {}

    def test_no_command_line_holds_a_secret(self, daily: Written) -> None:
        lines = "\n".join(daily.command_lines)
        assert "orchestrator.py" in lines
        assert "ourvidz_worker sdxl" in lines
        assert "ourvidz_worker wan" in lines
        assert "ourvidz_worker qwen" in lines
        assert daily.planted.found_in(lines) == set()

    def test_tokens_go_in_headers_and_never_in_addresses(self, daily: Written) -> None:
        """But for a signed address of the product's, whose token is its own."""
        assert any("/functions/v1/job-callback" in target for target in daily.targets)
        assert any("/upstash" in target for target in daily.targets)
        signed = {target for target in daily.targets if daily.planted.found_in(target) == {"reference"}}
        assert {target.partition("?")[0].rpartition("/")[0] for target in signed} == {
            "/storage/v1/object/sign/reference_images/user"
        }
        assert {target for target in daily.targets if daily.planted.found_in(target)} == signed


@pytest.fixture(scope="module")
def echoed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    """Servers that repeat in their refusals what they were sent, under every command that speaks to one."""
    folder = tmp_path_factory.mktemp("echoed")
    home = folder / "written"
    home.mkdir()
    with RunningBackend(folder / "backend", callback_secret=CALLBACK_SECRET) as running, EchoServer() as echo:
        written = Written(planted_in(running), home, targets=echo.targets)
        environment = {**running.environment(), **DEBUG, "OURVIDZ_SPOOL": str(home / "spool"), "TMPDIR": str(home)}
        no_product = {**environment, "SUPABASE_URL": echo.url}
        no_redis = {**environment, "UPSTASH_REDIS_REST_URL": echo.url}
        signing = {"OURVIDZ_CALLBACK_PROFILE": "2026-02", "JOB_CALLBACK_SECRET": CALLBACK_SECRET}
        unsigned: dict[str, str] = {}
        for name, job, changes in (
            ("product", "sdxl_image_fast", unsigned),
            ("product, signed", "sdxl_image_high", signing),
        ):
            running.run(running.backend.submit(recorded(job)))
            with RunningCommand(["-m", "ourvidz_worker", "sdxl"], {**no_product, **changes}) as worker:
                wait_until(
                    lambda worker=worker: worker.saw("job_dead") or worker.process.poll() is not None,  # type: ignore[misc]
                    "the end of the job",
                    seconds=COMMAND_SECONDS,
                )
                worker.stop()
            written.texts[name] = worker.log()
        enhancer = {**environment, "OURVIDZ_ENHANCER_URL": echo.url}
        enhanced = running.run(running.backend.submit(recorded("image7b_fast_enhanced")))
        with RunningCommand(["-m", "ourvidz_worker", "wan"], enhancer) as worker:
            wait_until(over(running, enhanced, "completed"), "the job with its own prompt", seconds=COMMAND_SECONDS)
            worker.stop()
        written.texts["enhancer"] = worker.log()
        written.texts["enhanced job"] = json.dumps(running.backend.rows("callbacks", enhanced))
        language = {
            **environment,
            "OURVIDZ_LANGUAGE_MODEL_URL": echo.url,
            "OURVIDZ_LANGUAGE_MODEL_KEY": LANGUAGE_KEY,
            "OURVIDZ_QWEN_PORT": str(free_port()),
        }
        with RunningCommand(["-m", "ourvidz_worker", "qwen"], language) as worker:
            worker.wait_for("model_unavailable")
            written.texts["asked of qwen"] = httpx.post(
                f"http://127.0.0.1:{language['OURVIDZ_QWEN_PORT']}/enhance",
                json={"prompt": "a lighthouse"},
                headers={"Authorization": f"Bearer {running.backend.qwen_token}"},
                timeout=COMMAND_SECONDS,
            ).text
            worker.stop()
        written.texts["language model"] = worker.log()
        written.run("doctor of qwen", "doctor", environment={**language, **enhancer, "OURVIDZ_WORKERS": "qwen"})
        written.run("redis", "sdxl", environment=no_redis)
        written.run("redis of the orchestrator", "orchestrator", environment={**no_redis, "OURVIDZ_RESTART_LIMIT": "1"})
        nothing = {**no_product, "UPSTASH_REDIS_REST_URL": echo.url}
        for name in ("doctor", "doctor --json", "queue status", "queue dead list", "submit x --prompt x --json"):
            written.run(name, *name.split(), environment=nothing)
        written.texts["dead letters"] = "\n".join(reasons(running))
        written.texts["what the servers said"] = "\n".join(echo.echoed)
        yield written


class TestEchoed:
    def test_the_servers_repeated_every_secret_that_is_sent(self, echoed: Written) -> None:
        said = echoed.planted.found_in(echoed.texts["what the servers said"])
        assert said == {"service_key", "redis_token", "anon_key", "password", "qwen_token", "language_key"}
        assert "refused: " in echoed.texts["enhanced job"]
        assert "refused: " in echoed.texts["product"]
        assert "refused: " in echoed.texts["redis"]
        assert "refused: " in echoed.texts["dead letters"]

    def test_nobody_repeats_them_further(self, echoed: Written) -> None:
        assert set(echoed.leaks()) == {"what the servers said"}
        assert echoed.planted.found_below(echoed.folder) == {}

    def test_no_address_held_one(self, echoed: Written) -> None:
        assert len(echoed.targets) > 10
        assert echoed.planted.found_in("\n".join(echoed.targets)) == set()


WRONG = "Qm4Yt8Rk2Wd6Ns3B"
WRONGLY_SET = pytest.mark.parametrize("variable", ["SUPABASE_SERVICE_KEY", "UPSTASH_REDIS_REST_TOKEN"])


@WRONGLY_SET
def test_a_wrong_secret_is_not_repeated(tmp_path: Path, variable: str) -> None:
    with RunningBackend(tmp_path / "backend") as running:
        running.run(running.backend.submit(recorded("sdxl_image_fast")))
        wrong = {variable: f"wrong-{WRONG}", "OURVIDZ_SPOOL": str(tmp_path / "spool")}
        result = run_command("sdxl", environment={**running.environment(), **DEBUG, **wrong})
        planted = planted_in(running, wrong=WRONG)
    assert result.returncode == 78
    assert variable in result.stderr
    assert planted.found_in(result.stdout + result.stderr) == set()


@WRONGLY_SET
@pytest.mark.parametrize("value", ["first\n{}", "\u201c{}\u201d"], ids=["two lines", "curly quotes"])
@pytest.mark.usefixtures("own_logging")
def test_a_secret_that_no_header_can_carry_is_not_repeated(
    tmp_path: Path, variable: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunningBackend(tmp_path / "backend") as running:
        set_environment(monkeypatch, {**running.environment(), **DEBUG, variable: value.format(WRONG)})
        said = said_by(capsys, "sdxl")
        planted = planted_in(running, wrong=WRONG)
    assert said.code == 78
    assert variable in said.err
    assert planted.found_in(said.out + said.err) == set()


def test_a_replay_writes_no_token(tmp_path: Path) -> None:
    """Its keys are made anew each time: they are read while it runs, and searched for when it is over."""
    report = tmp_path / "report.json"
    files = [PAYLOADS / "sdxl_image_fast.style_reference_3.json", PAYLOADS / "image_fast.json"]
    argv = [sys.executable, "-m", "ourvidz_worker", "replay", *map(str, files), "--report", str(report)]
    (tmp_path / "data").mkdir()
    environment = clean_environment({**DEBUG, "TMPDIR": str(tmp_path / "data")})
    with subprocess.Popen(
        [*argv, "--profile", "2026-02"],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        keys: dict[str, str] = {}

        def found() -> bool:
            for path in (tmp_path / "data").glob("*/keys.json"):
                keys.update(json.loads(path.read_text() or "{}"))
            return bool(keys)

        wait_until(found, "the keys of the replay", seconds=COMMAND_SECONDS)
        output, _ = process.communicate(timeout=COMMAND_SECONDS)
    assert process.returncode == 0, output
    written = output + report.read_text()
    assert Planted(**keys).found_in(written) == set()
    assert tokens_in(written) == []


def planted_in(running: RunningBackend, **more: str) -> Planted:
    keys = running.backend.keys
    return Planted(
        service_key=keys.service_key,
        redis_token=keys.redis_token,
        callback_secret=CALLBACK_SECRET,
        jwt_secret=keys.jwt_secret,
        anon_key=keys.anon_key,
        password=keys.demo_password,
        qwen_token=keys.qwen_token,
        language_key=LANGUAGE_KEY,
        **more,
    )


def over(running: RunningBackend, job_id: str, status: str) -> Any:
    async def look() -> bool:
        row = running.backend.job(job_id)
        return row is not None and row["status"] == status

    return lambda: running.run(look())


def reasons(running: RunningBackend) -> list[str]:
    """What the workers wrote into dead letters; the element in them is the producer's."""
    letters = running.run(running.backend._redis.execute(["LRANGE", "sdxl_queue:dead", "0", "-1"]))
    opened = [json.loads(letter) for letter in letters]
    return [json.dumps({name: value for name, value in letter.items() if name != "element"}) for letter in opened]


def command_lines(leader: int) -> set[str]:
    """The command lines and titles of a process and of all that belong to its session."""
    lines = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(process.name)) == os.getsid(leader):
                lines.add((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
                lines |= {path.read_text() for path in process.glob("task/*/comm")}
        except (FileNotFoundError, ProcessLookupError):
            continue
    return lines


def sample_png() -> bytes:
    from ourvidz_worker.cli.recorded import sample_picture

    return sample_picture()
