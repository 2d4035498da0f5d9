# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Mean and maximum of the pictures at each pixel: where cells and vessels are."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_PICTURES = 2000  # that are averaged of a recording at most: more changes nothing that is seen


class Projections:
    """Mean and maximum of pictures of one size, evenly spaced over a recording."""

    def __init__(self, images: int) -> None:
        """Begin without any; images is how many the recording has."""
        self.count = 0  # of the pictures in it
        self._every = max(1, images // _PICTURES)
        # Half the memory of float64, and the sum of twice _PICTURES is exact in it.
        self._sum: NDArray[np.float32] = np.zeros(0, np.float32)
        self._maximum: NDArray[np.uint8] = np.zeros(0, np.uint8)

    def add(self, row: int, pixels: NDArray[np.uint8]) -> None:
        """Take the picture of a row, (height, width) or (height, width, 3) BGR, if it is due."""
        if self.count and (row % self._every or pixels.shape != self._maximum.shape):
            return
        if not self.count:
            self._sum = np.zeros(pixels.shape, np.float32)
            self._maximum = np.zeros(pixels.shape, np.uint8)
        cv2.accumulate(pixels, self._sum)
        np.maximum(self._maximum, pixels, out=self._maximum)
        self.count += 1

    @property
    def mean(self) -> NDArray[np.uint8]:
        """Return the mean, rounded; empty where there was no picture."""
        return np.rint(self._sum / max(1, self.count)).astype(np.uint8)

    @property
    def maximum(self) -> NDArray[np.uint8]:
        """Return the maximum; empty where there was no picture."""
        return self._maximum
