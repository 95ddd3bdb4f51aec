"""The benchmark of the models runs from end to end at tiny size, and what it leaves out it names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from ourvidz_worker.errors import OutOfMemory
from tests.bench.arithmetic import sdxl_decode, wan_tflop
from tests.bench.contenders import Contender, Drawn
from tests.bench.gpu import main
from tests.bench.random_models import QWEN_7B, empty, wan_shape
from tests.bench.readme import block
from tests.bench.rounds import Budget, Expected, TooLate, compare, faster

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    assert main(["--size", "tiny", "--folder", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "gpu.json").read_text())
    return found


def test_every_case_is_measured(report: dict[str, Any]) -> None:
    assert not report["left out"]
    assert not report["failed"]
    assert {
        "sdxl_image_fast, 1 image",
        "sdxl_image_fast, 3 images",
        "video of 64 x 64 x 5 in 2 steps",
        "tiers: sdxl_image_fast",
        "one batch for 3 users",
        "Qwen 2.5 7B: an answer",
        "SDXL: a reference into latents",
        "MP4 of a clip",
    } <= report["cases"].keys()


def test_stages_and_their_rest_are_the_whole(report: dict[str, Any]) -> None:
    for case in report["cases"].values():
        for name, figures in case.get("contenders", {}).items():
            assert sum(figures["stages"].values()) == pytest.approx(figures["seconds"]["median"], rel=0.01)
            assert ("reload" in figures["stages"]) == (name == "replaced")
            assert figures["stages"]["denoise"] > 0
            assert figures["stages"]["decode"] > 0


def test_contenders_run_the_denoiser_as_often_as_they_must(report: dict[str, Any]) -> None:
    """WAN's transformer is run for each half of the guidance, and a tier that cuts the guidance saves one run."""
    clip = report["cases"]["video of 64 x 64 x 5 in 2 steps"]["contenders"]
    assert clip["exact"]["denoiser_calls"] == clip["plain"]["denoiser_calls"] == 2 * 2
    assert clip["balanced"]["denoiser_calls"] == 2 + 1
    pictures = report["cases"]["sdxl_image_fast, 3 images"]["contenders"]
    assert {name: figures["denoiser_calls"] for name, figures in pictures.items()} == dict.fromkeys(pictures, 2)


def test_ratios_are_those_of_the_medians(report: dict[str, Any]) -> None:
    case = report["cases"]["sdxl_image_fast, 1 image"]
    seconds = {name: figures["seconds"]["median"] for name, figures in case["contenders"].items()}
    assert case["exact is faster than"]["plain"] == pytest.approx(seconds["plain"] / seconds["exact"], rel=1e-3)


def test_the_page_shows_each_contender(folder: Path) -> None:
    shown = block("gpu", folder)
    assert "| tiers: sdxl_image_fast | turbo |" in shown
    assert "![gpu](reports/gpu.svg)" in shown


def test_a_later_run_measures_what_an_earlier_one_left_out(folder: Path, report: dict[str, Any]) -> None:
    kept = {name: case for name, case in report["cases"].items() if name != "PNG of a picture"}
    (folder / "gpu.json").write_text(json.dumps(report | {"cases": kept}))
    assert main(["--size", "tiny", "--continue", "--only", "files", "--folder", str(folder)]) == 0
    again = json.loads((folder / "gpu.json").read_text())["cases"]
    assert again.keys() == report["cases"].keys()
    assert {name: again[name] for name in kept} == kept


def test_figures_of_another_card_are_not_continued(tmp_path: Path) -> None:
    (tmp_path / "gpu.json").write_text(json.dumps({"card": "another card", "cases": {}}))
    with pytest.raises(SystemExit, match="is about another card"):
        main(["--size", "tiny", "--continue", "--folder", str(tmp_path)])


@pytest.mark.skipif(torch.cuda.is_available(), reason="it would begin")
def test_full_size_takes_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "CUDA device" in capsys.readouterr().err


