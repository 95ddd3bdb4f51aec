"""PSNR and SSIM give the values that their formulas give by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.bench.likeness import psnr, ssim


def plain(level: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((16, 20, 3), level, dtype=np.uint8)


def noise(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(("level", "decibels"), [(101, 48.1308), (110, 28.1308), (0, 8.1308)])
def test_psnr_of_a_known_error(level: int, decibels: float) -> None:
    assert psnr(plain(100), plain(level)) == pytest.approx(decibels, abs=1e-4)


def test_equal_pictures() -> None:
    assert psnr(noise(1), noise(1)) == math.inf
    assert ssim(noise(1), noise(1)) == pytest.approx(1.0)


def test_ssim_of_plain_pictures_is_the_likeness_of_their_levels() -> None:
    """Nothing varies, so only the first factor of the formula is left: (2ab + c) / (a² + b² + c), c = 6.5025."""
    assert ssim(plain(100), plain(200)) == pytest.approx((2 * 100 * 200 + 6.5025) / (100**2 + 200**2 + 6.5025))


def test_ssim_of_a_picture_and_its_negative_is_what_two_pixels_give_by_hand() -> None:
    """Stripes one pixel wide: the window's weights on even and odd columns decide means and variances."""
    stripes = np.zeros((11, 11, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    weights = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    share = float(weights[::2].sum() / weights.sum())
    mean, other_mean, variance = 255 * share, 255 * (1 - share), 255**2 * share * (1 - share)
    expected = (
        (2 * mean * other_mean + 6.5025)
        * (-2 * variance + 58.5225)
        / ((mean**2 + other_mean**2 + 6.5025) * (2 * variance + 58.5225))
    )
    assert ssim(stripes, 255 - stripes) == pytest.approx(expected)


def test_a_worse_copy_is_less_alike() -> None:
    original = noise(1)
    copies = [np.clip(original.astype(int) + noise(2) // divisor, 0, 255).astype(np.uint8) for divisor in (64, 16, 4)]
    assert sorted((psnr(original, copy) for copy in copies), reverse=True) == [psnr(original, copy) for copy in copies]
    assert sorted((ssim(original, copy) for copy in copies), reverse=True) == [ssim(original, copy) for copy in copies]
    assert ssim(original, copies[0]) > 0.99
    assert ssim(original, noise(3)) < 0.1
