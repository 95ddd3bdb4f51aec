"""Decoding: the same as `json` wherever readers agree, and a flaw in the place of everything else."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ourvidz_worker.contract.strict_json import MAX_DEPTH, Flaw, decode, flaws
from tests.contract.samples import PROPERTY, json_values

TOO_DEEP = f"is nested more than {MAX_DEPTH} levels deep; a job needs a few"


@pytest.fixture(params=[MAX_DEPTH + 200, 1_000_000])
def recursion_limit(request: pytest.FixtureRequest) -> Iterator[None]:
    """Small and enormous: with the latter, a decoder that follows every bracket overflows the C stack."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(request.param)
    yield
    sys.setrecursionlimit(before)


def nested(depth: int, core: str = "1") -> str:
    """Objects and lists in turn, with brackets in the strings that mean nothing."""
    opening = "".join('{"]}\\"[":' if level % 2 else "[" for level in range(depth))
    closing = "".join("}" if level % 2 else "]" for level in reversed(range(depth)))
    return opening + core + closing


def found(text: str) -> list[tuple[str, str]]:
    return list(flaws(decode(text)))


@given(value=json_values)
@PROPERTY
def test_a_document_is_what_json_makes_of_it_but_for_the_flaws(value: Any) -> None:
    document = decode(json.dumps(value))
    flawed = [item for item in everything_in(value) if isinstance(item, float) and not math.isfinite(item)]
    assert len([item for item in everything_in(document) if isinstance(item, Flaw)]) == len(flawed)
    assert flawed or document == value


def everything_in(value: Any) -> Iterator[Any]:
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from everything_in(item)


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        ("NaN", "is NaN, which is no number in JSON"),
        ("Infinity", "is Infinity, which is no number in JSON"),
        ("-Infinity", "is -Infinity, which is no number in JSON"),
        ("1e999", "is a number larger than a double holds, got '1e999'"),
        ("-1.5E+400", "is a number larger than a double holds, got '-1.5E+400'"),
        ("1" + "0" * 309, "is a number larger than a double holds"),
        ("-" + "9" * 200_000, "is a number larger than a double holds"),
    ],
    ids=lambda text: text[:20],
)
def test_a_number_that_is_none(number: str, problem: str) -> None:
    [(path, message)] = found(f'{{"a":[0,{{"b":{number}}}]}}')
    assert path == "a[1].b"
    assert message.startswith(problem)
    assert len(message) < 130


@pytest.mark.parametrize("number", ["1e308", "-0.0", "1e-999", "9007199254740993", "9" * 308, "0." + "1" * 5_000])
def test_a_number_that_is_one(number: str) -> None:
    assert decode(number) == json.loads(number)


@pytest.mark.parametrize("text", ['{"a":1,"b":2,"a":1}', '{"a":1,"\\u0061":2,"a":{}}'])
def test_a_key_given_twice(text: str) -> None:
    assert found(text) == [("a", "is given twice; send it once")]


@pytest.mark.parametrize("text", ["\\u0000", "\\ud800", "\\udc00x", "\\ude00\\ud83d", "\udc80"])
def test_a_text_that_nothing_can_store(text: str) -> None:
    assert [path for path, _ in found(f'{{"a":["","x{text}y"]}}')] == ["a[1]"]
    [(path, problem)] = found(f'{{"a":{{"x{text}":1}}}}')
    assert path.isprintable()
    assert problem.startswith("has a name with a NUL character")


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert found('["\\ud83d\\ude00\U0001f600"]') == []


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("seed", "seed"),
        ("__proto__", "__proto__"),
        ("a.b", "'a.b'"),
        ("", "''"),
        ("a\nb\x1b[31m", "'a\\nb\\x1b[31m'"),
        ("\u202eab\u200b", "'\\u202eab\\u200b'"),
        ("k" * 90, f"'{'k' * 59}… (92 characters)"),
    ],
)
def test_a_producer_s_key_in_a_path_is_short_and_printable(key: str, shown: str) -> None:
    assert found(json.dumps({"config": {key: float("nan")}}))[0][0] == f"config.{shown}"


@pytest.mark.usefixtures("recursion_limit")
def test_the_deepest_level_is_read_and_the_next_one_is_not() -> None:
    assert decode(nested(MAX_DEPTH)) == json.loads(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, MAX_DEPTH + 2, 400, 20_000):
        [(_, problem)] = found(f"[{nested(depth - 1)}]")
        assert problem == TOO_DEEP


@pytest.mark.usefixtures("recursion_limit")
@pytest.mark.parametrize(
    "text", ["[" * 250_000, '{"a":' * 50_000, "[{" * 100_000, nested(1_000) + "]", nested(70, "x")]
)
def test_nesting_that_never_ends_is_refused_as_nesting(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{TOO_DEEP}$"):
        found(f'{{"a":{text}')


def test_what_stands_beside_a_deep_value_is_read() -> None:
    deep = nested(MAX_DEPTH + 5)
    document = decode(f'{{"id":"a","x":{deep},"y":[{deep},"z",{deep}]}}')
    assert (document["id"], document["y"][1]) == ("a", "z")
    assert [problem for _, problem in flaws(document)] == [TOO_DEEP] * 3


@given(
    st.lists(st.sampled_from(["[", "]", "{", "}", '"', "\\", ",", ":", "1", '"a":', "[" * 63, "]" * 63])).map("".join)
)
@PROPERTY
def test_brackets_and_quotes_in_any_order_are_a_document_or_a_value_error(text: str) -> None:
    try:
        document = decode(text)
    except ValueError as error:
        reason = str(error)
    else:
        assert list(flaws(document)) or document == json.loads(text)
        return
    assert reason.startswith(("is not JSON: ", TOO_DEEP))
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


def test_text_that_only_looks_deep_is_read() -> None:
    text = json.dumps(["[" * 500, '\\"[' * 500, {"{" * 90: "]"}])
    assert decode(text) == json.loads(text)


@pytest.mark.parametrize("text", ["", "{", "[1,]", '"\n"', "{'a':1}", "01", "\ufeff1", "1 2", "nan", '"\\x"'])
def test_what_is_not_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not JSON: [^\n]+$"):
        decode(text)