def test_operations_of_the_real_sizes() -> None:
    """Known counts: 10.5 TFLOP for SDXL's decoding of 1024 x 1024."""
    assert sdxl_decode("full", 1024, 1024) == pytest.approx(10.47, abs=0.01)
    assert wan_tflop("tiny", 64, 64, 5).step > 0


def test_weights_of_the_real_sizes() -> None:
    from diffusers import WanTransformer3DModel
    from transformers import Qwen2ForCausalLM

    assert _billions(empty(Qwen2ForCausalLM, QWEN_7B)) == pytest.approx(7.616, abs=0.001)
    assert _billions(empty(WanTransformer3DModel, wan_shape("full", "transformer"))) == pytest.approx(1.419, abs=0.001)


def _billions(model: Any) -> float:
    return float(sum(weight.numel() for weight in model.parameters())) / 1e9


class Faked:
    """Contenders that take a set time on a clock that a test winds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def contender(self, name: str, *seconds: float, fails_at: int | None = None, engine: Any = None) -> Contender:
        left = list(seconds)

        @contextmanager
        def measured() -> Iterator[dict[str, float]]:
            begun, found = self.now, {"wall": 0.0}
            yield found
            found |= {"wall": self.now - begun, "denoise": self.now - begun}

        def draw(_request: Any) -> Drawn:
            self.order.append(name)
            if fails_at is not None and self.order.count(name) == fails_at:
                raise OutOfMemory("full")
            self.now += left.pop(0) if len(left) > 1 else left[0]
            return Drawn({})

        clock = SimpleNamespace(measured=measured, calls={"denoise": 1})
        return Contender(name, SimpleNamespace(components={}), draw, cast(Any, clock), engine=engine)

    def compare(self, *contenders: Contender, **changes: Any) -> dict[str, dict[str, Any]]:
        request: Any = SimpleNamespace(job=SimpleNamespace(num_inference_steps=1, num_images=1))
        budget = Budget(changes.pop("seconds", 1000.0), lambda: self.now)
        known: dict[str, Any] = {"rounds": 3, "most_warm_ups": 5, "expected": Expected(1.0, 1.0)}
        return compare(contenders, lambda _: request, device=CPU, budget=budget, **known | changes)


def test_warm_up_ends_when_nothing_gets_faster_and_does_not_count() -> None:
    faked = Faked()
    found = faked.compare(faked.contender("ours", 9.0, 5.0, 2.0, 2.0, engine=object()), faked.contender("plain", 3.0))
    assert faked.order[:5] == ["ours"] * 4 + ["plain"]
    assert found["ours"]["warm_up_seconds"] == [9.0, 5.0, 2.0, 2.0]
    assert found["ours"]["seconds"] == {"median": 2.0, "least": 2.0, "most": 2.0, "runs": 3}
    assert found["plain"]["warm_up_seconds"] == [3.0]


def test_contenders_take_turns() -> None:
    faked = Faked()
    found = faked.compare(faked.contender("a", 1.0), faked.contender("b", 2.0), most_warm_ups=0)
    assert faked.order == ["a", "b", "b", "a", "a", "b"]
    assert faster(found, "b", "a") == 2.0


def test_who_runs_out_of_memory_leaves_the_others_to_go_on() -> None:
    faked = Faked()
    found = faked.compare(faked.contender("a", 1.0), faked.contender("b", 1.0, fails_at=2), most_warm_ups=0)
    assert found["b"] == {"failed": "out of memory"}
    assert found["a"]["seconds"]["runs"] == 3
    assert faster(found, "b", "a") is None


def test_what_does_not_fit_is_not_begun() -> None:
    faked = Faked()
    with pytest.raises(TooLate, match="needs about 20 s, and 15 s were left for it"):
        faked.compare(faked.contender("a", 1.0), expected=Expected(10.0, 10.0), seconds=15.0)
    assert faked.order == []


def test_rounds_end_with_the_time() -> None:
    faked = Faked()
    found = faked.compare(faked.contender("a", 4.0), seconds=10.0, most_warm_ups=0)
    assert found["a"]["seconds"]["runs"] == 2
