# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Timestamps on the monotonic clock, corrected where invalid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import math

from miniscope_ros.acquisition.running_median import RunningMedian
from miniscope_ros.model import RawFrame, StampSource
from miniscope_ros.sources.earliest_begin import EarliestBegin

_OLDEST_NS = 20_000_000_000
"""Age beyond which a stamp is invalid: far more than a ring of buffers can hold."""

_FUTURE_NS = 1_000_000
"""A stamp may be this much later than its frame's arrival: two clocks are read one by one."""

_LARGEST_RECORDED_NS = 1 << 62
"""Recorded stamps above this (146 years) leave no room for sums in an int64."""

_LATENCIES = 31
"""Frames over which the time from stamp to arrival is looked at."""

_LEAST_LATE = 0.1
"""Share of the latencies below the one that is taken for the read-out time."""

_PULL = 0.1
"""Part of the way to the arrival by which a predicted stamp is moved."""

_UNEVEN = 0.2
"""Periods by which valid stamps may be off their places (2 ms of jitter at 60 frames/s: 0.12)."""


class TimestampFilter:
    """
    Replaces unusable stamps by a prediction, so that time always rises and never leaps.

    A stamp is unusable when it is zero, not later than the one before, later than the frame's
    arrival, or older than any buffer ring can hold; or when there is none, but others had one.
    A recorded stamp is unusable when it is not later than the one before, or beyond all dates.
    """

    def __init__(self, waiting: Callable[[], bool] = lambda: False) -> None:
        """Begin; waiting says whether another frame is ready already."""
        self.invalid_count = 0
        self._waiting = waiting
        self._latency = RunningMedian(_LATENCIES)
        self._begin = EarliestBegin()
        self._last_ns: int | None = None
        self._last_sequence: int | None = None

    def restart(self) -> None:
        """Forget the sequence: a new stream begins. Time still must not run backwards."""
        self._last_sequence = None
        self._begin.restart()

    def forget(self) -> None:
        """Begin from nothing: the timeline itself is a new one."""
        self._last_ns = self._last_sequence = None
        self._latency.clear()
        self._begin.restart()

    @property
    def read_out_ns(self) -> float:
        """
        Return how long a frame takes from its stamp to its arrival [ns]; NaN unknown.

        It is about the least of late: a busy host adds to it, and nothing takes away.
        """
        return self._latency.quantile(_LEAST_LATE)

    def correct(self, sample: RawFrame, period_ns: float) -> RawFrame:
        """
        Return the frame, with another stamp where its own is invalid.

        period_ns is the time between frames [ns]; it may be NaN.
        """
        if sample.stamp_source is StampSource.RECORDED:
            if not self._plausible_record(sample.stamp_ns):
                self.invalid_count += 1
                sample = _restamped(sample, self._next_ns(period_ns), StampSource.PREDICTED)
        elif self._is_unstamped(sample):
            sample = _restamped(
                sample, max(sample.receive_ns, (self._last_ns or 0) + 1), StampSource.ARRIVAL)
        elif self._plausible(sample):
            self._latency.add(sample.receive_ns - sample.stamp_ns)
        else:
            self.invalid_count += 1
            sample = _restamped(sample, self._predict(sample, period_ns), StampSource.PREDICTED)
        self._last_ns = sample.stamp_ns
        self._last_sequence = sample.sequence
        due_ns = self._begin.bound(sample.stamp_ns, sample.sequence, period_ns)
        if sample.stamp_source in (StampSource.ARRIVAL, StampSource.PREDICTED):
            sample = replace(sample, due_ns=due_ns)
        return sample

    def _is_unstamped(self, sample: RawFrame) -> bool:
        """Return whether the transport gave no stamp; it may know the arrival better (USB)."""
        return (
            sample.stamp_source is StampSource.ARRIVAL and not self._latency
            and sample.stamp_ns in (0, sample.receive_ns))

    def _plausible_record(self, stamp_ns: int) -> bool:
        return 0 <= stamp_ns < _LARGEST_RECORDED_NS and (
            self._last_ns is None or stamp_ns > self._last_ns)

    def _next_ns(self, period_ns: float) -> int:
        """Return the time of a recorded frame by the one before it [ns]."""
        step_ns = 1 if math.isnan(period_ns) else max(1, round(period_ns))
        return 0 if self._last_ns is None else self._last_ns + step_ns

    def _plausible(self, sample: RawFrame) -> bool:
        age_ns = sample.receive_ns - sample.stamp_ns
        rises = self._last_ns is None or sample.stamp_ns > self._last_ns
        return sample.stamp_ns > 0 and rises and -_FUTURE_NS <= age_ns <= _OLDEST_NS

    def _predict(self, sample: RawFrame, period_ns: float) -> int:
        read_out_ns = self.read_out_ns
        latest = sample.receive_ns - (0 if math.isnan(read_out_ns) else int(read_out_ns))
        if self._last_ns is None:
            return latest
        predicted = latest
        if sample.sequence is not None and self._last_sequence is not None:
            steps = sample.sequence - self._last_sequence
            if steps > 0 and not math.isnan(period_ns):
                earliest = self._last_ns + round(steps * period_ns)
                # Between lie the frames that the box never finished, in whole periods, and how
                # late we are: taken for less than 0.8 of a period, which looks the same as
                # another frame, and unknown with another one waiting.
                passed = (latest - earliest) / period_ns + _UNEVEN
                waiting = self._waiting()
                between = 0 if waiting else math.floor(passed)
                if between >= 0:
                    # Too late a guess would make the next frame's own stamp seem to run back.
                    predicted = min(earliest + round(between * period_ns), max(earliest, latest))
                    # A period that is measured a little short must not add up.
                    if not waiting and 0 < latest - predicted < period_ns / 2:
                        predicted += round(_PULL * (latest - predicted))
        return max(predicted, self._last_ns + 1)


def _restamped(sample: RawFrame, stamp_ns: int, stamp_source: StampSource) -> RawFrame:
    """Return a frame with another stamp, the one from the wire beside it."""
    return replace(
        sample, stamp_ns=stamp_ns, stamp_source=stamp_source, wire_stamp_ns=sample.stamp_ns)
