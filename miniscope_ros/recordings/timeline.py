# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Recorded times: repaired where a clock was set or a value is wrong, and how fast they rise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from miniscope_ros.recordings.wrong_times import (
    LONGEST_RUN,
    stuck,
    wrong_beginning,
    wrong_run,
)
import numpy as np
from numpy.typing import NDArray

_LEAST_STEP_NS = 1000
"""Two frames of the same recorded time are so far apart afterwards [ns]."""

_UNKNOWN_INTERVAL_NS = 1_000_000_000
"""Interval of a single frame whose rate is not recorded [ns]."""

_LARGEST_NS = 1 << 60
"""Times [ns] are cut off here (36 years), so that all differences fit into an int64."""

_LONGEST_GAP_NS = 60_000_000_000
"""
A longer gap [ns] is taken for a clock that was set forward.

No program that records goes on after a minute without frames; it stops with an error.
"""

_OUTLIERS = 5
"""
Up to this many wrong times in a row need nothing but a right one after them.

More of them have to be told from a gap (see wrong_times).
"""

_SEEN = LONGEST_RUN + 3
"""Times that are looked at together."""

_LONG_INTERVALS = 1.5
"""An interval that is longer than this, in median ones, may end with a wrong time."""

_NAMED = 3
"""The most steps that are named one by one."""


def rising_ns(
    times_ms: NDArray[np.float64], *, gaps_are_real: bool = False,
) -> tuple[NDArray[np.int64], str]:
    """
    Return times [ns] that rise by at least 1 us from frame to frame, and what was changed.

    Where the recorded clock was set back, or forward by more than a minute, time goes on by the
    median interval. A wrong time costs its own frame, also where up to 1000 in a row are wrong: it
    is replaced by one between those before and after it. Programs that write whole milliseconds
    give two frames that arrived together the same time: the second one is moved up.

    Parameters
    ----------
    times_ms
        The recorded times [ms], one a frame, all of them finite.
    gaps_are_real
        Whether the clock of the recording cannot be set, so that it has gaps of any length.

    Returns
    -------
    tuple
        The times [ns], and a text for a warning; it is empty where nothing was changed.

    """
    largest_ms = _LARGEST_NS / 1e6
    times = np.rint(np.clip(times_ms, -largest_ms, largest_ms) * 1e6).astype(np.int64)
    repaired, texts = _Repair(times, gaps_are_real).repaired()
    steps = np.arange(len(times), dtype=np.int64) * _LEAST_STEP_NS
    rising = np.maximum.accumulate(repaired - steps) + steps
    shift = rising - repaired
    if shift.any():
        texts.append(f'{np.count_nonzero(shift)} are moved up, by at most '
                     f'{shift.max() / 1e6:.3f} ms')
    return rising, '; '.join(texts)


@dataclass(frozen=True)
class _Step:
    """A place from which on the clock shows another time."""

    frame: int
    by_ns: int


