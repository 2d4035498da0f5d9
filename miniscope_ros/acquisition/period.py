# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The frame period as measured."""

from __future__ import annotations

import math

from miniscope_ros.acquisition.running_median import RunningMedian
from miniscope_ros.acquisition.stamp_line import LineFit, StampLine
from miniscope_ros.model import NEW_RATE_FRAMES

_INTERVALS = 301
"""Intervals of which the median is taken: 5 s at 60 frames/s, 30 s at 10."""

_FEW_INTERVALS = 31
"""The same for a camera whose rate follows the light: it must follow within a second or two."""

_STEADY_SPREAD = 0.2
"""Periods over which the middle 80 % of even intervals are spread at most."""

_STEADY_INTERVALS = 10
"""Intervals that it takes to call them even."""

_UNSETTLED = 2
"""Frames after a change of the rate between which an interval may be of neither rate."""

_ANEW = NEW_RATE_FRAMES - _UNSETTLED - 1
"""Intervals that make a new period known; three of them may be long by a loss."""

_LONG_GAP_PERIODS = 8.0
"""Gaps from which on the error of the period is looked at; up to there the median is exact."""

_BOUND_DEVIATIONS = 4.0
"""Standard deviations that a bound reaches: one in 16000 errors is larger."""

_MANY_INTERVALS = 60
"""Intervals of which the middle half says something of the others."""

_HALF_TO_JITTER = 2.44
"""The middle 90 % of a normal distribution are so much wider than the middle half."""

_TWO_STAMPS = 1.2
"""Jitter of a gap in that of one stamp: a new one, and one that is smoothed (see LossAccount)."""

_SAME_PERIOD = 0.05
"""
Share by which the median interval and the slope of the line may differ.

In recordings of 60 frames/s in whole milliseconds the median is 2 % off.
"""

_UNMEASURED_ERROR_NS = 500_000.0
"""
Error of a period [ns] of which one interval or less is known.

A recording in whole milliseconds gives its interval to half of one.
"""


class Period:
    """
    The frame period as measured: the running median of the intervals between stamps.

    The label of a frame rate is never used: a scope set to 20 frames/s was seen at 19.76.

    A change of the rate takes effect some frames after it was sent: when a frame ends, on the
    frame after the next, with a mixed one in between, and frames from before may still wait in
    the buffer ring. So stamps decide which rate a frame has. Up to the sending all is of the old
    one. The first frame that began later is received, hence finished, and with it the change is
    executed; what ends with it or with the next two may be of the old rate, the new one or
    neither. The intervals after these are of the new rate; the median of the first seven judges
    what comes next, at 60 frames/s with 2 ms of jitter, too. In between the period is unknown and
    time shows no loss: a source publishes nothing then (see NEW_RATE_FRAMES).
    """

    def __init__(self, seed_ns: float = math.nan, *, constant: bool = True) -> None:
        """Begin with a known interval [ns]; constant says whether the rate is constant."""
        self._intervals = RunningMedian(_INTERVALS if constant else _FEW_INTERVALS)
        if not math.isnan(seed_ns):
            self._intervals.add(seed_ns)
        self._last_ns: int | None = None
        self._line = StampLine()
        self._least = 1  # intervals that make the period known
        self._changing_ns = math.inf  # frames that began later may be of another rate
        self._changed_ns = 0  # when the last change of the rate was sent
        self._unsettled = 0  # frames that began after that and are not yet of the new rate

    @property
    def ns(self) -> float:
        """Return the period [ns]; NaN until two frames came, and while the rate changes."""
        return self._intervals.value if len(self._intervals) >= self._least else math.nan

    def until(self, stamp_ns: int) -> float:
        """Return the period that ends with a frame of this stamp [ns]; NaN while unknown."""
        return math.nan if stamp_ns >= self._changing_ns else self.ns

    def count(self, from_ns: float, stamp_ns: int) -> tuple[float, float]:
        """
        Return how many periods lie between two times [ns], and the bound of the error of that.

        The number is NaN while the period is unknown. The error is 0 over short gaps.
        """
        period_ns = self.until(stamp_ns)
        periods = (stamp_ns - from_ns) / period_ns
        if math.isnan(period_ns) or periods < _LONG_GAP_PERIODS:
            return periods, 0.0
        fit = self.fit
        if fit is None:
            return periods, periods * _UNMEASURED_ERROR_NS / period_ns
        by_line = (stamp_ns - from_ns) / fit.period_ns
        error_ns = _BOUND_DEVIATIONS * math.hypot(
            by_line * fit.error_ns, _TWO_STAMPS * fit.jitter_ns)
        error = error_ns / period_ns
        if abs(fit.period_ns / period_ns - 1) > _SAME_PERIOD:
            error = max(error, abs(by_line - periods))  # one of the two is wrong
        return by_line, error

    @property
    def fit(self) -> LineFit | None:
        """Return the period as the slope of a line through the last stamps; None if unknown."""
        return self._line.fit()

    @property
    def settled(self) -> bool:
        """Return whether enough intervals are known to derive the jitter from their spread."""
        return len(self._intervals) >= _STEADY_INTERVALS

    @property
    def jitter_ns(self) -> float:
        """Half the width of the middle 90 % of the intervals [ns]; NaN while unknown."""
        return (self._intervals.quantile(0.95) - self._intervals.quantile(0.05)) / 2

    @property
    def usual_jitter_ns(self) -> float:
        """
        Return jitter_ns as the middle half of the intervals tell it [ns]; NaN while unknown.

        A quarter of the frames may be late and do not raise it. It takes more intervals.
        """
        if len(self._intervals) < _MANY_INTERVALS:
            return self.jitter_ns
        half_ns = (self._intervals.quantile(0.75) - self._intervals.quantile(0.25)) / 2
        return _HALF_TO_JITTER * half_ns

    @property
    def steady(self) -> bool:
        """Whether the intervals are even enough for a gap in time to mean a loss."""
        spread = self._intervals.quantile(0.9) - self._intervals.quantile(0.1)
        return len(self._intervals) >= _STEADY_INTERVALS and spread < _STEADY_SPREAD * self.ns

    def observe(self, stamp_ns: int, periods: int = 1) -> None:
        """Take in the stamp of a frame that came so many periods after the one before."""
        if stamp_ns >= self._changing_ns:
            self._forget()
            self._unsettled -= stamp_ns >= self._changed_ns
            if self._unsettled >= 0:
                return
            self._changing_ns = math.inf
        if self._last_ns is not None and stamp_ns > self._last_ns:
            self._intervals.add((stamp_ns - self._last_ns) / periods)
        self._last_ns = stamp_ns

    def place(self, stamp_ns: int | None, periods: int) -> None:
        """
        Take in which place a frame has among all that the scope took; after observe.

        periods is how many of them it comes after the one before, losses that are reported
        included; stamp_ns [ns] is None where it is not to be used.
        """
        if self._changing_ns == math.inf:
            self._line.add(stamp_ns, periods)

    def _forget(self) -> None:
        self._intervals.clear()
        self._line.clear()
        self._last_ns = None
        self._least = _ANEW

    def restart(self) -> None:
        """Do not count the interval to the next frame: the stream was interrupted."""
        self._last_ns = None
        self._line.interrupt()

    def change(self, sent_ns: int) -> None:
        """Measure again: another rate was sent at that time (on the clock of the stamps)."""
        self._changing_ns = min(self._changing_ns, sent_ns)
        self._changed_ns = sent_ns
        self._unsettled = _UNSETTLED
