"""An answer in pieces: whole sentences, each shown only after the policy has passed all up to it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.errors import AnswerCutOff, AnswerRefused, AnswerUnusable, ContentRefused
from ourvidz_worker.runtime.language.enhanced import Enhanced
from ourvidz_worker.runtime.language.service import PromptService
from tests.language.scripted import ScriptedModel, service_over
from tests.support.stories import story

VIDEO = "video7b_fast_enhanced"
LIMIT = 10.0
OPENING = (
    "A red fox with a thick winter coat trots along the edge of a frozen pond while low mist drifts over the ice "
    "towards a row of dark pine trees in the distance. "
)
NEXT = "Its breath hangs in the cold morning air, and frost glitters on the reeds. "
LAST = "The camera tracks slowly beside it."


async def shown(service: PromptService, catalogue: Catalogue, prompt: str = "a fox") -> tuple[list[str], Enhanced]:
    *pieces, whole = [piece async for piece in service.stream(prompt, catalogue[VIDEO], time_limit=LIMIT)]
    assert isinstance(whole, Enhanced)
    assert all(isinstance(piece, str) for piece in pieces)
    return [str(piece) for piece in pieces], whole


def in_words(text: str) -> list[str]:
    return [f"{word} " for word in text.split()]


@story
async def test_pieces_are_whole_sentences_and_make_up_the_prompt(catalogue: Catalogue) -> None:
    model = ScriptedModel(in_words("Here is the rewritten prompt: " + OPENING + NEXT + LAST))
    pieces, whole = await shown(service_over(model), catalogue)
    assert len(pieces) == 3
    assert all(piece.rstrip().endswith(".") for piece in pieces)
    assert "".join(pieces) == whole.enhanced == OPENING + NEXT + LAST


@story
async def test_a_sentence_that_was_cut_off_is_not_shown(catalogue: Catalogue) -> None:
    model = ScriptedModel([*in_words(OPENING + NEXT + "The camera"), AnswerCutOff()])
    pieces, whole = await shown(service_over(model), catalogue)
    assert "".join(pieces) == whole.enhanced == (OPENING + NEXT).strip()


@story
async def test_a_known_prompt_is_one_piece(catalogue: Catalogue) -> None:
    model = ScriptedModel(in_words(OPENING))
    service = service_over(model)
    await shown(service, catalogue)
    pieces, whole = await shown(service, catalogue)
    assert pieces == [OPENING.strip()]
    assert whole.cache_hit


@story
async def test_a_sentence_that_makes_the_text_refused_is_not_shown(catalogue: Catalogue) -> None:
    model = ScriptedModel(in_words(OPENING + NEXT + "Something forbidden comes. " + LAST))
    service = service_over(model)
    pieces = service.stream("a fox", catalogue[VIDEO], time_limit=LIMIT)
    assert await anext(pieces) == OPENING.strip()
    assert await anext(pieces) == f" {NEXT.strip()}"
    with pytest.raises(AnswerRefused):
        await anext(pieces)
    assert model.stopped == 1, "the model was not heard to the end"
    assert service.state == "READY"


@story
async def test_a_refused_prompt_shows_nothing(catalogue: Catalogue) -> None:
    model = ScriptedModel("never")
    with pytest.raises(ContentRefused):
        await shown(service_over(model), catalogue, "forbidden")
    assert model.asked == []


@story
async def test_an_unusable_answer_is_not_asked_for_again(catalogue: Catalogue) -> None:
    model = ScriptedModel("", "too late")
    with pytest.raises(AnswerUnusable):
        await shown(service_over(model), catalogue)
    assert len(model.asked) == 1


@story
async def test_whoever_stops_listening_frees_the_model(catalogue: Catalogue) -> None:
    model = ScriptedModel([OPENING + NEXT, LAST], gate=asyncio.Event())
    service = service_over(model)
    async with aclosing(service.stream("a fox", catalogue[VIDEO], time_limit=LIMIT)) as pieces:
        assert await anext(pieces) == (OPENING + NEXT).strip()
        states = [service.state]
    states.append(service.state)
    assert states == ["BUSY", "READY"]
    assert model.stopped == 1