class _Repair:
    """Goes along the times and decides at each odd interval what is wrong."""

    def __init__(self, times: NDArray[np.int64], gaps_are_real: bool) -> None:
        self._times = times
        self._longest_gap_ns = _LARGEST_NS if gaps_are_real else _LONGEST_GAP_NS
        self._interval_ns = _median_interval(times)
        self._mean_ns = _mean_interval(times, self._interval_ns)
        self._result = times.copy()
        self._shift_ns = 0  # from the recorded times to those of the result
        self._outliers: list[int] = []
        self._steps: list[_Step] = []

    def repaired(self) -> tuple[NDArray[np.int64], list[str]]:
        """Return the times [ns], which may still be equal, and what was changed."""
        done = wrong_beginning(self._times, self._mean_ns)
        self._outliers += range(done)
        self._result[:done] = self._times[done] + self._multiples(-done, 0)
        for place in self._odd_places():
            if place < done:
                continue
            self._result[done:place] = self._times[done:place] + self._shift_ns
            done = self._judge(place)
        self._result[done:] = self._times[done:] + self._shift_ns
        return self._result, [*self._texts()]

    def _odd_places(self) -> Iterator[int]:
        """Yield the frames before which the interval is not as usual, in order."""
        intervals = np.diff(self._times)
        odd = (intervals < -self._interval_ns) | (intervals > _LONG_INTERVALS * self._interval_ns)
        repeated = stuck(self._times)[1:] & (intervals == 0)
        odd |= repeated & ~np.append(False, repeated[:-1])  # the first of each run
        yield from (np.flatnonzero(odd) + 1).tolist()

    def _judge(self, place: int) -> int:
        """Repair the frame at a place if it has to be; return the first one to look at next."""
        before = int(self._result[place - 1])
        time = int(self._times[place]) + self._shift_ns
        following = self._times[place:place + _SEEN] + self._shift_ns
        if wrong := wrong_run(following, before, self._mean_ns):
            return self._bridge(place, place + wrong, before)
        backward = time < before - self._interval_ns
        if backward or time - before > _LONG_INTERVALS * self._interval_ns:
            limit_ns = self._longest_gap_ns if backward else time - before
            end = self._end_of_outliers(place, before, min(limit_ns, self._longest_gap_ns))
            if end is not None:
                return self._bridge(place, end, before)
        if backward or time - before > self._longest_gap_ns or time > _LARGEST_NS:
            by_ns = time - before - self._interval_ns
            self._steps.append(_Step(place, by_ns))
            self._shift_ns -= by_ns
        self._result[place] = int(self._times[place]) + self._shift_ns
        return place + 1

    def _end_of_outliers(self, place: int, before_ns: int, limit_ns: int) -> int | None:
        """Return the frame whose time goes on from the one before a place; None if none does."""
        following = self._times[place:place + 1 + _OUTLIERS] + self._shift_ns
        since = following[1:] - before_ns
        goes_on = np.flatnonzero((since > 0) & (since < limit_ns))
        if not len(goes_on):
            return None
        first = int(goes_on[0]) + 1
        # Times that rise as usual from the odd one on are those of a clock that was set.
        steps = np.diff(following[:first + 1]) / self._interval_ns
        if ((steps > 2 - _LONG_INTERVALS) & (steps < _LONG_INTERVALS)).all():
            return None
        return place + first

    def _bridge(self, begin: int, end: int, before_ns: int) -> int:
        """
        Give the frames from begin to end times between their neighbours; return end.

        They come one mean interval after the other at most: what is left is a gap.
        """
        count = end - begin
        self._outliers += range(begin, end)
        steps = self._multiples(1, count + 1)
        if end < len(self._times):
            between_ns = int(self._times[end]) + self._shift_ns - before_ns
            steps = np.minimum(steps, between_ns * np.arange(1, count + 1) // (count + 1))
        self._result[begin:end] = before_ns + steps
        return end

    def _multiples(self, begin: int, end: int) -> NDArray[np.int64]:
        """Return so many mean intervals [ns]."""
        multiples: NDArray[np.int64] = np.rint(
            self._mean_ns * np.arange(begin, end)).astype(np.int64)
        return multiples

    def _texts(self) -> Iterator[str]:
        if self._outliers:
            yield (f'{len(self._outliers)} are wrong and replaced by times between their '
                   f'neighbours (the first one at frame {self._outliers[0]})')
        for step in self._steps[:_NAMED]:
            yield (f'at frame {step.frame} the clock was set by {step.by_ns / 1e9:+.3f} s, or '
                   'there is a gap: time goes on by the median interval')
        if len(self._steps) > _NAMED:
            yield f'there are {len(self._steps) - _NAMED} more such steps'


def _median_interval(times: NDArray[np.int64]) -> int:
    """Return the median of the intervals that are intervals [ns]."""
    intervals = np.diff(times)
    rising = intervals[(intervals > 0) & (intervals <= _LONGEST_GAP_NS)]
    return int(np.median(rising)) if rising.size else _LEAST_STEP_NS


def _mean_interval(times: NDArray[np.int64], median_ns: int) -> float:
    """Return the mean of the usual intervals [ns]: exact where times are in whole milliseconds."""
    intervals = np.diff(times)
    usual = intervals[np.abs(intervals - median_ns) < median_ns / 2]
    return float(usual.mean()) if usual.size else float(median_ns)


def pace(times_ns: NDArray[np.int64], frame_rate: float) -> tuple[int, float]:
    """
    Return the median interval [ns] and the frame rate [frames/s].

    frame_rate is the recorded one, NaN where there is none; one frame alone has its interval.
    """
    if len(times_ns) > 1:
        interval_ns = int(np.median(np.diff(times_ns)))
    else:
        interval_ns = round(1e9 / frame_rate) if frame_rate > 0 else _UNKNOWN_INTERVAL_NS
    return interval_ns, frame_rate if frame_rate > 0 else 1e9 / interval_ns
