# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The seams of a frame: where one block that the DAQ box sent ends and the next one begins.

The box sends a frame in DMA blocks of 16,368 bytes, from two alternating sockets. Blocks that are
exchanged, lost or repeated on their way therefore leave steps in the picture at known places. The
size of a block is a constant of the published firmware; that blocks get out of order is concluded
from pictures that users published. Neither was checked on hardware.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import cv2
from miniscope_ros.daq.firmware import BLOCK_PIXELS
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

_AT_SEAM = slice(1, 3)  # of the two rows above a seam and the two below it: those that meet there
_ALL_ROWS = slice(0, 4)
_GROUPS = 16  # in a row, evenly spread: more groups take longer and show no more
_GROUP = 16  # pixels in a group; their mean is taken, so that noise does not hide a step
_ITEM = np.dtype((np.void, _GROUP))  # a group is copied as one item: four times as fast
_REMEMBERED = 60  # good frames over whose median a seam's usual step is taken
_MEDIAN_EVERY = 20  # frames between two computations of that median
_FACTOR = 3.0  # times the usual step; good frames stay below 2.3, clear damage begins at 7
_FLOOR = 0.4  # [grey values] a smaller step is lost in noise and rounding
_BRIGHT = 8.0  # [grey values] mean below which there is no picture whose parts could be exchanged
_SAME_LIGHT = 2.0  # ratio of two frames' brightness from which on they are not compared
_SHIFT_GAIN = 5.0  # [grey values] summed over the seams, by which a shift must fit better
_SHIFT_SHARE = 0.5  # share of the difference to the frame before that may remain after a shift


