"""What is on the card for whom, with declared sizes and a budget."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ourvidz_worker.control import Held
from ourvidz_worker.engines.residency.ranks import Rank
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.residency.workspace import Workspace
from ourvidz_worker.errors import OutOfMemory
from tests.residency.declared import GB, DeclaredCard, DeclaredWeights
from tests.support.waiting import wait_until

RANKS = {
    "unet": Rank.CORE,
    "vae": Rank.CORE,
    "umt5": Rank.TEXT_ENCODER,
    "qwen": Rank.LANGUAGE,
    "controlnet": Rank.ADAPTER,
    "ip_adapter": Rank.ADAPTER,
}


def work(gigabytes: float, name: str = "work") -> Workspace:
    return Workspace(name, (), int(gigabytes * GB))


def with_components(residency: Residency, **gigabytes: float) -> dict[str, DeclaredWeights]:
    weights = {name: DeclaredWeights(size) for name, size in gigabytes.items()}
    for name, each in weights.items():
        residency.add(name, each, rank=RANKS[name])
    return weights


def of(
    budget: float | None, *, patience: float = 0.0, **gigabytes: float
) -> tuple[Residency, dict[str, DeclaredWeights]]:
    """A residency with a clock that counts its looks."""
    residency = Residency(
        None if budget is None else int(budget * GB), patience_seconds=patience, clock=itertools.count().__next__
    )
    return residency, with_components(residency, **gigabytes)


def test_where_everything_fits_nothing_ever_moves() -> None:
    residency, weights = of(10, unet=5, vae=0.3, controlnet=2.5)
    for needs in (["unet"], ["vae"], ["unet", "controlnet"]):
        with residency.stage("denoise", needs=needs, workspace=work(2)):
            pass
    assert not any(each.moves for each in weights.values())


def test_without_a_budget_on_the_cpu_there_is_always_room() -> None:
    residency, weights = of(None, unet=5, qwen=15)
    residency.on(DeclaredCard(None))
    with residency.stage("denoise", needs=["unet"], workspace=work(1000)):
        assert residency.claimed_bytes == 1020 * GB
    assert not weights["qwen"].moves


def test_what_is_idle_makes_room_in_the_order_of_ranks() -> None:
    residency, _ = of(40, umt5=11, qwen=15, unet=5, controlnet=2.5, ip_adapter=1)
    stages = [(6, "umt5 qwen unet ip_adapter"), (10, "umt5 unet"), (25, "unet")]
    for workspace, left in stages:
        with residency.stage("denoise", needs=["unet"], workspace=work(workspace)):
            assert " ".join(residency.resident) == left


def test_within_a_rank_the_longest_unused_goes_first() -> None:
    residency, _ = of(10, unet=5, controlnet=2.5, ip_adapter=2)
    for needs in (["controlnet"], ["ip_adapter"], ["controlnet"]):
        with residency.stage("reference", needs=needs):
            pass
    with residency.stage("denoise", needs=["unet"], workspace=work(1)):
        assert residency.resident == ("unet", "controlnet")


def test_what_was_evicted_comes_back_when_it_is_needed() -> None:
    residency, weights = of(16, umt5=11, unet=3)
    with residency.stage("denoise", needs=["unet"], workspace=work(6)):
        assert not weights["umt5"].on_card
    with residency.stage("text", needs=["umt5"], workspace=work(0.5)):
        assert residency.resident == ("umt5", "unet"), "nothing more is evicted than is needed"
    assert weights["umt5"].moves == ["drop", "bring"]


def test_what_a_stage_uses_is_not_evicted_for_another() -> None:
    residency, weights = of(16, umt5=11, unet=3)
    with (
        residency.stage("text", needs=["umt5"]),
        pytest.raises(OutOfMemory) as caught,
        residency.stage("denoise", needs=["unet"], workspace=work(6)),
    ):
        pass
    assert str(caught.value) == (
        "the stage denoise needs 3.0 GB for unet and 6.0 GB to work in, and of 16.0 GB that may be held, "
        "what is in use leaves too little"
    )
    assert caught.value.retryable
    assert weights["umt5"].on_card


def test_a_workspace_is_held_until_its_stage_ends_however_it_ends() -> None:
    residency, _ = of(16, unet=3)
    with pytest.raises(KeyError), residency.stage("denoise", needs=["unet"], workspace=work(6)):
        raise KeyError
    assert residency.claimed_bytes == 3 * GB
    assert residency.give_back(["unet"]) == 0


def test_a_component_that_finds_no_room_is_not_counted_and_the_next_stage_works() -> None:
    """What is counted and what a card really has can differ."""
    residency, _ = of(16, unet=3)
    residency.add("umt5", weights := DeclaredWeights(11, failures=1), rank=Rank.TEXT_ENCODER)
    assert residency.evict_idle() == ["umt5"]
    with pytest.raises(MemoryError), residency.stage("text", needs=["unet", "umt5"]):
        pass
    assert residency.claimed_bytes == 3 * GB
    with residency.stage("text", needs=["umt5"]):
        assert weights.on_card


def test_a_stage_waits_for_one_of_another_thread_to_end() -> None:
    """A prompt is encoded while another job is drawn: its decoding waits a moment for that."""
    residency = Residency(16 * GB, patience_seconds=30.0)
    with_components(residency, umt5=11, unet=3)
    encoding, done, decoded = threading.Event(), threading.Event(), threading.Event()

    def encode() -> None:
        with residency.stage("text", needs=["umt5"]):
            encoding.set()
            done.wait(30.0)

    def decode() -> None:
        with residency.stage("decode", needs=["unet"], workspace=work(6)):
            decoded.set()

    threads = [threading.Thread(target=encode), threading.Thread(target=decode)]
    threads[0].start()
    encoding.wait(30.0)
    threads[1].start()
    wait_until(lambda: residency._changed._waiters, "the wait for the other stage")  # type: ignore[attr-defined]
    assert not decoded.is_set()
    done.set()
    for thread in threads:
        thread.join(30.0)
    assert decoded.is_set()
    assert residency.resident == ("unet",)


def test_idle_components_go_rank_by_rank_and_names_say_which() -> None:
    residency, _ = of(100, umt5=11, unet=5, vae=1, controlnet=2.5, ip_adapter=1)
    with residency.stage("denoise", needs=["unet", "ip_adapter"]):
        evicted = [residency.evict_idle() for _ in range(4)]
    assert evicted == [["controlnet"], ["umt5"], ["vae"], []]


def test_what_a_failed_stage_needs_is_left_for_its_next_attempt() -> None:
    residency, _ = of(100, unet=5, vae=1, controlnet=2.5, umt5=11)

    def attempt() -> list[list[str]]:
        with residency.stage("job", needs=["vae"]):
            with pytest.raises(MemoryError), residency.stage("denoise", needs=["unet", "controlnet"]):
                raise MemoryError
            return [residency.evict_idle(), residency.evict_idle()]

    assert attempt() == [["umt5"], []]
    with residency.stage("decode", needs=["vae"]):
        assert residency.evict_idle() == ["controlnet"]


def test_the_budget_is_measured_where_none_is_set() -> None:
    residency, weights = of(None, qwen=15, unet=5)
    residency.on(DeclaredCard(24))
    with residency.stage("denoise", needs=["unet"], workspace=work(2)):
        assert weights["qwen"].on_card
    with residency.stage("denoise", needs=["unet"], workspace=work(4, "more")):
        assert not weights["qwen"].on_card, "a CUDA context and fragments take their part of 24 GB"


def test_a_budget_that_was_set_counts_more_than_the_size_of_the_card() -> None:
    residency, weights = of(19, qwen=15, unet=5)
    residency.on(DeclaredCard(80))
    with residency.stage("denoise", needs=["unet"]):
        assert not weights["qwen"].on_card


def test_an_estimate_alone_refuses_nothing_and_a_measurement_does() -> None:
    residency, _ = of(None, unet=5)
    residency.on(card := DeclaredCard(12))
    card.taken_bytes = 8 * GB
    with residency.stage("denoise", needs=["unet"], workspace=work(20)):
        pass
    with (
        pytest.raises(OutOfMemory, match=r"8\.4 GB to work in"),
        residency.stage("denoise", needs=["unet"], workspace=work(20)),
    ):
        pass


def test_weights_that_are_larger_than_the_card_are_refused() -> None:
    residency, _ = of(None, unet=5, umt5=11)
    residency.on(DeclaredCard(12))
    with pytest.raises(OutOfMemory), residency.stage("all", needs=["unet", "umt5"], workspace=work(1)):
        pass


def test_what_a_stage_took_replaces_the_estimate_for_its_size_alone() -> None:
    residency, weights = of(24, qwen=15, unet=5)
    residency.on(card := DeclaredCard(24))
    card.taken_bytes = 2 * GB
    small, large = Workspace("denoise", (512,), 6 * GB), Workspace("denoise", (1024,), 6 * GB)
    for workspace, moves in ((small, ["drop"]), (small, ["drop"]), (large, ["drop"] * 2)):
        if not weights["qwen"].on_card:
            with residency.stage("answer", needs=["qwen"]):
                pass
        with residency.stage("denoise", needs=["unet"], workspace=workspace):
            pass
        assert [move for move in weights["qwen"].moves if move == "drop"] == moves


def test_what_was_taken_beside_another_stage_is_not_learnt() -> None:
    residency, _ = of(24, unet=5)
    residency.on(card := DeclaredCard(24))
    card.taken_bytes = 18 * GB
    with residency.stage("text", workspace=work(0.1, "text")), residency.stage("denoise", workspace=work(6)):
        pass
    with residency.stage("denoise", workspace=work(6)):
        assert residency.claimed_bytes == 11 * GB


class Neighbours:
    """Others who give as much as they are told to; `told` is what this process said of itself."""

    def __init__(self, answers: Sequence[int | None]) -> None:
        self.answers = list(answers)
        self.asked: list[int] = []
        self.evictable: list[str] = []
        self.told: list[tuple[dict[str, bool], int]] = []
        self.allow: Callable[[int], None] = lambda _: None

    def tell(self, held: Sequence[Held], claimed_bytes: int) -> None:
        self.told.append(({each.name: each.idle_since is None for each in held}, claimed_bytes))

    def ask(self, wanted_bytes: int, evictable: Sequence[Held] = (), *, waits: bool = True) -> Sequence[str] | None:
        self.asked.append(wanted_bytes // GB)
        self.evictable = [held.name for held in evictable]
        answer = self.answers.pop(0)
        if answer is None:
            return None
        self.allow(answer * GB)
        return ["qwen/qwen"]


def among(answers: Sequence[int | None], **gigabytes: float) -> tuple[Residency, Neighbours]:
    neighbours = Neighbours(answers)
    residency = Residency(44 * GB, neighbours=neighbours, patience_seconds=0.0)
    neighbours.allow = residency.allow
    with_components(residency, **gigabytes)
    return residency, neighbours


def test_others_are_asked_once_and_not_again_where_it_is_enough() -> None:
    residency, neighbours = among([11], unet=5, vae=1)
    for _ in range(3):
        with residency.stage("denoise", needs=["unet"], workspace=work(5)):
            pass
    assert neighbours.asked == [11]
    assert neighbours.told[-1] == ({"unet": False, "vae": False}, 6 * GB)
    assert neighbours.told[-2] == ({"unet": True, "vae": False}, 11 * GB)


def test_with_less_than_was_asked_for_this_process_evicts_its_own() -> None:
    residency, neighbours = among([21], unet=5, umt5=11, controlnet=3)
    with residency.stage("denoise", needs=["unet"], workspace=work(5)):
        assert residency.resident == ("unet", "umt5")
    assert (neighbours.asked, neighbours.evictable) == ([24], ["controlnet", "umt5"])


def test_nobody_asks_for_more_than_the_budget() -> None:
    residency, neighbours = among([44], unet=5, umt5=11)
    with residency.stage("denoise", needs=["unet"], workspace=work(35)):
        assert residency.resident == ("unet",)
    assert neighbours.asked == [44]


def test_without_an_answer_this_process_decides_alone() -> None:
    residency, neighbours = among([None], unet=5, umt5=11)
    with residency.stage("denoise", needs=["unet"], workspace=work(28)):
        assert residency.resident == ("unet", "umt5")
    assert neighbours.asked == [44]


def test_what_is_given_back_is_not_used_before_it_is_asked_for_again() -> None:
    residency, neighbours = among([20, 20], unet=5, umt5=11)
    with residency.stage("denoise", needs=["unet"], workspace=work(4)):
        assert residency.give_back(["umt5", "unet"]) == 9 * GB, "what is in use stays"
    assert residency.give_back([]) == 5 * GB
    with residency.stage("text", needs=["umt5"]):
        pass
    assert neighbours.asked == [20, 16]


def test_memory_is_really_given_back() -> None:
    residency, _ = among([], unet=5)
    residency.on(card := DeclaredCard(48))
    residency.give_back([])
    assert card.freed == 1


def test_others_are_asked_before_a_text_encoder_goes() -> None:
    residency, neighbours = among([44, 44], umt5=11, controlnet=3)
    assert [residency.evict_idle(), residency.evict_idle()] == [["controlnet"], ["qwen/qwen"]]
    neighbours.answers = [None]
    assert residency.evict_idle() == ["umt5"]


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(0, 8), min_size=6, max_size=6),
    budget=st.integers(8, 30),
    stages=st.lists(st.tuples(st.sets(st.sampled_from(sorted(RANKS)), max_size=3), st.integers(0, 12)), max_size=12),
)
def test_no_more_is_held_than_may_be_and_nothing_moves_without_need(
    sizes: list[int], budget: int, stages: list[tuple[set[str], int]]
) -> None:
    residency, weights = of(budget, **dict(zip(RANKS, sizes, strict=True)))
    for needs, workspace in stages:
        needed = sum(weights[need].bytes for need in needs) + workspace * GB
        before = {name: len(each.moves) for name, each in weights.items()}
        fitted = sum(each.bytes for each in weights.values() if each.on_card or each in map(weights.get, needs))
        try:
            with residency.stage("any", needs=sorted(needs), workspace=work(workspace)):
                assert residency.claimed_bytes <= budget * GB
                assert all(weights[need].on_card for need in needs)
                assert set(residency.resident) == {name for name, each in weights.items() if each.on_card}
            assert needed <= budget * GB
        except OutOfMemory:
            assert needed > budget * GB
        if fitted + workspace * GB <= budget * GB:
            dropped = [name for name, each in weights.items() if "drop" in each.moves[before[name] :]]
            assert not dropped
