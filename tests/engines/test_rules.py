"""The small rules: the canvas and the embedding cache."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest

from ourvidz_worker.engines.canvas import Canvas
from ourvidz_worker.engines.embedding_cache import EmbeddingCache


def test_a_canvas_rounds_up_and_crops_back_evenly() -> None:
    canvas = Canvas.covering(480, 832, 64)
    assert (canvas.width, canvas.height) == (512, 832)
    frames = np.zeros((2, 832, 512, 3), dtype=np.uint8)
    frames[:, :, 16:496] = 255
    cropped = canvas.crop(frames)
    assert cropped.shape == (2, 832, 480, 3)
    assert cropped.min() == 255


@pytest.mark.parametrize(("width", "height", "grid"), [(480, 832, 16), (1024, 1024, 8), (1288, 776, 8)])
def test_the_product_s_models_draw_on_the_size_as_it_is(width: int, height: int, grid: int) -> None:
    canvas = Canvas.covering(width, height, grid)
    assert (canvas.width, canvas.height) == (width, height)


def test_a_text_is_encoded_once_while_it_is_in_use() -> None:
    encoded: list[str] = []
    cache = EmbeddingCache(lambda text: encoded.append(text) or text.upper(), capacity=2)  # type: ignore[func-returns-value]
    assert [cache.get(text) for text in ("negative", "a", "negative", "b", "negative", "a")][-1] == "A"
    assert encoded == ["negative", "a", "b", "a"], "the least recently used text made room, the negative never did"


def test_no_number_of_prompts_pushes_a_pinned_text_out() -> None:
    encoded: list[str] = []
    cache = EmbeddingCache(lambda text: encoded.append(text) or text.upper(), capacity=2, pinned=1)  # type: ignore[func-returns-value]
    for text in ("a", "negative", "b", "c", "d"):
        cache.get(text, pinned=text == "negative")
    encoded.clear()
    assert cache.get("negative", pinned=True) == cache.get("negative") == "NEGATIVE"
    assert cache.get("d", pinned=True) == "D"
    assert encoded == [], "what was encoded as a prompt is known as a negative prompt, too"
    cache.get("negative")
    assert encoded == ["negative"], "the pinned ones are bounded as well"


def test_what_is_kept_does_not_wait_for_what_is_being_encoded() -> None:
    encoding, go_on = Event(), Event()
    encoded: list[str] = []

    def encode(text: str) -> str:
        encoded.append(text)
        if text == "slow":
            encoding.set()
            assert go_on.wait(60)
        return text.upper()

    cache = EmbeddingCache(encode)
    cache.get("known")
    with ThreadPoolExecutor(2) as threads:
        ahead = threads.submit(cache.get, "slow")
        assert encoding.wait(60)
        assert cache.get("known") == "KNOWN"
        same = threads.submit(cache.get, "slow")
        go_on.set()
        assert ahead.result() == same.result() == "SLOW"
    assert encoded == ["known", "slow"], "whoever asks meanwhile has the same one"
