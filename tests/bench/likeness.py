"""How alike two pictures are: PSNR and SSIM, small enough to be read.

LPIPS would judge as people do, but it takes a trained network, and none is downloaded here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

PEAK = 255.0
WINDOW, SIGMA = 11, 1.5
STABILISERS = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def psnr(one: Any, other: Any) -> float:
    """Peak signal-to-noise ratio in dB over all values of two arrays of bytes; infinite for equal ones."""
    error = float(np.mean(np.square(one.astype(np.float64) - other.astype(np.float64))))
    return math.inf if error == 0 else 10 * math.log10(PEAK**2 / error)


def ssim(one: Any, other: Any) -> float:
    """Mean structural similarity of two RGB pictures, shape (height, width, 3), over their luma; 1 for equal ones.

    Equation 13 of Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to Structural
    Similarity", IEEE Transactions on Image Processing 13(4), 2004, with the Gaussian window of 11 x 11 and sigma 1.5
    of that paper, where the window lies within the picture.
    """
    first, second = _luma(one), _luma(other)
    mean_1, mean_2 = _blurred(first), _blurred(second)
    variance_1 = _blurred(first * first) - mean_1**2
    variance_2 = _blurred(second * second) - mean_2**2
    covariance = _blurred(first * second) - mean_1 * mean_2
    c_1, c_2 = STABILISERS
    alike = (2 * mean_1 * mean_2 + c_1) * (2 * covariance + c_2)
    return float(np.mean(alike / ((mean_1**2 + mean_2**2 + c_1) * (variance_1 + variance_2 + c_2))))


def _luma(picture: Any) -> Numbers:
    luma: Numbers = picture.astype(np.float64) @ np.array(LUMA)
    return luma


def _blurred(values: Numbers) -> Numbers:
    """The weighted mean around each pixel that is at least half a window from the edge."""
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW, axis=axis)
        values = windows @ _KERNEL
    return values


def _gaussian() -> Numbers:
    weights: Numbers = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
    whole: Numbers = weights / weights.sum()
    return whole


_KERNEL = _gaussian()
