# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Moving horizontal bands, as electrical interference draws them into a frame.

Interference adds the same wave to all columns of a row, and is elsewhere in the next frame. The
tissue differs from column to column, and lies still or moves as a whole.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_STRIPS = 5  # parts of the picture, side by side, that must show the same wave
_COLUMNS = 64  # [px] of a strip that are looked at: more would cost more and tell no more
_LEARNING = 0.1  # part of a new frame in the running mean profile
_KNOWN = 5  # frames that make the profile known
_SLOWEST = 4  # waves in a frame's height; slower ones are shadows and motion
_AMPLITUDE = 1.0  # [grey values] of a wave that is reported
_AGREEMENT = 0.85  # of the strips: 1 when all show the same wave in the same place
_PROMINENCE = 5.0  # times the mean of all waves
_MOVED = 0.06  # of the wave must differ from the frame before: what stays is the scene
_BRIGHT = 8.0  # [grey values] mean below which there is no picture to be disturbed
_LIGHT = (0.9, 1.1)  # ratios of brightness to the usual one between which frames are compared


class Bands:
    """Compares the mean grey value of each row with the usual one of this stream."""

    def __init__(self, width: int, height: int) -> None:
        """Prepare for frames of a size [px]."""
        apart = width // _STRIPS
        columns = min(apart, _COLUMNS)
        self._strips = [slice(first, first + columns)
                        for first in range((apart - columns) // 2, width - columns + 1, apart)]
        self._columns = np.float32(columns)
        self._height = height
        self._profile: NDArray[np.float32] | None = None
        self._common: NDArray[np.complexfloating] | None = None  # waves of the frame before
        self._frames = 0  # in the profile
        self._unlike = 0  # frames in a row under another light

    def banded(self, image: NDArray[np.uint8]) -> bool:
        """Return whether a frame, shape (height, width), has bands."""
        profile = np.stack([
            cv2.reduce(image[:, strip], 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F)[:, 0]
            for strip in self._strips]) / self._columns
        level = _mean(profile)
        if level < _BRIGHT:
            return False
        if self._profile is None:
            self._profile, self._frames = profile, 1
            return False
        usual = self._profile
        scale = level / _mean(usual)
        if not _LIGHT[0] < scale < _LIGHT[1]:
            self._unlike += 1
            if self._unlike >= _KNOWN:  # another light, not a blink: learn anew
                self._profile, self._frames = profile, 1
            return False
        self._unlike = 0
        banded = self._frames >= _KNOWN and self._wave(profile - np.float32(scale) * usual)
        self._frames += 1
        # Moving bands cancel out in the mean.
        share = np.float32(max(_LEARNING, 1 / self._frames))
        self._profile = usual + share * (profile - usual)
        return banded

    def _wave(self, change: NDArray[np.float32]) -> bool:
        """Return whether all strips, shape (strips, height), changed by the same wave, anew."""
        # The mean of the strips' waves; nearly always it is so weak that this tells enough.
        common = np.fft.rfft(cv2.reduce(change, 0, cv2.REDUCE_AVG)[0])[_SLOWEST:]
        power = np.abs(common)
        if 2 * float(power.max()) / self._height <= _AMPLITUDE:
            self._common = common
            return False
        waves = np.fft.rfft(change)[:, _SLOWEST:]
        agreed = power * (power > _AGREEMENT * np.abs(waves).mean(axis=0))
        strongest = int(agreed.argmax())
        before, self._common = self._common, common
        return bool(
            2 * agreed[strongest] / self._height > _AMPLITUDE
            and agreed[strongest] > _PROMINENCE * power.mean()
            and (before is None
                 or abs(common[strongest] - before[strongest]) > _MOVED * power[strongest]))


def _mean(profile: NDArray[np.float32]) -> float:
    """Return the mean of all values; numpy takes three times as long."""
    return cv2.sumElems(profile)[0] / profile.size
