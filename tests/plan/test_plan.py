"""`plan` as its user gives it: loads, cards and measured times in, pods and prices out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ourvidz_worker.cli.main import main
from ourvidz_worker.cli.plan.cards import parse_cards
from ourvidz_worker.cli.plan.seconds import expected_seconds
from ourvidz_worker.cli.plan.sizing import Goal, Part, Size, demand_of, size
from ourvidz_worker.contract.catalogue import parse_catalogue
from ourvidz_worker.errors import ConfigurationError
from ourvidz_worker.instruments import metrics
from tests.support.commands import ROOT

CATALOGUE = parse_catalogue((ROOT / "configs" / "job_types.toml").read_text())
LISTED = parse_cards((ROOT / "configs" / "cards.toml").read_text(), "cards.toml")
GOAL = Goal(longest_wait=60.0, utilisation=0.8)
MIXES = st.dictionaries(st.sampled_from(sorted(CATALOGUE)), st.floats(0.1, 500.0), min_size=1)


def parts_of(mix: dict[str, float]) -> list[Part]:
    return [Part(CATALOGUE[name], per_hour, expected_seconds(CATALOGUE[name], 1)) for name, per_hour in mix.items()]


@pytest.fixture(autouse=True)
def _no_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OURVIDZ_CONFIG_DIR", raising=False)


def plan(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    try:
        found = main(["plan", *arguments])
    except SystemExit as ended:
        found = int(str(ended.code))
    out, err = capsys.readouterr()
    assert found == code, out + err
    return out, err


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plan(capsys, *arguments, "--json")[0])
    return found


class TestSizes:
    @given(MIXES, st.sampled_from(sorted(LISTED.cards)))
    def test_the_cost_of_all_jobs_is_the_price_of_all_pods(self, mix: dict[str, float], card: str) -> None:
        found = size(parts_of(mix), LISTED.cards[card], LISTED, GOAL)
        assert isinstance(found, Size)
        paid = sum(part.per_hour * found.usd_per_job[part.job_type.name] for part in parts_of(mix))
        assert paid == pytest.approx(found.usd_per_hour)
        assert found.usd_per_hour == pytest.approx(found.pods * LISTED.cards[card].usd_per_hour)
        assert 0 < found.busy <= 0.8

    @given(MIXES, st.floats(1.0, 10.0))
    def test_more_load_never_needs_fewer_pods(self, mix: dict[str, float], factor: float) -> None:
        card = LISTED.cards["l40s"]
        few, many = (
            size(parts_of({name: per_hour * times for name, per_hour in mix.items()}), card, LISTED, GOAL)
            for times in (1.0, factor)
        )
        assert isinstance(few, Size)
        assert isinstance(many, Size)
        assert many.pods >= few.pods

    def test_the_times_of_both_families_add_up(self) -> None:
        """40 s of pictures and 1350 s of videos an hour, the mean and the spread between them."""
        demand = demand_of(parts_of({"sdxl_image_fast": 10.0, "video_fast": 10.0}))
        assert demand.load == pytest.approx((10 * 4 + 10 * 135) / 3600)
        assert demand.variation == pytest.approx(((135 - 4) / 2) ** 2 / ((135 + 4) / 2) ** 2)

    def test_a_card_without_the_memory_is_named_with_what_lacks(self) -> None:
        small = parse_cards(
            (ROOT / "configs" / "cards.toml").read_text().replace("memory_gb = 48", "memory_gb = 16"), ""
        )
        found = size(parts_of({"image7b_fast_enhanced": 1.0}), small.cards["l40s"], small, GOAL)
        assert getattr(found, "reason", "") == "language needs 17 GB, and it has 16"
        pictures = size(parts_of({"sdxl_image_fast": 1.0}), small.cards["l40s"], small, GOAL)
        assert isinstance(pictures, Size)
        assert not pictures.swaps
        both = size(parts_of({"sdxl_image_fast": 1.0, "video_fast": 1.0}), small.cards["l40s"], small, GOAL)
        assert isinstance(both, Size)
        assert both.swaps


class TestCommand:
    MIX = ("--mix", "sdxl_image_fast=70,video_fast=30")

    def test_it_answers_in_a_table_and_a_sentence(self, capsys: pytest.CaptureFixture[str]) -> None:
        out, _ = plan(capsys, "--jobs-per-hour", "200", *self.MIX)
        assert "200 jobs an hour need 4 pods with one RTX 6000 Ada each: 7.63 USD an hour" in " ".join(out.split())
        assert "H100 PCIe" in out
        assert "█" in out

    def test_a_program_reads_the_same(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = document(capsys, "--jobs-per-hour", "200", *self.MIX, "--card", "a40,l40s")
        assert [card["card"] for card in found["cards"]] == ["l40s", "a40"], "the cheapest first"
        assert found["jobs_per_hour"] == {"sdxl_image_fast": 140.0, "video_fast": 60.0}
        cheapest = found["cards"][0]
        assert cheapest["pods"] * 1.908 == pytest.approx(cheapest["usd_per_hour"])
        assert found["answer"].startswith("200 jobs an hour need 4 pods")

    def test_images_and_a_shorter_wait_cost_more(self, capsys: pytest.CaptureFixture[str]) -> None:
        load = ("--jobs-per-hour", "900", "--mix", "sdxl_image_high=1", "--card", "l40s")
        pods = [document(capsys, *load, *more)["cards"][0]["pods"] for more in ((), ("--images", "6"), ("--wait", "1"))]
        assert pods[1] > pods[0]
        assert pods[2] > pods[0]

    def test_measured_times_replace_the_catalogue_s(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        """What a worker really answers, under the names that the metrics have."""
        file = tmp_path / "metrics.txt"
        name = next(iter(metrics.GENERATION_SECONDS.collect())).name
        file.write_text(
            f'# TYPE {name} histogram\n{name}_bucket{{job_type="video_fast",le="+Inf"}} 4\n'
            f'{name}_sum{{job_type="video_fast"}} 200.0\n{name}_count{{job_type="video_fast"}} 4\n'
        )
        load = ("--jobs-per-hour", "30", *self.MIX, "--card", "a40")
        guessed, measured = document(capsys, *load), document(capsys, *load, "--measured", str(file))
        assert measured["cards"][0]["pods"] < guessed["cards"][0]["pods"]
        assert [note.partition(":")[0] for note in measured["notes"]] == ["sdxl_image_fast"]

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--jobs-per-hour", "many"), "argument --jobs-per-hour: it must be a number, got 'many'"),
            (("--jobs-per-hour", "0"), "must be more than 0"),
            (("--jobs-per-hour", "inf"), "must be a number"),
            (("--mix", "video_fast"), "the share of video_fast must be a number, got ''"),
            (("--mix", "video_fast=1,video_fast=2"), "video_fast is named twice"),
            (("--mix", "video_fast=-1"), "must be more than 0"),
            (("--mix", ","), "must name job types and shares"),
            (("--mix", "flux=1"), "there is no job type 'flux': use sdxl_image_fast"),
            (("--card", "rtx1"), "there is no card 'rtx1': use rtx6000ada"),
            (("--card", ","), "must name a card"),
            (("--utilisation", "1"), "must be between 0 and 1"),
            (("--measured", "x.txt"), "--measured needs one --card"),
        ],
    )
    def test_wrong_use_is_one_line(
        self, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
    ) -> None:
        defaults = ("--jobs-per-hour", "10", "--mix", "video_fast=1")
        _, err = plan(capsys, *defaults, *arguments, code=2)
        assert said in err
        assert len(err.splitlines()) == 1

    @pytest.mark.parametrize(
        ("text", "said"),
        [(None, "cannot be read: No such file"), ("", "has no ourvidz_generation_seconds"), ("a b c d", "is not what")],
    )
    def test_a_file_that_was_not_measured_is_told(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str | None, said: str
    ) -> None:
        file = tmp_path / "metrics.txt"
        if text is not None:
            file.write_text(text)
        load = ("--jobs-per-hour", "30", *self.MIX, "--card", "a40", "--measured", str(file))
        assert said in plan(capsys, *load, code=78)[1]

    def test_a_load_without_an_answer_fails(self, capsys: pytest.CaptureFixture[str]) -> None:
        out, _ = plan(capsys, "--jobs-per-hour", "1e12", *self.MIX, code=1)
        assert "more than 100000 pods" in out
        assert "no card of the list can do this" in out

    def test_an_operator_s_prices_count(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shipped = (ROOT / "configs" / "cards.toml").read_text()
        (tmp_path / "cards.toml").write_text(shipped.replace("usd_per_hour = 4.176", "usd_per_hour = 0.5"))
        monkeypatch.setenv("OURVIDZ_CONFIG_DIR", str(tmp_path))
        assert document(capsys, "--jobs-per-hour", "200", *self.MIX)["cards"][0]["card"] == "h100"


def test_everything_wrong_in_the_file_is_told_at_once() -> None:
    text = """
    reference = "b"
    needs_gb = { sdxl = 1, wan = 0 }
    cards.a = { name = 3, memory_gb = "48", fp16_tflops = true, usd_per_hour = -1, speed = nan }
    cards.c = 4
    """
    with pytest.raises(ConfigurationError) as caught:
        parse_cards(text, "cards.toml")
    assert [problem.removeprefix("cards.toml: ").split(" must")[0] for problem in caught.value.problems] == [
        "reference",
        "needs_gb.wan",
        "needs_gb.language",
        "cards.a.name",
        "cards.a.memory_gb",
        "cards.a.fp16_tflops",
        "cards.a.usd_per_hour",
        "cards.a.speed",
        "cards.c",
    ]
    for broken in ("", "cards = 1", "[cards"):
        with pytest.raises(ConfigurationError, match=r"cards\.toml"):
            parse_cards(broken, "cards.toml")
