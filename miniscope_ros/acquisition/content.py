# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
What a picture itself shows: damage that neither a sequence number nor an error flag reports.

A frame with such a content is published as it came, marked and counted; nothing is repaired.
"""

from __future__ import annotations

from collections import Counter

import cv2
from miniscope_ros.acquisition.bands import Bands
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
_PART = 509  # words of 8 pixels in one sum: about half a DMA block, but no divisor of it
_ROWS_APART = 16  # rows from one to the next of which the mean is taken


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
        self._bands = Bands(width, height)
        self._has_blocks = has_blocks
        self._dark_level: float | None = None
        self._digest: bytes | None = None  # of the frame before, if that was lit

    def begin(self) -> None:
        """Count from 0: an acquisition begins."""
        self.counts = Counter()

    def observe_dark(self, image: NDArray[np.uint8]) -> None:
        """Take in a frame, shape (height, width), of which it is known that the light was off."""
        level = _level(image)
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
        repeats = self._repeats(image, lit)
        if lit and self._is_dark(image):
            return Content.DARK
        if repeats and not _is_clipped(image):
            return Content.REPEATED
        if self._seams.misplaced(image):
            return Content.BLOCKS_MISPLACED
        return Content.BANDED if self._bands.banded(image) else Content.OK

    def _repeats(self, image: NDArray[np.uint8], lit: bool) -> bool:
        """Return whether all bytes are those of the frame before; both lit."""
        before = self._digest
        self._digest = _digest(image) if lit else None
        return self._digest is not None and self._digest == before

    def _is_dark(self, image: NDArray[np.uint8]) -> bool:
        if self._dark_level is None:
            return _level(image) < _PLAIN_DARK
        return _level(image) < min(self._dark_level + _ABOVE_DARK, _BLACKEST)


def _level(image: NDArray[np.uint8]) -> float:
    """Return the mean grey value of some rows all over an image."""
    return float(cv2.mean(image[::_ROWS_APART])[0])


def _is_clipped(image: NDArray[np.uint8]) -> bool:
    """Return whether so few pixels are below full scale that two pictures may well be equal."""
    return image.size - int(np.count_nonzero(image == _FULL_SCALE)) < _ENOUGH_PIXELS


def _digest(image: NDArray[np.uint8]) -> bytes:
    """
    Return bytes that are equal for equal images, and for no others that a sensor takes.

    A sensor's noise changes tens of thousands of pixels from frame to frame. Sums over parts of
    the image show that, and moved blocks too, in less time than a hash of the whole image.
    """
    pixels = image.reshape(-1)
    words = pixels[:pixels.size // 8 * 8].view(np.uint64)
    sums = np.add.reduceat(words, np.arange(0, words.size, _PART))
    return bytes(sums) + bytes(pixels[words.size * 8:])
