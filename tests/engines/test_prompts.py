"""Prompts of SDXL jobs: any length, with weights, and the same as diffusers alone where they are plain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTextModelWithProjection

from ourvidz_worker.engines.assembly import Engines
from ourvidz_worker.engines.quiet import numpy_conversions_quiet
from ourvidz_worker.engines.residency.residency import Residency
from ourvidz_worker.engines.sdxl import latents as sdxl_latents
from ourvidz_worker.engines.sdxl.components import register
from ourvidz_worker.engines.sdxl.engine import SdxlEngine
from ourvidz_worker.engines.sdxl.prompt_encoding import PromptEncoder
from ourvidz_worker.engines.sdxl.prompt_weights import HEAVIEST, MOST_WEIGHTS, read_weights
from tests.engines.sdxl_studio import MakeRequest, drawn, ignore_steps, replaced_method

LONG = "a red lighthouse on a cliff, two gulls in the wind. " * 8  # with the tiny vocabulary a token per letter
CHUNK = 77


@pytest.fixture(scope="module")
def engine(tiny_sdxl: Engines) -> SdxlEngine:
    tiny_sdxl.engine.load()
    assert isinstance(tiny_sdxl.engine, SdxlEngine)
    return tiny_sdxl.engine


@pytest.fixture(scope="module")
def pipe(engine: SdxlEngine) -> StableDiffusionXLPipeline:
    return engine._ready().pipe


@pytest.fixture
def encoder(pipe: StableDiffusionXLPipeline) -> PromptEncoder:
    register(pipe, residency := Residency())
    return PromptEncoder(pipe, residency)


def fragments(prompt: str) -> list[tuple[str, float]]:
    """With blanks put straight."""
    read = read_weights(prompt).fragments
    return [(" ".join(fragment.text.split()), round(fragment.weight, 4)) for fragment in read]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a (red hat)1.3 on a cat", [("a", 1.0), ("red hat", 1.3), ("on a cat", 1.0)]),
        ("a hat++, please", [("a", 1.0), ("hat", 1.21), (", please", 1.0)]),
        ("a hat-- on a cat+", [("a", 1.0), ("hat", 0.81), ("on a", 1.0), ("cat", 1.1)]),
        ("(a hat)++ (a cat)-", [("a hat", 1.21), ("a cat", 0.9)]),
        ("(a (red)1.5 hat)0.5", [("a", 0.5), ("red", 0.75), ("hat", 0.5)]),
        ("(hat).5.", [("hat", 0.5), (".", 1.0)]),
        ("a (very old) hat with a (cat)1.3", [("a (very old) hat with a", 1.0), ("cat", 1.3)]),
        ("sad :( with a (cat)1.3", [("sad :( with a", 1.0), ("cat", 1.3)]),
        (r"a cat \(lying\) on a mat++", [("a cat (lying) on a", 1.0), ("mat", 1.21)]),
        ("(猫)1.2坐着", [("猫", 1.2), ("坐着", 1.0)]),
        ("(hat)1.0 on a cat", [("hat on a cat", 1.0)]),
    ],
)
def test_weights_are_read(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert fragments(prompt) == expected
    assert read_weights(prompt).note == "applied"


@pytest.mark.parametrize(
    "prompt",
    [
        "a lighthouse, dawn",
        "a (very old) lighthouse",
        'a sign that says "open 24 hours"',
        "well-known black-and-white photo -- grainy",
        "18+ 1990- f/1.8 3.5mm 5'10\" #1 50% & <b>",
        r"hatsune miku \(vocaloid\)",
        "a :( b ;) (",
        "a [cat] at the break of day",
        "  two   blanks\n",
        "",
        ")(",
    ],
)
def test_a_plain_prompt_is_left_as_it_is_letter_for_letter(prompt: str) -> None:
    read = read_weights(prompt)
    assert (read.text, read.is_plain, read.note) == (prompt, True, None)


@pytest.mark.parametrize(
    "prompt",
    [
        "a (hat:1.2) on a cat",
        "((masterpiece)), a cat",
        '("a cat", "a dog").and(1, 0.5)',
        '("a cat", "a dog").blend(1, -1)',
        "a cat.swap(dog)",
        "a cat withLora(hats, 0.5)",
        "<lora:hats:0.8> a cat",
        "a [cat:dog:0.5]",
        "[[a cat]]",
        "a cat BREAK a dog",
        "(cat)-1 (cat)1e9",
        '"a red hat"++',
        "(hat)1.2b",
    ],
)
def test_what_only_looks_like_weights_is_read_as_it_is_and_the_result_says_so(prompt: str) -> None:
    read = read_weights(prompt)
    assert (read.text, read.is_plain, read.note) == (prompt, True, "ignored")


def test_weights_beside_unread_ones_are_applied() -> None:
    assert fragments("(hat)1.2 (cat:1.3)") == [("hat", 1.2), ("(cat:1.3)", 1.0)]
    assert read_weights("(hat)1.2 (cat:1.3)").note == "partly applied"


@pytest.mark.parametrize("prompt", ["(hat)1000", "((((hat)9)9)9)9", "hat" + "+" * 5000, "(hat)" + "9" * 400])
def test_a_huge_weight_is_bounded(prompt: str) -> None:
    read = read_weights(prompt)
    assert [fragment.weight for fragment in read.fragments] == [HEAVIEST]
    assert read.note == "bounded"


def test_more_weights_than_make_sense_are_ignored() -> None:
    """Each light one costs another pass through the text encoders."""
    assert read_weights("(a)0.5 b " * MOST_WEIGHTS).note == "applied"
    read = read_weights("(a)0.5 b " * (MOST_WEIGHTS + 1))
    assert (read.note, read.is_plain) == ("ignored", True)
    assert "0.5" not in read.text


def test_brackets_do_not_join_two_halves_into_a_word() -> None:
    """The content policy reads the prompt as it was written."""
    for prompt in ("(light)1.0(house)1.0", "light(house)1.1", "light++(house)++"):
        assert "lighthouse" not in read_weights(prompt).text


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from("(()))a b+-1.2:\\\"',.猫\n")) | st.text())
def test_any_text_is_read_without_losing_a_word(prompt: str) -> None:
    read = read_weights(prompt)
    assert all(0 <= fragment.weight <= HEAVIEST for fragment in read.fragments)
    assert set("ab猫") & set(prompt) == set("ab猫") & set(read.text)
    if read.is_plain and read.note is None:
        assert read.text == prompt


@pytest.mark.parametrize(
    "prompt", ["(" * 5000 + "a" + ")" * 5000, "((a)1.1 " * 1200, "a+" * 5000, "a" + "+" * 9000 + "b"]
)
def test_hostile_prompts_are_read_in_no_time(prompt: str) -> None:
    """Compel's own parser would not come back from the first of these."""
    assert read_weights(prompt).fragments


