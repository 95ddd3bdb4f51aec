"""Who may hold how much of one card, as pure rules."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ourvidz_worker.control import Held, Instruction, Message
from ourvidz_worker.supervisor.arbitration import Arbitration, Sends

ADAPTER, LANGUAGE, TEXT_ENCODER, CORE = range(4)
PATIENCE = 10.0


def card(claimed: int, *held: Held) -> Message:
    return Message("card", bytes=claimed, held=held)


def room(wanted: int, number: int = 1, *evictable: Held, waits: bool = True) -> Message:
    return Message("room", request=number, bytes=wanted, held=evictable, seconds=None if waits else 0.0)


def yielded(instruction: Instruction, allowed: int) -> Message:
    return Message("yielded", request=instruction.request, bytes=allowed)


def of(budget: int | None, *names: str) -> Arbitration:
    arbitration = Arbitration(budget, patience_seconds=PATIENCE)
    for name in names:
        arbitration.joined(name)
    return arbitration


def granted(sends: Sends) -> list[tuple[str, int]]:
    return [(name, instruction.bytes) for name, instruction in sends if instruction.kind == "granted"]


def asked(sends: Sends) -> dict[str, tuple[str, ...]]:
    return {name: instruction.components for name, instruction in sends if instruction.kind == "yield"}


def test_room_that_nobody_has_is_granted_at_once() -> None:
    arbitration = of(44, "sdxl", "wan")
    assert arbitration.heed("sdxl", room(20), 0.0) == [("sdxl", Instruction("granted", 1, 20))]
    assert granted(arbitration.heed("wan", room(24), 0.0)) == [("wan", 24)]
    assert arbitration.deadline is None


def test_without_a_budget_everything_is_granted() -> None:
    assert granted(of(None, "sdxl").heed("sdxl", room(10**15), 0.0)) == [("sdxl", 10**15)]


def test_what_others_are_allowed_and_do_not_use_comes_first() -> None:
    arbitration = of(44, "sdxl", "wan")
    arbitration.heed("sdxl", room(30), 0.0)
    arbitration.heed("sdxl", card(7, Held("unet", 7, CORE, 1.0)), 0.0)
    sends = arbitration.heed("wan", room(30), 0.0)
    assert asked(sends) == {"sdxl": ()}
    assert granted(arbitration.heed("sdxl", yielded(sends[0][1], 7), 0.0)) == [("wan", 30)]


@pytest.mark.parametrize(
    ("wanted", "components"),
    [
        (12, {"sdxl": ("old",)}),
        (14, {"sdxl": ("old", "new")}),
        (15, {"sdxl": ("old", "new"), "qwen": ("qwen",)}),
        (25, {"sdxl": ("old", "new"), "qwen": ("qwen",)}),
    ],
)
def test_what_is_idle_goes_by_rank_and_then_by_age_wherever_it_is(
    wanted: int, components: dict[str, tuple[str, ...]]
) -> None:
    """In a full card; with 25 the asker has to evict its own text encoder, too, and knows that itself."""
    arbitration = of(30, "qwen", "sdxl", "wan")
    adapters = Held("new", 2, ADAPTER, 9.0), Held("old", 1, ADAPTER, 5.0)
    arbitration.heed("qwen", card(10, Held("qwen", 10, LANGUAGE, 1.0)), 0.0)
    arbitration.heed("sdxl", card(9, *adapters, Held("unet", 6, CORE, None)), 0.0)
    text_encoder = Held("umt5", 8, TEXT_ENCODER, 0.0)
    arbitration.heed("wan", card(11, text_encoder, Held("dit", 3, CORE, 0.0)), 0.0)
    assert asked(arbitration.heed("wan", room(wanted, 1, text_encoder), 0.0)) == components


def test_a_grant_names_what_was_evicted_for_it_and_not_what_was_refused() -> None:
    arbitration = of(20, "qwen", "wan")
    arbitration.heed("qwen", card(16, Held("qwen", 14, LANGUAGE, 1.0), Held("other", 2, LANGUAGE, 1.0)), 0.0)
    sends = arbitration.heed("wan", room(19), 0.0)
    assert asked(sends) == {"qwen": ("qwen", "other")}
    arbitration.heed("qwen", card(2, Held("other", 2, LANGUAGE, None)), 1.0)
    assert arbitration.heed("qwen", yielded(sends[0][1], 2), 1.0) == []
    assert arbitration.look(PATIENCE) == [("wan", Instruction("granted", 1, 18, ("qwen/qwen",)))]


def test_the_asker_is_left_to_evict_its_own() -> None:
    """But not what it needs itself, though that is idle until it has its room."""
    arbitration = of(20, "sdxl", "wan")
    controlnet, unet = Held("controlnet", 8, ADAPTER, 0.0), Held("unet", 6, CORE, 0.0)
    arbitration.heed("sdxl", card(14, controlnet, unet), 0.0)
    arbitration.heed("wan", card(4, Held("dit", 4, CORE, None)), 0.0)
    assert granted(arbitration.heed("sdxl", room(22, 1, controlnet), 0.0)) == [("sdxl", 16)]
    assert arbitration.heed("sdxl", room(25, 2, controlnet), 0.0) == []


def test_a_request_waits_until_a_stage_elsewhere_ends() -> None:
    arbitration = of(20, "sdxl", "wan")
    arbitration.heed("sdxl", room(15), 0.0)
    arbitration.heed("sdxl", card(15, Held("unet", 7, CORE, None)), 0.0)
    assert arbitration.heed("wan", room(10), 1.0) == []
    sends = arbitration.heed("sdxl", card(7, Held("unet", 7, CORE, 2.0)), 2.0)
    assert asked(sends) == {"sdxl": ()}
    assert granted(arbitration.heed("sdxl", yielded(sends[0][1], 7), 2.0)) == [("wan", 10)]


def test_after_its_patience_a_request_gets_what_there_is() -> None:
    arbitration = of(20, "sdxl", "wan")
    arbitration.heed("sdxl", card(15, Held("unet", 15, CORE, None)), 0.0)
    assert arbitration.heed("wan", room(10), 1.0) == []
    assert arbitration.deadline == 1.0 + PATIENCE
    assert arbitration.look(10.9) == []
    assert granted(arbitration.look(11.0)) == [("wan", 5)]


def test_one_that_does_not_wait_takes_what_is_idle_and_leaves_stages_alone() -> None:
    arbitration = of(20, "sdxl", "wan")
    arbitration.heed("sdxl", card(15, Held("unet", 7, CORE, None), Held("controlnet", 3, ADAPTER, 0.0)), 0.0)
    sends = arbitration.heed("wan", room(20, waits=False), 1.0)
    assert asked(sends) == {"sdxl": ("controlnet",)}
    arbitration.heed("sdxl", card(12, Held("unet", 7, CORE, None)), 1.0)
    assert granted(arbitration.heed("sdxl", yielded(sends[0][1], 12), 1.0)) == [("wan", 8)]


def test_a_silent_process_is_waited_for_once() -> None:
    arbitration = of(20, "qwen", "wan")
    arbitration.heed("qwen", card(15, Held("qwen", 15, LANGUAGE, 0.0)), 0.0)
    assert asked(arbitration.heed("wan", room(10), 0.0)) == {"qwen": ("qwen",)}
    assert granted(arbitration.look(PATIENCE)) == [("wan", 5)]
    arbitration.heed("wan", room(10, 2), 20.0)
    assert granted(arbitration.look(20.0 + PATIENCE)) == [("wan", 5)], (
        "nobody was asked, and its memory is not given away"
    )
    arbitration.heed("wan", room(10, 3), 40.0)
    assert asked(arbitration.heed("qwen", Message("poll", waiting=0), 41.0)) == {"qwen": ("qwen",)}


def test_a_late_answer_does_not_take_back_what_was_granted_meanwhile() -> None:
    arbitration = of(20, "qwen", "wan")
    arbitration.heed("qwen", card(15, Held("qwen", 15, LANGUAGE, 0.0)), 0.0)
    late = arbitration.heed("wan", room(10), 0.0)[0][1]
    arbitration.look(PATIENCE)
    assert granted(arbitration.heed("qwen", room(15), 11.0)) == [("qwen", 15)]
    arbitration.heed("qwen", yielded(late, 0), 12.0)
    assert arbitration.used["qwen"] == 15


def test_what_a_dead_process_held_is_free() -> None:
    arbitration = of(20, "qwen", "wan")
    arbitration.heed("qwen", card(15, Held("qwen", 15, LANGUAGE, 0.0)), 0.0)
    arbitration.heed("wan", room(10), 0.0)
    assert granted(arbitration.left("qwen", 1.0)) == [("wan", 10)]
    assert arbitration.heed("qwen", room(5), 1.0) == []


def test_what_a_dead_process_asked_for_holds_nobody_up() -> None:
    arbitration = of(20, "qwen", "sdxl", "wan")
    arbitration.heed("qwen", card(15, Held("qwen", 15, LANGUAGE, None)), 0.0)
    arbitration.heed("wan", room(10), 0.0)
    assert arbitration.heed("sdxl", room(5), 0.0) == []
    assert granted(arbitration.left("wan", 1.0)) == [("sdxl", 5)]


def test_a_new_life_holds_nothing() -> None:
    arbitration = of(20, "sdxl")
    arbitration.heed("sdxl", room(20), 0.0)
    arbitration.joined("sdxl")
    assert arbitration.used == {"sdxl": 0}


NAMES = ("sdxl", "wan", "qwen")
BUDGET = 40


@dataclass
class Worker:
    """One that keeps to the rules: it holds no more than it is allowed, and answers when it comes to it."""

    sizes: dict[str, int]
    idle_since: dict[str, float | None] = field(default_factory=dict)
    allowed: int = 0
    workspace: int = 0
    unread: list[Instruction] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    @property
    def claimed(self) -> int:
        return self.workspace + sum(self.sizes[name] for name in self.idle_since)

    def card(self) -> Message:
        held = [Held(name, self.sizes[name], CORE, since) for name, since in self.idle_since.items()]
        return card(self.claimed, *held)

    def read(self) -> list[Message]:
        instruction = self.unread.pop(0)
        if instruction.kind == "granted":
            self.allowed = instruction.bytes
            self.answers.append(instruction.request)
            return []
        for name in instruction.components:
            if self.idle_since.get(name) is not None:
                del self.idle_since[name]
        self.allowed = self.claimed
        return [self.card(), yielded(instruction, self.allowed)]

    def begin(self, name: str, workspace: int) -> None:
        """A stage, if it fits, after evicting what is idle."""
        for other in [other for other, since in self.idle_since.items() if since is not None and other != name]:
            if self.claimed + workspace + self.sizes[name] > self.allowed:
                del self.idle_since[other]
        if self.claimed + workspace + self.sizes[name] * (name not in self.idle_since) <= self.allowed:
            self.idle_since[name], self.workspace = None, workspace

    def end(self, now: float) -> None:
        self.idle_since, self.workspace = dict.fromkeys(self.idle_since, now), 0


class Pod:
    """Three workers, their arbitration, and the requests that are not answered yet, in order."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.now = 0.0
        self.requests = 0
        self.open: list[tuple[str, int, float]] = []
        self.arbitration = of(BUDGET, *NAMES)
        self.workers = {
            name: Worker({f"{name}-{number}": data.draw(st.integers(0, 15)) for number in range(2)}) for name in NAMES
        }

    def ask(self, name: str) -> None:
        self.requests += 1
        self.open.append((name, self.requests, self.now + PATIENCE))
        wanted, waits = self.data.draw(st.integers(0, BUDGET)), self.data.draw(st.booleans())
        self.tell(name, room(wanted, self.requests, waits=waits))

    def read(self, name: str) -> None:
        worker = self.workers[name]
        for message in worker.read() if worker.unread else []:
            self.tell(name, message)

    def begin(self, name: str) -> None:
        worker = self.workers[name]
        if not worker.workspace:
            worker.begin(self.data.draw(st.sampled_from(sorted(worker.sizes))), self.data.draw(st.integers(1, 10)))
            self.tell(name, worker.card())

    def end(self, name: str) -> None:
        self.workers[name].end(self.now)
        self.tell(name, self.workers[name].card())

    def pass_time(self, _name: str) -> None:
        self.now += self.data.draw(st.floats(0.0, 12.0))
        self.pass_on(self.arbitration.look(self.now))

    def die(self, name: str) -> None:
        self.open = [request for request in self.open if request[0] != name]
        self.workers[name] = Worker(self.workers[name].sizes)
        self.pass_on(self.arbitration.left(name, self.now))
        self.arbitration.joined(name)

    def tell(self, name: str, message: Message) -> None:
        self.pass_on(self.arbitration.heed(name, message, self.now))

    def pass_on(self, sends: Sends) -> None:
        for name, instruction in sends:
            self.workers[name].unread.append(instruction)
            if instruction.kind == "granted":
                assert self.open.pop(0)[:2] == (name, instruction.request), "first come, first served"

    def check(self) -> None:
        assert sum(worker.claimed for worker in self.workers.values()) <= BUDGET
        assert sum(self.arbitration.used.values()) <= BUDGET
        assert all(deadline > self.now for _, _, deadline in self.open), "nobody waits longer than the patience"
        assert (self.arbitration.deadline is None) == (not self.open)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_whatever_happens_the_card_is_not_overdrawn_and_every_request_is_answered_in_order_and_in_time(
    data: st.DataObject,
) -> None:
    pod = Pod(data)
    what = st.sampled_from((pod.ask, pod.read, pod.read, pod.begin, pod.end, pod.pass_time, pod.die))
    for act, name in data.draw(st.lists(st.tuples(what, st.sampled_from(NAMES)), max_size=30)):
        act(name)
        pod.check()