class Seams:
    """
    Looks at the seams of one stream's frames.

    The step across a seam is compared with the steps between the rows beside it, and with the
    usual step at that seam: a structure of the tissue may lie on it.
    """

    def __init__(self, width: int, height: int) -> None:
        """Prepare for frames of a size [px]; too small a frame has no seam."""
        size = width * height
        first = BLOCK_PIXELS * -(-2 * width // BLOCK_PIXELS)
        self._count = len(range(first, size - 2 * width + 1, BLOCK_PIXELS))
        self._first = first
        # Where a block is lost the blocks after it move up, and what stood there before remains
        # at the end: another seam, one block before the end.
        self._last = size - BLOCK_PIXELS
        self._width = width
        self._rows = np.empty((_ALL_ROWS.stop, self._count + 1, _GROUPS), _ITEM)
        self._steps: deque[NDArray[np.float32]] = deque(maxlen=_REMEMBERED)
        # How large a step is at most, by what is usual at its seam.
        self._limit: NDArray[np.float32] = np.full(self._count + 1, _FLOOR, np.float32)
        self._since_median = 0
        # The last good frame's means below each seam, between two rows that fit nothing; seen
        # as what stood one block before each seam, at it, and one block after it.
        self._before = np.full((max(self._count, 1) + 2, _GROUPS), np.inf, np.float32)
        self._around = sliding_window_view(
            self._before, max(self._count, 1), axis=0).transpose(0, 2, 1)
        self._brightness = 0.0  # of those means; 0: there was no good frame yet

    def misplaced(self, image: NDArray[np.uint8]) -> bool:
        """Return whether blocks of a frame, shape (height, width), are not where they belong."""
        if self._count < 1:
            return False
        means = self._means(image, _AT_SEAM)
        rows = means[1, :-1]
        brightness = _mean(rows)
        if brightness < _BRIGHT:
            return False
        step, = _steps(means)
        # Nearly always no step is larger than usual; then the rows beside need no look.
        if (step > self._limit).any() and self._stands_out(image, step) or self._shifted(
                rows, brightness):
            return True
        self._learn(step, rows, brightness)
        return False

    def _stands_out(self, image: NDArray[np.uint8], step: NDArray[np.float32]) -> bool:
        """Return whether a step, shape (seams + 1,), is larger than usual and than beside it."""
        above, _, below = _steps(self._means(image, _ALL_ROWS))
        beside = _FACTOR / 2 * (above + below) + _FLOOR
        return bool((step > np.maximum(beside, self._limit)).any())

    def _means(self, image: NDArray[np.uint8], which: slice) -> NDArray[np.float32]:
        """
        Return the means of groups of pixels around each seam, shape (rows, seams + 1, groups).

        which says in which of the four rows around a seam.

        A row that begins at a seam continues the row that ends there: as the pixels follow each
        other by the image's width, those of the one stand below those of the other.
        """
        pixels = image.reshape(-1)
        rows = self._rows[which]
        row, group = self._width, self._width // _GROUPS
        above = row * (_ALL_ROWS.stop // 2 - which.start)
        rows[:, :-1] = np.ndarray(
            rows[:, :-1].shape, _ITEM, pixels, self._first - above, (row, BLOCK_PIXELS, group))
        rows[:, -1] = np.ndarray(
            rows[:, -1].shape, _ITEM, pixels, self._last - above, (row, group))
        # As 32-bit integers OpenCV adds in half the time that floats take it.
        sums = cv2.reduce(
            rows.view(np.uint8).reshape(-1, _GROUP), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
        means = sums.reshape(rows.shape).astype(np.float32)
        means /= _GROUP
        return means

    def _shifted(self, rows: NDArray[np.float32], brightness: float) -> bool:
        """
        Return whether the end of the frame shows what stood one block before or after it.

        rows are the means below each seam, shape (seams, groups), brightness is theirs. So a
        block is found that is lost or repeated where its own seam shows no step, in a dark or
        saturated part.
        """
        if not self._brightness:
            return False
        scale = brightness / self._brightness
        if not 1 / _SAME_LIGHT < scale < _SAME_LIGHT:
            return False
        apart = rows - self._around * np.float32(scale)
        differences = cv2.reduce(
            np.abs(apart, apart).reshape(-1, _GROUPS), 1, cv2.REDUCE_AVG).reshape(3, -1)
        later, unmoved, earlier = differences
        # Nearly always no seam fits better after a shift; then no row of them does.
        if not (differences < np.float32(_SHIFT_SHARE) * unmoved).any():
            return False
        return _fits_better(
            np.array((later[1:], earlier[:-1])), np.array((unmoved[1:], unmoved[:-1])))

    def _learn(
        self, step: NDArray[np.float32], rows: NDArray[np.float32], brightness: float,
    ) -> None:
        self._before[1:-1] = rows
        self._brightness = brightness
        self._steps.append(step)
        self._since_median += 1
        if self._since_median >= min(_MEDIAN_EVERY, len(self._steps)):
            self._since_median = 0
            usual = np.median(np.stack(self._steps), axis=0)
            self._limit = (_FACTOR * usual + _FLOOR).astype(np.float32)


def _fits_better(moved: Any, unmoved: Any) -> bool:
    """
    Return whether from some seam to the last one the moved rows fit clearly better.

    Both are differences, shape (ways to move, seams).
    """
    moved, unmoved = np.cumsum(moved[:, ::-1], axis=1), np.cumsum(unmoved[:, ::-1], axis=1)
    return bool(((unmoved - moved > _SHIFT_GAIN) & (moved < _SHIFT_SHARE * unmoved)).any())


def _steps(means: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the steps from row to row, shape (rows - 1, seams), of (rows, seams, groups)."""
    apart = cv2.absdiff(means[1:], means[:-1])
    steps = cv2.reduce(apart.reshape(-1, _GROUPS), 1, cv2.REDUCE_AVG)
    return np.asarray(steps, np.float32).reshape(apart.shape[:2])


def _mean(values: NDArray[np.float32]) -> float:
    """Return the mean of an array of two dimensions; numpy takes three times as long."""
    return cv2.sumElems(values)[0] / values.size
