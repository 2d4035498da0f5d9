# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The image sensor: light becomes grey values, with noise."""

from __future__ import annotations

import math
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

BLACK = 4.0  # [grey values] mean of a dark pixel
READ_NOISE = 0.8  # [grey values] deviation of a dark pixel
PHOTONS = 25.0  # photo-electrons per grey value at gain 1
_BAND = 1 << 16  # [px] drawn at a time


class Sensor:
    """Turns an image of light into YUYV bytes; the same for the same seed and key."""

    def __init__(self, width: int, height: int, seed: int) -> None:
        """Prepare for images of a size [px]."""
        self._seed = seed
        self._noise = np.array(
            [NormalDist().inv_cdf((byte + 0.5) / 256) for byte in range(256)],
            np.float32)[None]
        self._deviation = np.full((height, width), READ_NOISE, np.float32)
        # Bands that stay in the processor's cache and wake none of OpenCV's worker threads.
        self._band = max(1, _BAND // width)  # [rows]
        self._scratch = np.empty((self._band, width), np.float32)
        self._grey = np.empty((self._band, width), np.uint8)
        self._chroma = np.full((self._band, width), 128, np.uint8)

    def expect(self, light: NDArray[np.float32], gain: float) -> None:
        """
        Take in about how much light comes, shape (height, width) [grey values above black].

        Its noise is that of the photons: variance = mean x gain / photo-electrons per grey value.
        """
        self._deviation = np.sqrt(light * (gain / PHOTONS) + READ_NOISE ** 2)

    def expose(
        self, light: NDArray[np.float32], level: float, noise: float, key: int,
        out: NDArray[np.uint8],
    ) -> None:
        """
        Write the picture of light times level [grey values] to out, shape (height, width, 2).

        noise multiplies the expected deviation; key makes the noise of this picture its own.
        """
        random = np.random.SFC64([self._seed, 2, key])
        for top in range(0, len(light), self._band):
            band = slice(top, top + self._band)
            signal = light[band]
            scratch, grey = self._scratch[:len(signal)], self._grey[:len(signal)]
            cv2.LUT(_bytes(random, signal.shape), self._noise, scratch)
            cv2.multiply(scratch, self._deviation[band], scratch)
            cv2.addWeighted(signal, level, scratch, noise, BLACK, grey, cv2.CV_8U)
            cv2.merge((grey, self._chroma[:len(signal)]), out[band])


def _bytes(random: np.random.SFC64, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    count = math.prod(shape)
    return random.random_raw(-(-count // 8)).view(np.uint8)[:count].reshape(shape)
