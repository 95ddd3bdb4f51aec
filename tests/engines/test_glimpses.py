"""What latents look like without a VAE; each family's own glimpses are told of beside what it draws."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ourvidz_worker.engines.glimpses import SDXL, SIDE, WAN_21, Underway, _cosines
from ourvidz_worker.engines.media.pictures import PREVIEW_BYTES, preview
from ourvidz_worker.engines.testcard import NOT_YET, TestCardEngine
from ourvidz_worker.ports import GenerationRequest

MakeRequest = Callable[..., GenerationRequest]


class TestLatents:
    @pytest.fixture
    def request_(self, make_request: MakeRequest) -> GenerationRequest:
        return make_request("video_fast")

    def glimpse(self, request: GenerationRequest, latents: torch.Tensor, *, leading_frames: int = 0) -> Any:
        underway = Underway()
        with underway.denoising([request], leading_frames=leading_frames):
            assert underway.glimpse(request) is None  # before the first step
            underway.step_ended(latents)
            return underway.glimpse(request)

    @pytest.mark.parametrize(
        ("latents", "seen"),
        [
            ((1, 4, 128, 128), (96, 96)),
            ((1, 16, 21, 104, 60), (96, 55)),
            ((1, 3, 2, 300), (1, 96)),
            ((1, 4, 1, 1), (1, 1)),
        ],
    )
    def test_a_glimpse_is_small(
        self, request_: GenerationRequest, latents: tuple[int, ...], seen: tuple[int, int]
    ) -> None:
        pixels = self.glimpse(request_, torch.randn(latents))
        assert pixels.shape == (*seen, 3)
        assert max(seen) <= SIDE

    def test_of_a_clip_the_middle_is_seen(self, request_: GenerationRequest) -> None:
        clip = torch.zeros(1, 16, 6, 2, 2)
        clip[:, 2, 3] = 1.0  # the middle of the five frames behind a leading one
        dark, bright = self.glimpse(request_, clip), self.glimpse(request_, clip, leading_frames=1)
        assert np.array_equal(dark, self.glimpse(request_, clip[:, :, 5:])) is False
        assert np.array_equal(bright, self.glimpse(request_, clip[:, :, 3:4]))

    @pytest.mark.parametrize("matrix", [SDXL, WAN_21])
    def test_colours_are_those_of_the_matrix(self, request_: GenerationRequest, matrix: Any) -> None:
        grey = self.glimpse(request_, torch.zeros(1, len(matrix) - 1, 4, 4))
        assert np.abs(grey - (np.array(matrix[-1]) + 1) * 127.5).max() <= 1

    @pytest.mark.parametrize("loud", [1.0, 50.0])
    def test_noise_in_a_solvers_own_measure_looks_like_noise(self, request_: GenerationRequest, loud: float) -> None:
        noise = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(0))
        pixels = self.glimpse(request_, noise * loud)
        assert 0.0 < (pixels == 0).mean() + (pixels == 255).mean() < 0.2

    def test_values_that_are_no_numbers_are_seen_as_such_and_stop_nothing(self, request_: GenerationRequest) -> None:
        assert self.glimpse(request_, torch.full((1, 4, 8, 8), torch.nan)).max() == 0

    @pytest.mark.parametrize("channels", [3, 5, 8, 12])
    def test_unknown_latents_go_through_an_orthogonal_matrix(self, channels: int) -> None:
        matrix = np.array(_cosines(channels))[:-1]
        products = matrix.T @ matrix
        assert np.abs(products - np.diag(np.diag(products))).max() < 1e-9


class TestTestCard:
    def test_it_appears_from_top_to_bottom(self, make_request: MakeRequest) -> None:
        engine = TestCardEngine()
        request = make_request("image_fast", width=480, height=832, num_inference_steps=4)
        seen: list[Any] = []
        engine.generate(request, lambda _done, _total: seen.append(engine.glimpse(request)))
        first, *_, last = seen
        assert first.shape == last.shape == (96, 55, 3)
        hidden = (first == NOT_YET).all(axis=(1, 2))
        assert not hidden[:24].any()
        assert hidden[24:].all()
        assert np.array_equal(first[:24], last[:24])
        assert not (last == NOT_YET).all(axis=(1, 2)).any()


class TestEncoding:
    def test_the_worst_glimpse_fits_into_a_line(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        encoded = preview(noise)
        assert len(encoded) <= PREVIEW_BYTES
        with Image.open(BytesIO(encoded)) as picture:
            assert (picture.format, picture.size, picture.info.get("xmp")) == ("WEBP", (SIDE, SIDE), None)

    def test_a_picture_that_is_no_glimpse_is_refused(self) -> None:
        with pytest.raises(ValueError, match="takes more than 16384 bytes"):
            preview(np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8))
