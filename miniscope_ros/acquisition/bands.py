# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Moving horizontal bands, as electrical interference draws them into a frame.

Interference adds the same wave to all columns of a row, and is elsewhere in the next frame. The
tissue differs from column to column, and lies still or moves as a whole.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Profile: TypeAlias = NDArray[np.float32]

_STRIPS = 4  # parts of the picture, side by side, that must show the same wave
_LEARNING = 0.1  # weight of a new frame in the running mean profile
_KNOWN = 5  # frames that make the profile known
_SLOWEST = 4  # waves in a frame's height; slower ones are shadows and motion
_AMPLITUDE = 1.6  # [grey values] of a wave that is reported; tissue that jolts makes 1.4
_AGREEMENT = 0.85  # correlation of the strips: 1 when all show the same wave in the same place
_PROMINENCE = 5.0  # how many times a wave is larger than the mean of all waves
_MOVED = 0.06  # share of the wave that must be new in this frame: what stays is the scene
_BRIGHT = 8.0  # [grey values] mean below which there is no picture to be disturbed
_LIGHT = (0.9, 1.1)  # ratios of brightness to the usual one between which frames are compared
_CLIPPED = 255  # grey value of a pixel that could be brighter
_FEW_CLIPPED = 0.01  # share of such pixels up to which a picture follows its light as a whole
_DOMINANCE = 0.5  # share of a clipped picture's change that the wave makes up


class Bands:
    """Compares the mean grey value of each row with the usual one of this stream."""

    def __init__(self, width: int) -> None:
        """Prepare for frames of a width [px]."""
        self._columns = np.float32(width // _STRIPS)
        self._profile: Profile | None = None
        self._level = 0.0  # mean of the profile
        self._before: Profile | None = None  # change of the frame before, mean of the strips
        self._frames = 0  # in the profile
        self._unlike = 0  # frames in a row under another light

    def banded(self, image: NDArray[np.uint8], sums: NDArray[np.int32]) -> bool:
        """Return whether a frame, shape (height, width), has bands; sums are its strip_sums()."""
        profile = sums.astype(np.float32)
        profile /= self._columns
        level = _mean(profile)
        if level < _BRIGHT:
            return False
        if self._profile is None:
            self._begin(profile, level)
            return False
        scale = level / self._level
        if not _LIGHT[0] < scale < _LIGHT[1]:
            self._unlike += 1
            if self._unlike >= _KNOWN:  # the light has changed for good: learn again
                self._begin(profile, level)
            return False
        self._unlike = 0
        banded = self._frames >= _KNOWN and self._wave(
            profile - np.float32(scale) * self._profile) and not self._only_clipped(
                _strips(image), profile - self._profile)
        self._frames += 1
        # Moving bands cancel out in the mean.
        share = max(_LEARNING, 1 / self._frames)
        cv2.accumulateWeighted(profile, self._profile, share)
        self._level += share * (level - self._level)
        return banded

    def _begin(self, profile: Profile, level: float) -> None:
        self._profile, self._level, self._frames = profile, level, 1

    def _wave(self, change: Profile) -> bool:
        """Return whether all strips, shape (height, strips), changed by the same new wave."""
        mean = np.asarray(cv2.reduce(change, 1, cv2.REDUCE_AVG), np.float32)
        before, self._before = self._before, mean
        # A wave has half of its squared amplitude as variance: nearly always this is enough.
        if cv2.meanStdDev(mean)[1][0, 0] <= _AMPLITUDE / math.sqrt(2):
            return False
        common = _waves(mean)[:, 0]
        power = np.abs(common)
        agreed = power * (power > _AGREEMENT * np.abs(_waves(change)).mean(axis=1))
        strongest = int(agreed.argmax())
        # A wave whose number in the height is no integer is spread over two.
        pair = np.sort(power[max(strongest - 1, 0):strongest + 2])[-2:]
        return bool(
            agreed[strongest] > 0 and 2 * math.hypot(*pair) / len(change) > _AMPLITUDE
            and agreed[strongest] > _PROMINENCE * power.mean()
            and (before is None
                 or abs((common - _waves(before)[:, 0])[strongest]) > _MOVED * power[strongest]))

    def _only_clipped(self, pixels: NDArray[np.uint8], change: Profile) -> bool:
        """
        Return whether clipped pixels explain a change, shape (height, strips), that has a wave.

        pixels are those of the frame's strips, shape (height * strips, columns).

        They do not follow a change of the light. So the rows change by different amounts, and
        slowly from row to row, as if by a slow wave. What the light makes of the other pixels is
        taken away here; interference is most of what then remains. Few frames come so far.
        """
        pixels = pixels.reshape(*change.shape, -1)
        free = pixels < _CLIPPED
        if free.mean() >= 1 - _FEW_CLIPPED:
            return False
        light = np.sum(pixels, axis=2, dtype=np.float32, where=free) / self._columns
        strength = np.sum(light * light)
        if strength > 0:
            change = change - light * (np.sum(change * light) / strength)
        mean = change.mean(axis=1)
        power = np.abs(np.fft.rfft(mean - mean.mean())) ** 2
        strongest = _SLOWEST + int(power[_SLOWEST:].argmax())
        wave = power[max(strongest - 1, _SLOWEST):strongest + 2].sum()
        return bool(
            2 * math.sqrt(wave) / len(mean) <= _AMPLITUDE
            or wave <= _DOMINANCE * power.sum())


def strip_sums(image: NDArray[np.uint8]) -> NDArray[np.int32]:
    """
    Return the sum of the grey values in each row of each strip, shape (height, strips).

    image has the shape (height, width). Columns at the right edge that are no whole strip's are
    left out. As 32-bit integers OpenCV adds in half the time that floats take it.
    """
    sums = cv2.reduce(_strips(image), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    return np.asarray(sums, np.int32).reshape(len(image), _STRIPS)


def _strips(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image, (height, width), as rows of strips, shape (height * strips, columns)."""
    height, width = image.shape
    columns = width // _STRIPS
    return image[:, :columns * _STRIPS].reshape(height * _STRIPS, columns)


def _waves(change: Profile) -> NDArray[np.complexfloating]:
    """Return the waves of each column, shape (waves, columns), from _SLOWEST on."""
    return np.fft.rfft(change, axis=0)[_SLOWEST:]


def _mean(profile: Profile) -> float:
    """Return the mean of all values; numpy takes three times as long."""
    return cv2.sumElems(profile)[0] / profile.size
