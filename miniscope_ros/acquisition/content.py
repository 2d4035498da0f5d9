# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
What a picture itself shows: damage that neither a sequence number nor an error flag reports.

A frame with such a content is published as it came, marked and counted; nothing is repaired.
"""

from __future__ import annotations

from collections import Counter

import cv2
from miniscope_ros.acquisition.bands import Bands, strip_sums
from miniscope_ros.acquisition.seams import Seams
from miniscope_ros.model import Content
import numpy as np
from numpy.typing import NDArray

_PLAIN_DARK = 8.0  # [grey values] mean of a dark picture, where none was seen yet
_BLACKEST = 32.0  # [grey values] mean of a dark picture at most: under stray light none is black
_ABOVE_DARK = 1.0  # [grey values] by which a lit picture's mean is at least above a dark one's
_DARK_LEARNING = 0.1  # part of a new dark frame in the running mean of dark ones
_FULL_SCALE = 255  # [grey value]
_ENOUGH_PIXELS = 64  # whose noise makes each picture another one


class ContentChecker:
    """
    Judges the frames of one stream, one after the other.

    counts has the number of frames of each content since begin().
    """

    def __init__(self, width: int, height: int, *, has_blocks: bool) -> None:
        """
        Prepare for frames of a size [px].

        has_blocks says whether a frame came through a DAQ box, in blocks of known size: only
        then can it be checked.
        """
        self.counts: Counter[Content] = Counter()
        self._seams = Seams(width, height)
        self._bands = Bands(width)
        self._has_blocks = has_blocks
        self._dark_level: float | None = None
        self._before: bytes | None = None  # sums of the frame before, if that was lit

    def begin(self) -> None:
        """Count from 0: an acquisition begins."""
        self.counts = Counter()

    def observe_dark(self, image: NDArray[np.uint8]) -> None:
        """Take in a frame, shape (height, width), of which it is known that the light was off."""
        level = _level(strip_sums(image), image.size)
        if self._dark_level is None:
            self._dark_level = level
        else:
            self._dark_level += _DARK_LEARNING * (level - self._dark_level)

    def check(self, image: NDArray[np.uint8], *, lit: bool) -> Content:
        """
        Return what a frame, shape (height, width), shows, and count it.

        lit says whether the light is on, as the controls have it. A dark picture is no fault
        without light.
        """
        content = self._judge(image, lit) if self._has_blocks else Content.NOT_CHECKED
        self.counts[content] += 1
        return content

    def _judge(self, image: NDArray[np.uint8], lit: bool) -> Content:
        # The whole picture is read once; the rest looks at these sums and at the seams.
        sums = strip_sums(image)
        repeats = self._repeats(sums, lit)
        if lit and self._is_dark(_level(sums, image.size)):
            return Content.DARK
        if repeats and not _is_clipped(image):
            return Content.REPEATED
        if self._seams.misplaced(image):
            return Content.BLOCKS_MISPLACED
        return Content.BANDED if self._bands.banded(image, sums) else Content.OK

    def _repeats(self, sums: NDArray[np.int32], lit: bool) -> bool:
        """
        Return whether a frame is the one before again, as its strip_sums() show; both lit.

        A sensor's noise changes tens of thousands of pixels from frame to frame. So all sums are
        equal only where all bytes are.
        """
        before = self._before
        self._before = sums.tobytes() if lit else None
        return self._before is not None and self._before == before

    def _is_dark(self, level: float) -> bool:
        if self._dark_level is None:
            return level < _PLAIN_DARK
        return level < min(self._dark_level + _ABOVE_DARK, _BLACKEST)


def _level(sums: NDArray[np.int32], pixels: int) -> float:
    """Return the mean grey value of so many pixels, given their sums."""
    return float(cv2.sumElems(sums)[0]) / pixels


def _is_clipped(image: NDArray[np.uint8]) -> bool:
    """Return whether so few pixels are below full scale that two pictures may well be equal."""
    return image.size - int(np.count_nonzero(image == _FULL_SCALE)) < _ENOUGH_PIXELS