@pytest.mark.parametrize("negative", ["blurry", ""])
@pytest.mark.parametrize("prompt", ["a lighthouse", "(a) :) lighthouse!!", ""])
def test_a_plain_prompt_gives_the_same_bytes_as_diffusers_alone(
    engine: SdxlEngine, pipe: StableDiffusionXLPipeline, make_request: MakeRequest, prompt: str, negative: str
) -> None:
    """An empty negative prompt included, which is all zeros for SDXL and not the embedding of nothing."""
    request = make_request("sdxl_image_fast", prompt=prompt, negative_prompt=negative, num_inference_steps=2)
    with numpy_conversions_quiet():
        alone = StableDiffusionXLPipeline(**pipe.components, add_watermarker=False)
        alone.set_progress_bar_config(disable=True)
        latents = alone(
            prompt=prompt,
            negative_prompt=negative or None,
            width=256,
            height=256,
            num_inference_steps=2,
            guidance_scale=request.job.guidance_scale,
            generator=torch.Generator().manual_seed(request.seed),
            output_type="latent",
        ).images
    assert np.array_equal(drawn(engine, request), sdxl_latents.decode(pipe.vae, latents))


def test_compel_reads_a_plain_prompt_as_diffusers_does(encoder: PromptEncoder, pipe: StableDiffusionXLPipeline) -> None:
    (expected, *_) = pipe.encode_prompt("a lighthouse", do_classifier_free_guidance=False)
    assert torch.equal(encoder._in_chunks(read_weights("a lighthouse")), expected)


def test_a_long_prompt_is_read_to_its_end(
    engine: SdxlEngine, encoder: PromptEncoder, make_request: MakeRequest
) -> None:
    one, other = (encoder.prompt_call(LONG + end, "", guided=True).call for end in ("a ship", "a tree"))
    assert one["prompt_embeds"].shape[1] > 5 * CHUNK
    assert not torch.equal(one["prompt_embeds"], other["prompt_embeds"])
    pictures = [
        drawn(engine, make_request("sdxl_image_fast", prompt=LONG + end, num_images=3)) for end in ("a ship", "a tree")
    ]
    assert not np.array_equal(*pictures)


