"""A prompt's way through the service: policy, cache, line, tries."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from ourvidz_worker.contract.catalogue import Catalogue
from ourvidz_worker.errors import (
    AnswerCutOff,
    AnswerRefused,
    AnswerTooLate,
    AnswerUnusable,
    ConfigurationError,
    ContentRefused,
    ModelUnavailable,
    TooManyWaiting,
)
from ourvidz_worker.ports import PromptEnhancer
from ourvidz_worker.runtime.language.service import PromptService, ServiceEnhancer
from tests.language.scripted import ScriptedModel, service_over
from tests.support.fakes import OneWordPolicy
from tests.support.stories import story
from tests.support.waiting import eventually

VIDEO = "video7b_fast_enhanced"
LIMIT = 10.0


@story
async def test_the_model_reads_the_template_and_the_prompt(catalogue: Catalogue) -> None:
    model = ScriptedModel("Prompt: A red fox trots through snow.")
    enhanced = await service_over(model).enhance("a fox", catalogue[VIDEO], seed=7, time_limit=LIMIT)
    [asked] = model.asked
    assert [message["role"] for message in asked.messages] == ["system", "user"]
    assert "WAN video model" in asked.messages[0]["content"]
    assert asked.messages[1]["content"] == "a fox"
    assert (asked.seed, asked.max_new_tokens) == (7, 64)
    assert 0 < asked.time_limit <= LIMIT
    assert enhanced.original == "a fox"
    assert enhanced.enhanced == "A red fox trots through snow."
    assert (enhanced.template, enhanced.language, enhanced.model, enhanced.seed) == ("wan_video", "en", "scripted", 7)
    assert (enhanced.attempts, enhanced.cache_hit, enhanced.compressed) == (1, False, False)


@story
async def test_a_prompt_that_the_policy_refuses_never_reaches_the_model(catalogue: Catalogue) -> None:
    model = ScriptedModel("never")
    with pytest.raises(ContentRefused):
        await service_over(model).enhance("a forbidden fox", catalogue[VIDEO], time_limit=LIMIT)
    assert model.asked == []


@story
async def test_a_refused_answer_is_asked_for_again_and_never_kept(catalogue: Catalogue) -> None:
    model = ScriptedModel("something forbidden", "a better fox", "another")
    service = service_over(model)
    enhanced = await service.enhance("a fox", catalogue[VIDEO], time_limit=LIMIT)
    assert (enhanced.enhanced, enhanced.attempts) == ("a better fox", 2)
    assert model.asked[1].seed == model.asked[0].seed + 1
    assert (await service.enhance("a fox", catalogue[VIDEO], time_limit=LIMIT)).enhanced == "a better fox"


@story
async def test_a_second_call_after_a_refused_answer_does_not_return_the_refused_one(catalogue: Catalogue) -> None:
    """As an enhanced job does it: each try is a call with a seed of its own."""
    service = service_over(ScriptedModel("something forbidden", "a better fox"))
    with pytest.raises(AnswerRefused):
        await service.enhance("a fox", catalogue[VIDEO], seed=1, time_limit=LIMIT)
    second = await service.enhance("a fox", catalogue[VIDEO], seed=2, time_limit=LIMIT)
    assert (second.enhanced, second.cache_hit) == ("a better fox", False)


@story
async def test_two_unusable_answers_fail_with_the_last_reason(catalogue: Catalogue) -> None:
    model = ScriptedModel('""', "x" * 5000, "too late")
    with pytest.raises(AnswerUnusable, match="5000 characters"):
        await service_over(model).enhance("a fox", catalogue[VIDEO], time_limit=LIMIT)
    assert len(model.asked) == 2


@story
async def test_a_long_answer_is_shortened_and_says_so(catalogue: Catalogue) -> None:
    sentence = "A red fox trots through deep snow beside a frozen river. "
    enhanced = await service_over(ScriptedModel(sentence * 60)).enhance("a fox", catalogue[VIDEO], time_limit=LIMIT)
    assert enhanced.compressed
    assert len(enhanced.enhanced) <= 1800
    assert enhanced.enhanced.endswith("river.")


@story
async def test_an_answer_that_was_cut_off_ends_with_its_last_whole_sentence(catalogue: Catalogue) -> None:
    said = "A red fox trots through deep snow beside a frozen river. Its breath"
    model = ScriptedModel([said, AnswerCutOff()])
    enhanced = await service_over(model).enhance("a fox", catalogue[VIDEO], time_limit=LIMIT)
    assert enhanced.enhanced == said.removesuffix(" Its breath")
    assert enhanced.compressed


@story
async def test_the_policy_asks_more_for_an_adult_capable_checkpoint(catalogue: Catalogue) -> None:
    told: list[bool] = []

    class Listening(OneWordPolicy):
        def check(self, prompt: str, *, adult_capable: bool) -> None:
            told.append(adult_capable)

    service = service_over(
        ScriptedModel("one", "two"), policy=Listening(), adult_capable=lambda job_type: job_type.model_family == "sdxl"
    )
    await service.enhance("a fox", catalogue["sdxl_image_fast"], time_limit=LIMIT)
    await service.enhance("a fox", catalogue[VIDEO], time_limit=LIMIT)
    assert told == [True, True, False, False], "before and after, each"


@story
async def test_the_same_question_is_answered_from_memory(catalogue: Catalogue) -> None:
    model = ScriptedModel("a red fox")
    service = service_over(model)
    first = await service.enhance("a fox", catalogue[VIDEO], seed=1, time_limit=LIMIT)
    for job_type in (VIDEO, "video_high"):
        again = await service.enhance("a fox", catalogue[job_type], seed=2, time_limit=LIMIT)
        assert (again.enhanced, again.seed, again.cache_hit, again.attempts) == (first.enhanced, 1, True, 0)
    assert len(model.asked) == 1


@story
async def test_another_prompt_template_or_language_is_another_question(catalogue: Catalogue) -> None:
    model = ScriptedModel(*(f"answer {number}" for number in range(4)))
    service = service_over(model)
    for prompt, name, language in (
        ("a fox", VIDEO, None),
        ("a fox ", VIDEO, None),
        ("a fox", "image_fast", None),
        ("a fox", VIDEO, "bilingual"),
    ):
        await service.enhance(prompt, catalogue[name], language=language, time_limit=LIMIT)
    assert len(model.asked) == 4


@story
async def test_an_edited_template_misses_what_the_old_one_made(
    catalogue: Catalogue, prompts: Mapping[str, str]
) -> None:
    edited = {**prompts, "wan_video": prompts["wan_video"].replace("short video ideas", "ideas")}
    versions = [
        (await service_over(ScriptedModel("x"), prompts=texts).enhance("a", catalogue[VIDEO], time_limit=LIMIT))
        for texts in (prompts, edited)
    ]
    assert versions[0].template_version != versions[1].template_version


@story
async def test_a_fresh_answer_replaces_the_one_that_was_kept(catalogue: Catalogue) -> None:
    service = service_over(ScriptedModel("a red fox", "a grey fox"))
    await service.enhance("a fox", catalogue[VIDEO], time_limit=LIMIT)
    assert (await service.enhance("a fox", catalogue[VIDEO], fresh=True, time_limit=LIMIT)).enhanced == "a grey fox"
    assert (await service.enhance("a fox", catalogue[VIDEO], time_limit=LIMIT)).enhanced == "a grey fox"


@story
async def test_the_memory_keeps_what_was_used_last(catalogue: Catalogue) -> None:
    model = ScriptedModel(*(f"answer {number}" for number in range(5)))
    service = service_over(model, cache_entries=2)
    for prompt in ("a", "b", "a", "c", "a", "b"):
        await service.enhance(prompt, catalogue[VIDEO], time_limit=LIMIT)
    asked = [asked.messages[1]["content"] for asked in model.asked]
    assert asked == ["a", "b", "c", "b"], "c made room by the oldest, and a was used all the time"


@story
async def test_two_requests_at_once_take_turns(catalogue: Catalogue) -> None:
    model = ScriptedModel("one", "two", "three", gate=asyncio.Event())
    service = service_over(model)
    asking = [
        asyncio.create_task(service.enhance(prompt, catalogue[VIDEO], time_limit=LIMIT)) for prompt in ("a", "b", "c")
    ]
    await eventually(lambda: service.waiting == 2, "two to wait")
    assert service.state == "BUSY"
    assert model.gate is not None
    model.gate.set()
    assert [answer.enhanced for answer in await asyncio.gather(*asking)] == ["one", "two", "three"]
    assert model.most_at_once == 1
    assert (service.state, service.waiting) == ("READY", 0)


@story
async def test_whoever_waited_for_the_same_question_gets_the_answer_of_the_first(catalogue: Catalogue) -> None:
    model = ScriptedModel("a red fox", gate=asyncio.Event())
    service = service_over(model)
    asking = [asyncio.create_task(service.enhance("a fox", catalogue[VIDEO], time_limit=LIMIT)) for _ in range(3)]
    await eventually(lambda: service.waiting == 2, "two to wait")
    assert model.gate is not None
    model.gate.set()
    assert [answer.cache_hit for answer in await asyncio.gather(*asking)] == [False, True, True]
    assert len(model.asked) == 1


@story
async def test_a_full_line_turns_away_at_once_but_not_what_is_known(catalogue: Catalogue) -> None:
    model = ScriptedModel("known", "one", "two", gate=asyncio.Event())
    service = service_over(model, queue_limit=1)
    assert model.gate is not None
    model.gate.set()
    await service.enhance("known", catalogue[VIDEO], time_limit=LIMIT)
    model.gate.clear()
    asking = [asyncio.create_task(service.enhance(prompt, catalogue[VIDEO], time_limit=LIMIT)) for prompt in "ab"]
    await eventually(lambda: service.waiting == 1, "one to wait")
    with pytest.raises(TooManyWaiting, match="its line is full"):
        await service.enhance("c", catalogue[VIDEO], time_limit=LIMIT)
    assert (await service.enhance("known", catalogue[VIDEO], time_limit=LIMIT)).cache_hit
    model.gate.set()
    await asyncio.gather(*asking)


@story
async def test_without_a_line_only_a_free_model_is_asked(catalogue: Catalogue) -> None:
    model = ScriptedModel("one", "two", gate=asyncio.Event())
    service = service_over(model, queue_limit=0)
    asking = asyncio.create_task(service.enhance("a", catalogue[VIDEO], time_limit=LIMIT))
    await eventually(lambda: service.state == "BUSY", "the first to be asked")
    with pytest.raises(TooManyWaiting):
        await service.enhance("b", catalogue[VIDEO], time_limit=LIMIT)
    assert model.gate is not None
    model.gate.set()
    await asking
    await service.enhance("b", catalogue[VIDEO], time_limit=LIMIT)


@story
async def test_waiting_counts_towards_the_limit(catalogue: Catalogue) -> None:
    model = ScriptedModel("one", gate=asyncio.Event())
    service = service_over(model)
    asking = asyncio.create_task(service.enhance("a", catalogue[VIDEO], time_limit=LIMIT))
    await eventually(lambda: service.state == "BUSY", "the first to be asked")
    with pytest.raises(AnswerTooLate, match=r"busy with others for 0\.05 s"):
        await service.enhance("b", catalogue[VIDEO], time_limit=0.05)
    assert service.waiting == 0
    assert model.gate is not None
    model.gate.set()
    await asking


@story
async def test_a_late_answer_names_the_limit_of_the_request(catalogue: Catalogue) -> None:
    """What was left of it when the model was asked says nothing to a person."""
    model = ScriptedModel(AnswerTooLate("scripted did not answer within 9.99971 s"), "too late")
    with pytest.raises(AnswerTooLate, match=r"^scripted did not answer within 10 s$"):
        await service_over(model).enhance("a fox", catalogue[VIDEO], time_limit=LIMIT)
    assert len(model.asked) == 1


@story
async def test_a_cancelled_request_stops_its_answer_and_leaves_the_line(catalogue: Catalogue) -> None:
    model = ScriptedModel(["one ", "and more"], "two", gate=asyncio.Event())
    service = service_over(model)
    first, second = (
        asyncio.create_task(service.enhance(prompt, catalogue[VIDEO], time_limit=LIMIT)) for prompt in ("a", "b")
    )
    await eventually(lambda: service.waiting == 1, "the second to wait")
    first.cancel()
    await eventually(lambda: len(model.asked) == 2, "the second to be asked")
    assert model.stopped == 1
    assert model.gate is not None
    model.gate.set()
    assert (await second).enhanced == "two"


@story
async def test_a_load_that_failed_is_tried_again(catalogue: Catalogue) -> None:
    model = ScriptedModel("a red fox")
    model.load_errors = [ConfigurationError("/models/qwen does not exist"), ModelUnavailable("the server is down")]
    service = service_over(model)
    for problem in ("does not exist", "is down"):
        with pytest.raises(ModelUnavailable, match=problem):
            await service.enhance("a fox", catalogue[VIDEO], time_limit=LIMIT)
        assert service.state == "LOADING"
    assert (await service.enhance("a fox", catalogue[VIDEO], time_limit=LIMIT)).enhanced == "a red fox"
    assert (service.state, model.loads) == ("READY", 3)


@story
async def test_loading_counts_towards_the_limit(catalogue: Catalogue) -> None:
    model = ScriptedModel("a red fox")
    service = service_over(model)
    loaded = asyncio.Event()

    async def slow() -> None:
        await loaded.wait()

    model.load = slow  # type: ignore[method-assign]
    with pytest.raises(AnswerTooLate, match=r"scripted was not loaded within 0\.05 s"):
        await service.enhance("a fox", catalogue[VIDEO], time_limit=0.05)
    loaded.set()
    assert (await service.enhance("a fox", catalogue[VIDEO], time_limit=LIMIT)).enhanced == "a red fox"


@story
async def test_no_word_of_a_prompt_is_logged(catalogue: Catalogue) -> None:
    service = service_over(ScriptedModel("a violet giraffe", "", AnswerUnusable("it broke off")))
    with capture_logs() as lines:
        await service.enhance("a magenta zebra", catalogue[VIDEO], time_limit=LIMIT)
        with pytest.raises(AnswerUnusable):
            await service.enhance("a magenta okapi", catalogue[VIDEO], time_limit=LIMIT)
    assert [line["event"] for line in lines] == ["prompt_rewritten"]
    assert not any(word in str(lines) for word in ("magenta", "zebra", "violet", "giraffe", "okapi"))


@story
async def test_an_enhanced_job_takes_the_same_way(catalogue: Catalogue) -> None:
    model = ScriptedModel("a red fox")
    enhancer: PromptEnhancer = ServiceEnhancer(service_over(model))
    assert await enhancer.enhance("a fox", catalogue[VIDEO], seed=7, time_limit=LIMIT) == "a red fox"
    assert model.asked[0].seed == 7


@story
async def test_closing_the_service_closes_the_model() -> None:
    model = ScriptedModel()
    service: PromptService = service_over(model)
    await service.close()
    assert model.closed
