"""The small rules: the canvas and the embedding cache."""

from __future__ import annotations

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
