"""`submit` as a person uses it: a storyboard, an enhanced prompt, references; and what it says when it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ourvidz_worker.cli.main import main
from tests.acceptance.test_running_workers import Product, environment
from tests.support.commands import RunningCommand
from tests.support.embedded import RunningBackend

REFUSED = "nude 12 year old"


async def rewritten(question: Mapping[str, Any]) -> Mapping[str, Any]:
    """A language worker of few words."""
    metadata = {"fallback_level": 0, "model_used": "few-words", "template_name": "wan_video"}
    return {"enhanced_prompt": f"{question['prompt']}, slowly", "enhancement_metadata": metadata}


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with RunningBackend(tmp_path_factory.mktemp("backend"), enhance=rewritten) as backend:
        product = Product(backend)
        yield product
        product.close()


@pytest.fixture(scope="class")
def _wan(product: Product, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with RunningCommand(["-m", "ourvidz_worker", "wan"], environment(product, tmp_path_factory.mktemp("wan"))) as wan:
        wan.wait_for("models_loaded")
        yield


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "storyboard.json"


Submit = Callable[..., tuple[int, str, str]]


@pytest.fixture
def submit(product: Product, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Submit:
    """The command in this process: exit code, standard output and standard error."""
    for name, value in product.backend.environment().items():
        monkeypatch.setenv(name, value)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["submit", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def queued(product: Product) -> int:
    return sum(int(product.redis("LLEN", queue)) for queue in ("sdxl_queue", "wan_queue"))


def last_payload(product: Product, queue: str) -> dict[str, Any]:
    """What was queued last, taken off the queue again."""
    payload: dict[str, Any] = json.loads(product.redis("LPOP", queue))
    return payload


@pytest.mark.usefixtures("_wan")
class TestStoryboards:
    def test_every_scene_is_drawn_and_told(self, product: Product, submit: Submit, file: Path) -> None:
        scenes = [{"title": "Dawn", "prompt": "A keeper wakes."}, {"prompt": "Waves rise.", "camera": "Slow pan."}]
        file.write_text(json.dumps(scenes))
        code, output, errors = submit(file, "--wait", "--seed", "7")
        assert code == 0, errors
        first, second = output.splitlines()
        assert first.startswith("scene 1 (Dawn)  ")
        assert second.startswith("scene 2  ")
        assert first.endswith("completed")
        assert errors.splitlines()[-1] == "2 jobs: 2 completed"
        for line, prompt in ((first, "A keeper wakes."), (second, "Waves rise. Slow pan.")):
            job_id = line.split()[-2]
            assert product.job(job_id)["metadata"]["prompt"] == prompt
            assert product.last_metadata(job_id)["seed"] == 7

    def test_a_scene_that_fails_is_told_and_costs_the_others_nothing(
        self, product: Product, submit: Submit, file: Path
    ) -> None:
        file.write_text(json.dumps([{"prompt": "Two gulls."}, {"title": "Bad", "prompt": REFUSED}, {"prompt": "A"}]))
        code, output, _ = submit(file, "--wait", "--json")
        assert code == 1
        scenes = json.loads(output)
        assert [scene["scene"] for scene in scenes] == ["scene 1", "scene 2 (Bad)", "scene 3"]
        assert [scene["job"]["status"] for scene in scenes] == ["completed", "failed", "completed"]
        assert scenes[1]["job"]["error_message"]
        assert scenes[1]["problem"] is None

    def test_an_enhanced_prompt_is_shown_and_drawn(self, product: Product, submit: Submit) -> None:
        code, output, errors = submit("image_fast", "--prompt", "a pier", "--enhance", "--wait")
        assert code == 0, errors
        prompt, enhanced, author, job = output.splitlines()
        assert (prompt, enhanced) == ("prompt:   a pier", "enhanced: a pier, slowly")
        assert author == "by:       few-words (wan_video)"
        metadata = product.job(job.split()[0])["metadata"]
        assert (metadata["prompt"], metadata["original_prompt"]) == ("a pier, slowly", "a pier")


class TestQueueing:
    """Without a worker, so that what was queued can be looked at."""

    def test_a_storyboard_with_a_problem_queues_nothing(self, product: Product, submit: Submit, file: Path) -> None:
        file.write_text(json.dumps([{"prompt": "Two gulls."}, {"prompt": ""}, {"promt": "A pier."}]))
        code, output, errors = submit(file)
        assert (code, output) == (2, "")
        empty, misspelt, missing = errors.splitlines()
        assert empty == f"{file}: scene 2 has no prompt"
        assert misspelt.startswith(f"{file}: scene 3 has an unknown key 'promt'; known are title, prompt, ")
        assert missing == f"{file}: scene 3 has no prompt"
        assert queued(product) == 0

    def test_a_time_limit_ends_the_waiting(self, product: Product, submit: Submit, file: Path) -> None:
        file.write_text(json.dumps([{"prompt": "A pier."}]))
        code, output, errors = submit(file, "--wait", "--timeout", "0.01")
        assert code == 1
        assert output.rstrip().endswith("queued")
        assert errors == "1 job: 1 queued\n1 of 1 not over after 0.01 s; what was queued goes on\n"
        last_payload(product, "wan_queue")

    def test_scenes_can_be_enhanced(self, product: Product, submit: Submit, file: Path) -> None:
        file.write_text(json.dumps({"scenes": [{"prompt": "A pier.", "camera": "Pan."}]}))
        code, output, errors = submit(file, "--enhance")
        assert code == 0, errors
        assert output.splitlines()[1] == "scene 1  enhanced: A pier. Pan., slowly"
        assert last_payload(product, "wan_queue")["prompt"] == "A pier. Pan., slowly"

    def test_the_enhancement_stands_in_the_json(self, product: Product, submit: Submit) -> None:
        code, output, _ = submit("sdxl_image_fast", "--prompt", "a pier", "--enhance", "--json")
        assert code == 0
        job = json.loads(output)
        assert job["status"] == "queued"
        assert job["enhancement"]["enhanced_prompt"] == "a pier, slowly"
        assert last_payload(product, "sdxl_queue")["prompt"] == "a pier, slowly"

    def test_an_unknown_type_is_named(self, product: Product, submit: Submit) -> None:
        code, _, errors = submit("flux", "--prompt", "x")
        assert code == 1
        assert "Invalid job type" in errors
        assert queued(product) == 0

    def test_references_and_frames_travel_as_the_contract_says(self, product: Product, submit: Submit) -> None:
        frames = ["--start-frame", "http://x/a.png", "--end-frame", "http://x/b.png", "--reference-strength", "0.5"]
        assert submit("video_fast", "--prompt", "a pier", *frames)[0] == 0
        metadata = last_payload(product, "wan_queue")["metadata"]
        assert (metadata["start_reference_url"], metadata["end_reference_url"]) == ("http://x/a.png", "http://x/b.png")
        assert metadata["reference_strength"] == 0.5
        several = ["--reference", "style=http://x/a?b=c", "--reference", "character=http://x/d"]
        assert submit("sdxl_image_fast", "--prompt", "a pier", *several)[0] == 0
        assert last_payload(product, "sdxl_queue")["metadata"]["references"] == [
            {"type": "style", "url": "http://x/a?b=c", "strength": 0.7},
            {"type": "character", "url": "http://x/d", "strength": 0.7},
        ]
        one = ["--reference", "http://x/a?style=b", "--reference-type", "composition", "--scheduler", "ddim"]
        assert submit("sdxl_image_fast", "--prompt", "a pier", *one)[0] == 0
        metadata = last_payload(product, "sdxl_queue")["metadata"]
        assert (metadata["reference_image_url"], metadata["reference_type"]) == ("http://x/a?style=b", "composition")
        assert metadata["scheduler"] == "ddim"

    def test_a_scene_that_the_product_refuses_is_told_and_the_others_are_queued(
        self, product: Product, submit: Submit, file: Path
    ) -> None:
        """Redis may refuse one queue; the jobs of the other are as good as before."""
        product.redis("SET", "wan_queue", "in the way")
        try:
            file.write_text(json.dumps([{"prompt": "A pier."}, {"title": "Late", "prompt": "A boat."}]))
            code, output, errors = submit(file, "--wait")
        finally:
            product.redis("DEL", "wan_queue")
        assert (code, output) == (1, "")
        told = errors.splitlines()
        assert len(told) == 2
        assert told[1].startswith("scene 2 (Late)  the job was not queued: ")
        assert "WRONGTYPE" in told[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["video_fast"], "--prompt is missing: say what a job of type video_fast shall show"),
        (["x.json", "--prompt", "a"], "--prompt describes one job; leave it out, for the scenes of x.json say what"),
        (["x.json", "--reference", "http://x/a"], "--reference describes one job"),
        (
            ["image7b_fast_enhanced", "--prompt", "a", "--enhance"],
            "--enhance would have a prompt rewritten twice; leave it out, for image7b_fast_enhanced rewrites its own",
        ),
        (["no/such.json"], "no/such.json cannot be read: No such file or directory"),
    ],
)
def test_wrong_use_is_a_sentence_and_2(submit: Submit, arguments: list[str], said: str) -> None:
    code, output, errors = submit(*arguments)
    assert (code, output) == (2, "")
    assert errors.startswith(said)
