"""Prompts and metadata are data: nothing of a job reaches a path, a log format, a template, a shell or a URL unescaped.

Hostile texts go through real workers in every field where a producer may write one; then everything is searched.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from ourvidz_worker.cli.replay import ChangeLines
from ourvidz_worker.cli.report import print_table
from ourvidz_worker.cli.rig import Progress
from ourvidz_worker.contract.catalogue import parse_catalogue
from tests.support.commands import COMMAND_SECONDS, PAYLOADS, ROOT, RunningCommand, run_command
from tests.support.embedded import RunningBackend
from tests.support.said import said_by, set_environment
from tests.support.targets import record_targets
from tests.support.waiting import wait_until

CATALOGUE = parse_catalogue((ROOT / "configs" / "job_types.toml").read_text())
TYPES = ("sdxl_image_fast", "image_fast", "video7b_fast_enhanced")
MARK = "Zq7Prompt"  # stands in every hostile text, so that it is found wherever the text went
QUICK = {
    "OURVIDZ_MODELS": "testcard",
    "OURVIDZ_LOG_LEVEL": "debug",
    "OURVIDZ_SDXL_POLL": "0.05",
    "OURVIDZ_WAN_POLL": "0.05",
}
REFUSED: dict[str, list[Any]] = {
    "user_id": ["../../x", "a/b", "$(id)", "a b", "a\nb", "{0}", "%2e%2e", "<b>", "\u202e", "a\0", ".", "", {"a": 1}],
    "bucket": ["../x", "image_fast/../videos", "image_fast?x=1", "IMAGE_FAST", "no_such", "%s", {"a": 1}, ["a"], 5],
    "image_id": ["../x", "a/b"],
    "created_at": ["{0}", "$(id)", "[red]\x1b[2J"],
}
MALFORMED_IDS = ["../../x", "$(id)", "a/b", "a\nb", "{0.__class__}", "%s", "<img>", "a\0b", "\u202e", "..", "[red]"]


def hostile_texts(folder: Path) -> list[str]:
    pwned = folder / "pwned"
    return [
        f"{MARK} {{0.__class__.__mro__}} {{self}} {{}}",
        f"{MARK} %s %n %(password)s %x%x%x",
        f"{MARK} $(touch {pwned}) `touch {pwned}` ; touch {pwned} | touch {pwned} && touch {pwned}",
        f"../../../{MARK}/../x",
        f"{MARK}\r\nSet-Cookie: a=b\n\n\t{MARK}",
        f"{MARK} \x1b[31mred\x1b[2J\x1b]0;title\x07\x9b31m\x08\x7f",
        f'{MARK}</script></title><img src=x onerror="alert(1)"><svg/onload=alert(1)>',
        f"{MARK} [red]red[/red] [link=http://x]x[/link] [/] [bold",
        f'{MARK}"}}\n{{"event": "job_completed", "job_id": "forged"}}',
        f"{MARK} {{{{7*7}}}} ${{7*7}} <%= 7*7 %> #{{7*7}} <|im_end|>",
        f"{MARK}'; DROP TABLE jobs; -- \" OR 1=1",
        f"{MARK} \u202e\u200b\ufeff\u2028\u2029 \U0001f6a2",
        f"{MARK}?token=x&a=b#c%00%2e%2e/",
        f"{MARK} " + "x" * 9000,
    ]


@dataclass
class Scene:
    """What the workers made of the jobs: `texts` are the prompts of the sound ones, `refused` the wrong fields."""

    folder: Path
    running: RunningBackend
    targets: list[str]
    environment: dict[str, str]
    texts: dict[str, str] = field(default_factory=dict)
    refused: dict[str, tuple[str, Any]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def submit(self, payload: dict[str, Any]) -> str:
        return self.running.run(self.running.backend.submit(payload))

    def row(self, job_id: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            return self.running.backend.job(job_id)

        found = self.running.run(look())
        assert found is not None
        return found

    def redis(self, *command: str) -> Any:
        return self.running.run(self.running.backend._redis.execute(list(command)))

    def letters(self) -> list[dict[str, Any]]:
        return [json.loads(letter) for letter in self.redis("LRANGE", "sdxl_queue:dead", "0", "-1")]


def recorded(name: str, number: int, **changes: Any) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text())
    return {**payload, "id": f"00000000-0000-4000-8000-{number:012}", **changes}


def hostile_job(number: int, text: str) -> dict[str, Any]:
    """A sound job with a hostile text wherever a producer may write one."""
    payload = recorded(
        TYPES[number % len(TYPES)], number, prompt=text, negative_prompt=text, model_variant=text, character_id=text
    )
    payload["metadata"] |= {"prompt": text, text: text, "nested": {text: [text]}, "all_assets": text, "bucket": text}
    payload[text] = text
    return payload


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("job-data")
    (folder / "tmp").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        targets = record_targets(patch)
        with RunningBackend(folder / "backend") as running:
            environment = {
                **running.environment(),
                **QUICK,
                "OURVIDZ_SPOOL": str(folder / "spool"),
                "OURVIDZ_STATUS_FILE": str(folder / "status.json"),
                "TMPDIR": str(folder / "tmp"),
            }
            scene = Scene(folder, running, targets, environment)
            submit_all(scene)
            with RunningCommand(["orchestrator.py"], environment) as orchestrator:
                for job_id in scene.texts:
                    wait_for(scene, job_id, "completed")
                for job_id in scene.refused:
                    wait_for(scene, job_id, "failed")
                wait_until(lambda: len(scene.letters()) == len(MALFORMED_IDS), "the dead letters")
                assert orchestrator.stop() == 0
            scene.lines = orchestrator.lines
            yield scene


def submit_all(scene: Scene) -> None:
    for number, text in enumerate(hostile_texts(scene.folder)):
        scene.texts[scene.submit(hostile_job(number, text))] = text
    wrong = [(name, value) for name, values in REFUSED.items() for value in values]
    for number, (name, value) in enumerate(wrong, start=100):
        job_id = scene.submit(recorded("sdxl_image_fast", number, prompt=MARK, **{name: value}))
        scene.refused[job_id] = (name, value)
    for job_id in MALFORMED_IDS:
        scene.redis("LPUSH", "sdxl_queue", json.dumps(recorded("sdxl_image_fast", 1, prompt=MARK, id=job_id)))


def wait_for(scene: Scene, job_id: str, status: str) -> None:
    wait_until(
        lambda: scene.row(job_id)["status"] in ("completed", "failed"), f"the end of {job_id}", seconds=COMMAND_SECONDS
    )
    row = scene.row(job_id)
    assert row["status"] == status, row["error_message"]


class TestDataStaysData:
    def test_it_arrives_as_it_was(self, scene: Scene) -> None:
        assert {job_id: scene.row(job_id)["metadata"]["prompt"] for job_id in scene.texts} == scene.texts

    def test_each_log_line_is_one_event_without_a_prompt(self, scene: Scene) -> None:
        """A line end in a prompt would forge events."""
        events = [json.loads(line) for line in scene.lines]
        assert {"job_completed", "job_refused", "job_dead"} <= {event["event"] for event in events}
        assert MARK not in "\n".join(scene.lines)
        assert "forged" not in {event.get("job_id") for event in events}
        assert all(line.isprintable() for line in scene.lines)

    def test_nothing_was_run_or_written_beside_the_store(self, scene: Scene) -> None:
        assert not (scene.folder / "pwned").exists()
        assert {path.name for path in scene.folder.iterdir()} == {"backend", "spool", "status.json", "tmp"}
        assert list((scene.folder / "tmp").iterdir()) == []
        assert [path for path in (scene.folder / "spool").rglob("*") if path.is_file()] == []
        around = [*ROOT.iterdir(), *Path("/tmp").iterdir(), *scene.folder.parent.iterdir(), *scene.folder.rglob("*")]
        assert [path for path in around if MARK in path.name or path.name in ("x", "pwned")] == []
        assert MARK not in (scene.folder / "status.json").read_text()

    def test_files_lie_under_the_keys_of_their_jobs(self, scene: Scene) -> None:
        expected = set()
        for job_id in scene.texts:
            row = scene.row(job_id)
            video = CATALOGUE[row["job_type"]].media == "video"
            stems = [job_id] if video else [f"{job_id}_{index}" for index in range(len(row["assets"]))]
            endings = ("mp4" if video else "png", "thumb.webp")
            names = [f"{stem}.{ending}" for stem in stems for ending in endings]
            expected |= {(row["job_type"], f"{row['user_id']}/{name}") for name in names}
        stored = {(row["bucket_id"], row["name"]) for row in scene.running.backend._database.select("objects")}
        assert stored == expected

    def test_no_address_and_no_key_is_made_of_it(self, scene: Scene) -> None:
        assert len(scene.targets) > 50
        assert [target for target in scene.targets if not re.fullmatch(r"[A-Za-z0-9/_.=&?,-]+", target)] == []
        assert MARK not in "".join(scene.targets)
        assert MARK not in str(scene.redis("KEYS", "*"))

    def test_callbacks_repeat_no_prompt_but_a_rewritten_one(self, scene: Scene) -> None:
        for row in scene.running.backend._database.select("callbacks"):
            told = json.loads(row["body"])
            told.pop("enhanced_prompt", None)
            told.pop("enhancedPrompt", None)
            assert MARK not in json.dumps(told)


class TestRefusals:
    def test_each_names_its_field_on_one_line(self, scene: Scene) -> None:
        for job_id, (name, value) in scene.refused.items():
            message = scene.row(job_id)["error_message"]
            assert message.isprintable(), (name, value, message)
            assert name in message, (name, value, message)

    def test_a_bucket_is_one_of_the_catalogues(self, scene: Scene) -> None:
        for job_id, (name, value) in scene.refused.items():
            if name == "bucket":
                assert f"bucket must be one of {', '.join(CATALOGUE.buckets)}" in scene.row(job_id)["error_message"], (
                    value
                )

    def test_an_element_without_an_id_is_kept_with_a_reason_on_one_line(self, scene: Scene) -> None:
        for letter in scene.letters():
            assert letter["reason"].isprintable()
            assert json.loads(letter["element"])["id"] in MALFORMED_IDS
            assert MARK not in letter["reason"]


class TestDisplays:
    def test_the_page_gets_it_as_json_alone(self, scene: Scene) -> None:
        assert MARK not in httpx.get(scene.running.url).text
        answer = httpx.get(f"{scene.running.url}/local/jobs", headers=scene.running.service_headers())
        jobs = answer.json()["jobs"]
        assert answer.headers["content-type"] == "application/json"
        shown = {job["id"]: job["prompt"] for job in jobs}
        assert {job_id: shown[job_id] for job_id in scene.texts} == scene.texts
        assert {job["status"] for job in jobs} == {"completed", "failed"}

    @pytest.mark.usefixtures("own_logging")
    @pytest.mark.parametrize("words", ["status", "dead list", "dead list --json", "parked list"])
    def test_no_list_shows_a_prompt_or_steers_the_terminal(
        self, scene: Scene, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        set_environment(monkeypatch, scene.environment)
        said = said_by(capsys, "queue", *words.split())
        assert said.code == 0, said.err
        assert MARK not in said.out
        assert all(line.isprintable() for line in said.out.splitlines())

    def test_a_replay_shows_it_as_text(self, tmp_path: Path) -> None:
        payloads = {
            "completed": hostile_job(0, hostile_texts(tmp_path)[5]),
            "failed": recorded("sdxl_image_fast", 2, prompt=MARK, bucket="[red]\x1b[2J"),
        }
        for name, payload in payloads.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(payload))
        report = tmp_path / "report.json"
        files = [str(tmp_path / f"{name}.json") for name in payloads]
        result = run_command("replay", *files, "--report", str(report), environment=QUICK)
        assert result.returncode == 1
        assert [job["status"] for job in json.loads(report.read_text())["jobs"]] == ["completed", "failed"]
        assert "got '[red]\\x1b[2J'" in result.stderr
        assert "got '[red]\\x1b[2J'" in " ".join(result.stdout.split())
        for text in (result.stdout, result.stderr, report.read_text()):
            assert MARK not in text
            assert all(line.isprintable() for line in text.splitlines())

    @pytest.mark.parametrize(
        "text", ["[red]x[/red] [/] [bold", "a\x1b[2Jb\x9b31m", "a\r\nb\tc", "\u202e\u200b\ud800", "x\\"]
    )
    def test_tables_and_lines_show_characters_and_obey_none(self, text: str) -> None:
        written = io.StringIO()
        console = Console(file=written, width=200, force_terminal=False)
        job: dict[str, Any] = {
            "type": text,
            "status": "failed",
            "seconds": None,
            "error": {"message": text},
            "assets": [],
        }
        print_table({"jobs": [job]}, console)
        ChangeLines(console).show([Progress(text, text, "failed", message=text)])
        lines = written.getvalue().splitlines()
        assert len(lines) == 3
        assert all(line.isprintable() for line in lines)
        if text.isprintable():
            assert all(text in line for line in lines[1:])
