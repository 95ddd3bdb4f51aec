"""Who is drawn next, and who may still join: for any line of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

from hypothesis import given
from hypothesis import strategies as st

from ourvidz_worker.runtime.line import Line

MOST_IMAGES = 6


@dataclass(frozen=True, slots=True)
class Job:
    number: int
    num_images: int
    shape: str | None

    @property
    def job_type(self) -> str:
        return f"type of {self.shape}"


jobs = st.lists(st.tuples(st.sampled_from([1, 3, 6]), st.sampled_from(["a", "b", None])), max_size=12).map(
    lambda drawn: [Job(number, *one) for number, one in enumerate(drawn)]
)


def line_of(waiting: list[Job]) -> Line[Job]:
    line: Line[Job] = Line(MOST_IMAGES)
    for job in waiting:
        line.join(job)
    return line


@given(jobs)
def test_everybody_is_drawn_once_and_in_order_with_those_alike_in_one_batch(waiting: list[Job]) -> None:
    line = line_of(waiting)
    batches = []
    while len(line):
        batches.append(line.take())
    assert [job for batch in batches for job in batch] == waiting
    for batch, following in zip_longest(batches, batches[1:], fillvalue=list[Job]()):
        images = sum(job.num_images for job in batch)
        assert len(batch) == 1 or (images <= MOST_IMAGES and {job.shape for job in batch} in ({"a"}, {"b"}))
        alike = following and batch[0].shape is not None and following[0].shape == batch[0].shape
        assert not alike or images + following[0].num_images > MOST_IMAGES


@given(jobs)
def test_one_more_is_wanted_only_where_it_could_be_drawn_next(waiting: list[Job]) -> None:
    line = line_of(waiting)
    wanted = line.wanted
    batch = line_of(waiting).take() if waiting else []
    joins = bool(batch) and batch[0].shape is not None and batch == waiting
    assert wanted == (batch[0].job_type if joins and sum(job.num_images for job in batch) < MOST_IMAGES else None)
    line.close()
    assert line.wanted is None


def test_who_leaves_is_not_drawn() -> None:
    first, second = Job(0, 1, "a"), Job(1, 1, "b")
    line = line_of([first, second])
    line.leave(first)
    assert line.take() == [second]


def test_a_closed_line_opens_with_the_next_batch() -> None:
    line = line_of([Job(0, 1, "a")])
    line.close()
    line.take()
    line.join(Job(1, 1, "b"))
    assert line.wanted == "type of b"
