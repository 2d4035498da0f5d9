# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""How sharp a picture is, for finding the focus."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_SMOOTHING = 1.0  # [px] deviation of the Gaussian: a single pixel's noise has no part in it
_PLACE = 32  # a place is such a part of the shorter side: somewhat more than a cell
_DARKEST = 0.25  # a place darker than this part of the mean is judged as one of that level


def sharpness(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """
    Return how sharp two pictures of one field are, shape (height, width) each; without a unit.

    It is the variance of the Laplacian (Pech-Pacheco et al., Diatom autofocusing in brightfield
    microscopy, ICPR 2000), after a Gaussian and divided by the squared grey value of the place, so
    that neither the brightness of the picture counts nor a cell that flares up. Two pictures take
    the place of one: the noise of one does not correlate with that of the other, so it does not
    count as detail. The number of a black picture is 0.
    """
    both = (first + second) / 2
    level = float(both.mean())
    if level <= 0:
        return 0.0
    one, other = _details(first), _details(second)
    place = max(min(both.shape) // _PLACE, 1)
    levels = np.maximum(cv2.blur(both, (place, place)), _DARKEST * level)
    return float(np.mean((one - one.mean()) * (other - other.mean()) / levels ** 2))


def _details(image: NDArray[np.float32]) -> NDArray[np.float32]:
    smooth = cv2.GaussianBlur(image, (0, 0), _SMOOTHING)
    return np.asarray(cv2.Laplacian(smooth, cv2.CV_32F), np.float32)