def test_a_long_negative_prompt_is_read_to_its_end(engine: SdxlEngine, make_request: MakeRequest) -> None:
    pictures = [
        drawn(engine, make_request("sdxl_image_fast", negative_prompt=LONG + end)) for end in ("a ship", "a tree")
    ]
    assert not np.array_equal(*pictures)


@pytest.mark.parametrize(("prompt", "negative"), [(LONG, "blurry"), (LONG, ""), ("a ship", LONG), (LONG, LONG[:200])])
def test_both_prompts_are_padded_to_one_length(encoder: PromptEncoder, prompt: str, negative: str) -> None:
    call = encoder.prompt_call(prompt, negative, guided=True).call
    one, other = call["prompt_embeds"], call["negative_prompt_embeds"]
    assert one.shape == other.shape
    assert one.shape[1] % CHUNK == 0
    if negative == "blurry":
        nothing = encoder.prompt_call("", "", guided=False).call["prompt_embeds"]
        assert torch.equal(other[:, CHUNK : 2 * CHUNK], nothing)
    if not negative:
        assert not other.any()


def test_without_guidance_there_is_no_negative_prompt(encoder: PromptEncoder) -> None:
    assert set(encoder.prompt_call("a ship", "blurry", guided=False).call) == {"prompt_embeds", "pooled_prompt_embeds"}


@pytest.mark.parametrize("prompt", ["a (ship)1.5 at sea", "a (ship)0.4 at sea", LONG + "(a ship)1.8"])
def test_a_weight_changes_the_picture_and_a_heavier_one_more(encoder: PromptEncoder, prompt: str) -> None:
    def embeds(text: str) -> torch.Tensor:
        return encoder.prompt_call(text, "", guided=True).call["prompt_embeds"]

    weight = read_weights(prompt).fragments[-1 if prompt.startswith(LONG) else 1].weight
    halfway = prompt.replace(str(weight), str(round((1 + weight) / 2, 2)))
    plain = embeds(read_weights(prompt).text)
    near, far = ((embeds(text) - plain).norm() for text in (halfway, prompt))
    assert 0 < near < far


def test_weights_reach_the_picture_and_the_result_says_what_became_of_them(
    engine: SdxlEngine, make_request: MakeRequest
) -> None:
    def generation(prompt: str, negative: str = "") -> Any:
        return engine.generate(make_request("sdxl_image_fast", prompt=prompt, negative_prompt=negative), ignore_steps)

    plain, weighted = generation("a  ship  at sea"), generation("a (ship)1.6 at sea")
    assert not np.array_equal(plain.frames, weighted.frames)
    assert "prompt_weights" not in plain.details
    assert weighted.details == {"scheduler": "euler", "attention": "sdpa", "prompt_weights": "applied"}
    both = generation("a (ship:1.6)", "(blurry)9")
    assert both.details == {
        "scheduler": "euler",
        "attention": "sdpa",
        "prompt_weights": "ignored",
        "negative_prompt_weights": "bounded",
    }


def test_exclamation_marks_do_not_make_the_two_encoders_disagree(encoder: PromptEncoder) -> None:
    """The second tokenizer pads with `!`, so it counts them in another way."""
    for count in (70, 75, 80, 150, 160):
        call = encoder.prompt_call("a b " * 10 + "!" * count + " (c)0.5!", "", guided=True).call
        assert torch.isfinite(call["prompt_embeds"]).all()


@pytest.mark.parametrize(
    "prompt", ["(\u200b)0.5 a", "<|endoftext|> (a)0.5 <|startoftext|>", "(!)0.2 (\n)1.5", "(.)1.3"]
)
def test_fragments_without_a_word_are_no_trouble(encoder: PromptEncoder, prompt: str) -> None:
    assert torch.isfinite(encoder.prompt_call(prompt, prompt, guided=True).call["prompt_embeds"]).all()


def test_prompts_are_encoded_once_per_job_and_the_negative_prompt_once_for_all(
    engine: SdxlEngine, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[Any] = []
    replaced_method(monkeypatch, CLIPTextModelWithProjection, "forward", passes.append)

    def encoded(prompt: str, **changes: Any) -> int:
        before = len(passes)
        request = make_request(
            "sdxl_image_fast", prompt=prompt, negative_prompt="a negative of its own", num_inference_steps=1, **changes
        )
        drawn(engine, request)
        return len(passes) - before

    encoded("")
    assert encoded("first of its kind") == 1
    assert encoded("first of its kind", num_images=3) == 0
    assert encoded("second of its kind", num_images=6) == 1
