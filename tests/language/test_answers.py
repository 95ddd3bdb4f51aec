"""What models say around a prompt is taken off; what is too long is cut where a sentence or phrase ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ourvidz_worker.errors import AnswerUnusable
from ourvidz_worker.runtime.language.answers import begun_answer, clean_answer, shortened, without_loose_end
from ourvidz_worker.runtime.language.enhanced import estimated_tokens

LONG = "A fox with a thick red coat stands at the edge of a frozen pond and looks into the mist. "


@pytest.mark.parametrize(
    "answer",
    [
        "A fox in the snow.",
        "  A fox\n in\tthe  snow. ",
        '"A fox in the snow."',
        "“A fox in the snow.”",
        "Enhanced prompt: A fox in the snow.",
        "**Enhanced Prompt:** A fox in the snow.",
        'Prompt: "A fox in the snow."',
        "Here is the rewritten prompt:\n\nA fox in the snow.",
        'Sure! Here\'s an improved version for the WAN video model: "A fox in the snow."',
        "A fox\u0000 in the \ufffdsnow.",
        "<think>\nThe user wants a fox. Here is the prompt: no.\n</think>\n\nA fox in the snow.",
        "The user wants a fox.\n</think>\nA fox in the snow.",
        "```\nA fox in the snow.\n```",
        "Here is the prompt:\n```text\nA fox in the snow.\n```\nThis version adds the weather.",
        "A fox in the snow.\n\n**Negative prompt:** blurry, text.\nMore of it.",
        "提示词\uff1aA fox in the snow.",
        "**English:** A fox\n\n中文\uff1ain the snow.",
        "Prompt (English): A fox\nPrompt (Chinese): in the snow.",
    ],
)
def test_an_answer_is_reduced_to_the_prompt(answer: str) -> None:
    assert clean_answer(answer) == "A fox in the snow."


@pytest.mark.parametrize(
    "prompt",
    [
        "Here is a lighthouse: white, tall, at dawn",
        'A sign that says "open"',
        "A prompt clerk: tidy desk, morning light",
        "An English: German dictionary, its negative prompt: none",
        "A card that says I'm sorry",
        "I am legend, film poster",
    ],
)
def test_a_prompt_with_colons_or_quotation_marks_keeps_them(prompt: str) -> None:
    assert clean_answer(prompt) == prompt


@pytest.mark.parametrize("answer", ["", "  \n", '""', "Enhanced prompt:", "\u0000\ufffd", "<think>I wonder"])
def test_an_empty_answer_is_a_failure(answer: str) -> None:
    with pytest.raises(AnswerUnusable, match="nothing"):
        clean_answer(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't assist with that.",
        '"I am very sorry, I have to refuse."',
        "Sorry, but I cannot help with this request.",
        "Unfortunately, I am unable to write this.",
        "I can\u2019t help with that.",
        "As an AI developed by Alibaba Cloud, I do not write such texts.",
        "很抱歉\uff0c我无法满足这个要求。",
        "我不能写这样的内容。",
    ],
)
def test_a_model_that_declines_gives_no_prompt(answer: str) -> None:
    with pytest.raises(AnswerUnusable, match="declined"):
        clean_answer(answer)
    assert begun_answer(answer + LONG * 2) == ""


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("A fox in the snow, mist. Its brea", "A fox in the snow, mist."),
        ("a fox by a pond, mist, morning li", "a fox by a pond, mist"),
        ("A fox. It looks into the mist that drifts", "A fox. It looks into the mist that drifts"),
        ("A fox in the snow.", "A fox in the snow."),
    ],
)
def test_what_was_cut_off_ends_where_most_of_it_is_whole(answer: str, expected: str) -> None:
    assert without_loose_end(answer) == expected


@pytest.mark.parametrize(
    ("prompt", "limit", "expected"),
    [
        ("A fox. A pond.", 14, "A fox. A pond."),
        ("A fox by a pond. A heron behind it.", 20, "A fox by a pond."),
        ("a fox by a pond, mist, morning light, film grain", 40, "a fox by a pond, mist, morning light"),
        ("狐狸站在池塘边。苍鹭在后面飞过树林。", 12, "狐狸站在池塘边。"),
        ("雾中的狐狸\uff0c池塘\uff0c晨光\uff0c胶片颗粒", 9, "雾中的狐狸\uff0c池塘"),
    ],
)
def test_a_long_prompt_ends_with_a_sentence_or_phrase(prompt: str, limit: int, expected: str) -> None:
    assert shortened(prompt, limit) == expected


@pytest.mark.parametrize("prompt", ["x" * 101, "A fox. " + "x" * 100])
def test_a_long_prompt_without_a_place_to_cut_is_a_failure(prompt: str) -> None:
    assert shortened("x" * 100, 100) == "x" * 100
    with pytest.raises(AnswerUnusable, match=f"has {len(prompt)} characters where at most 100"):
        shortened(prompt, 100)


@given(st.text(alphabet="ab.,;。\uff0c! ", max_size=60), st.integers(1, 40))
def test_what_is_left_is_a_beginning_of_the_prompt_within_the_limit(prompt: str, limit: int) -> None:
    try:
        left = shortened(prompt, limit)
    except AnswerUnusable:
        assert len(prompt) > limit
    else:
        assert prompt.startswith(left)
        assert len(left) <= limit


def test_an_answer_in_the_making_is_its_whole_sentences() -> None:
    answer = f"Here is the rewritten prompt:\n\n{LONG * 2}And then the"
    assert begun_answer(answer) == (LONG * 2).strip()
    assert clean_answer(answer).startswith(begun_answer(answer))


def test_nothing_is_shown_while_an_introduction_may_still_come() -> None:
    assert begun_answer("Sure! Here is") == ""
    assert begun_answer(f'"{LONG}') == ""
    assert begun_answer(f'"{LONG * 2}') == (LONG * 2).strip()


@given(st.lists(st.sampled_from([LONG, "Mist. ", "<think>", "</think>", '"', "Prompt: ", "雾。"]), max_size=8))
def test_what_was_begun_only_grows_once_it_is_shown(parts: list[str]) -> None:
    """Thoughts may swallow what stood before them; else each beginning continues the last."""
    answer = "".join(part for part in parts if "think" not in part)
    shown = ""
    for end in range(len(answer) + 1):
        begun = begun_answer(answer[:end])
        assert begun.startswith(shown)
        shown = begun


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("fox", 1), ("a" * 42, 10), ("狐狸", 2), ("狐狸 fox", 3)])
def test_tokens_are_estimated_for_both_scripts(text: str, tokens: int) -> None:
    assert estimated_tokens(text) == tokens
