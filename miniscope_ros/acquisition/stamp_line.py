# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The frame period as the slope of a line through frame numbers and stamps."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import NDArray

_POINTS = 301
"""Frames that the line goes through: at 1 ms of jitter they give the period to 1 us."""

_OUTLIER_DEVIATIONS = 5.0
"""A stamp that is further off the line, in robust standard deviations, is left out."""

_MAD_TO_DEVIATION = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

_FEW_DEGREES = 4.0
"""
The jitter of n points is taken for larger by this over n - 2.

So few points show less jitter than there is about as seldom as many do.
"""

_FEW_POINTS = 10
"""With fewer points their scatter says little of the jitter, and one is assumed."""

_ASSUMED_JITTER_NS = 1_500_000.0
"""
Standard deviation of a stamp [ns] that is assumed of few stamps.

Intervals that scatter by 2 ms are the worst that the tests of this package ask for; the
deviation of one stamp is that over the square root of 2.
"""


@dataclass(frozen=True, slots=True)
class LineFit:
    """What a line through stamps says of the frame period."""

    period_ns: float
    error_ns: float  # standard error of period_ns
    jitter_ns: float  # standard deviation of a stamp about the line; rather too large


class StampLine:
    """
    Measures the frame period from all stamps at once, for gaps that are long.

    The running median of the intervals (see Period) suits one interval. Over a gap of n frames
    its error counts n times. The error of a line through N stamps falls with N to the power of
    1.5, that of a median of N intervals only with the square root.
    """

    def __init__(self) -> None:
        self._points: deque[tuple[int, int]] = deque(maxlen=_POINTS)  # number, stamp [ns]
        self._number = 0
        self._before: LineFit | None = None  # of the stream before

    def add(self, stamp_ns: int | None, periods: int) -> None:
        """
        Take in a frame that came so many periods after the one before.

        stamp_ns is None where the stamp is not to be used: the frame only counts.
        """
        self._number += periods
        if stamp_ns is not None:
            self._points.append((self._number, stamp_ns))

    def interrupt(self) -> None:
        """Begin another line, of the same slope: how many frames are missing is not known."""
        self._before = self.fit()
        self._points.clear()

    def clear(self) -> None:
        """Forget all: the period is another one."""
        self._points.clear()
        self._before = None

    def fit(self) -> LineFit | None:
        """Return what is known of the period; None while there are fewer than two stamps."""
        now, before = self._fit_points(), self._before
        if now is None or before is None:
            return now or before
        return now if now.error_ns < before.error_ns else before

    def _fit_points(self) -> LineFit | None:
        if len(self._points) < 2:
            return None
        first_number, first_ns = self._points[0]
        x = np.array([number - first_number for number, _ in self._points], np.float64)
        y = np.array([stamp_ns - first_ns for _, stamp_ns in self._points], np.float64)
        slope, offsets = _least_squares(x, y)
        deviation = _MAD_TO_DEVIATION * float(np.median(np.abs(offsets)))
        near = np.abs(offsets) <= max(_OUTLIER_DEVIATIONS * deviation, 1.0)
        if not near.all() and np.count_nonzero(near) > len(x) // 2:
            x, y = x[near], y[near]
            slope, offsets = _least_squares(x, y)
        freedom = len(x) - 2
        jitter_ns = 0.0
        if freedom:
            jitter_ns = math.sqrt(float(offsets @ offsets) / freedom)
            jitter_ns *= 1 + _FEW_DEGREES / freedom
        if len(x) < _FEW_POINTS:
            jitter_ns = max(jitter_ns, _ASSUMED_JITTER_NS)
        return LineFit(slope, jitter_ns / math.sqrt(float(((x - x.mean()) ** 2).sum())), jitter_ns)


def _least_squares(
    x: NDArray[np.float64], y: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    """Return the slope of the line through points, and how far each is above it."""
    x, y = x - x.mean(), y - y.mean()
    slope = float((x @ y) / (x @ x))
    return slope, y - slope * x
