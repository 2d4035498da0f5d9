# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""One time: stamps on the monotonic clock, mended where bad, and their place on the ROS clock."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
import math
import time

from miniscope_ros.sources.sample import Sample, StampSource

STEP_NS = 1_000_000
"""A jump of the system clock that is worth a word [ns]."""

_BRACKETS = 8
_OLDEST_NS = 20_000_000_000
_FUTURE_NS = 1_000_000
_PULL = 0.1  # part of the way to the arrival by which a predicted stamp is moved
_UNEVEN = 0.2  # periods, by which stamps may be off their places


class RunningMedian:
    """Median of the last values, kept sorted: O(log n) to find, no arrays per frame."""

    def __init__(self, length: int) -> None:
        self.value = math.nan  # the median; asked for several times a frame
        self._length = length
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._order)

    def add(self, value: float) -> None:
        """Take one value in; the oldest goes when there are more than length."""
        self._order.append(value)
        insort(self._sorted, value)
        if len(self._order) > self._length:
            del self._sorted[bisect_left(self._sorted, self._order.popleft())]
        self.value = self.quantile(0.5)

    def quantile(self, share: float) -> float:
        """Return the value below which that share lies; NaN while there is none."""
        values = self._sorted
        return values[int(share * (len(values) - 1) + 0.5)] if values else math.nan

    def clear(self) -> None:
        """Forget all."""
        self._order = deque()
        self._sorted = []
        self.value = math.nan


@dataclass(frozen=True)
class ClockState:
    """What diagnostics tell of the two clocks."""

    offset_ns: int  # system minus monotonic, as the running acquisition uses it
    drift_ns: int  # what the system clock would say now, minus that
    steps: int  # of the system clock since the acquisition began


class RosTime:
    """
    The offset from the monotonic clock to the ROS (system) clock.

    It is taken when an acquisition starts and kept until the next one, so that stamps neither
    jump nor run backwards when somebody sets the computer's clock.
    """

    def __init__(
        self,
        system_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._system_ns = system_ns
        self._monotonic_ns = monotonic_ns
        self._offset_ns = self._last_ns = self._measure()
        self._steps = 0

    def _measure(self) -> int:
        """Return system minus monotonic [ns], of several bracketed reads the tightest one."""
        best_width, best_offset = None, 0
        for _ in range(_BRACKETS):
            before = self._monotonic_ns()
            system = self._system_ns()
            after = self._monotonic_ns()
            if best_width is None or after - before < best_width:
                best_width, best_offset = after - before, system - (before + after) // 2
        return best_offset

    def start(self) -> None:
        """Take the offset anew: an acquisition begins."""
        self._offset_ns = self._last_ns = self._measure()
        self._steps = 0

    def check(self) -> int:
        """Return by how much the system clock was stepped since the last check [ns], or 0."""
        now = self._measure()
        step, self._last_ns = now - self._last_ns, now
        if abs(step) <= STEP_NS:
            return 0
        self._steps += 1
        return step

    def at(self, monotonic_ns: int) -> int:
        """Return the ROS time of a monotonic one [ns]."""
        return monotonic_ns + self._offset_ns

    @property
    def state(self) -> ClockState:
        """Return the offset in use and what became of the system clock since."""
        return ClockState(self._offset_ns, self._last_ns - self._offset_ns, self._steps)


class FollowedTime(RosTime):
    """A ROS clock that runs at a pace of its own (use_sim_time): now is all that can be asked."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        super().__init__()
        self._now_ns = now_ns
        self._tick_ns = self._asked = 0

    def check(self) -> int:
        """Return 0: such a clock may be set at any time."""
        return 0

    def at(self, monotonic_ns: int) -> int:
        """
        Return the ROS time now [ns]: that of what has just happened.

        No two answers are equal, even if the clock ticks more slowly than frames come.
        """
        now_ns = self._now_ns()
        self._asked = self._asked + 1 if now_ns == self._tick_ns else 0
        self._tick_ns = now_ns
        return now_ns + self._asked


class StampMender:
    """
    Replaces unusable stamps by a prediction, so that time always rises and never leaps.

    A stamp is unusable when it is zero, not later than the one before, later than the frame's
    arrival, or older than any buffer ring can hold; or when there is none, but others had one.
    """

    def __init__(self, waiting: Callable[[], bool] = lambda: False) -> None:
        """Begin; waiting tells whether another frame is ready already."""
        self.bad = 0
        self._waiting = waiting
        self._latency = RunningMedian(31)
        self._last_ns: int | None = None
        self._last_sequence: int | None = None

    def restart(self) -> None:
        """Forget the sequence: a new stream begins. Time still must not run backwards."""
        self._last_sequence = None

    def forget(self) -> None:
        """Begin from nothing: the timeline itself is a new one."""
        self._last_ns = self._last_sequence = None
        self._latency.clear()

    @property
    def read_out_ns(self) -> float:
        """
        Return how long a frame takes from its stamp to its arrival [ns]; NaN unknown.

        It is about the least of late: a busy host adds to it, and nothing takes away.
        """
        return self._latency.quantile(0.1)

    def mend(self, sample: Sample, period_ns: float) -> None:
        """Check a sample's stamp and replace it where it is bad; period_ns may be NaN."""
        if sample.stamp_source is not StampSource.RECORDED:
            if sample.stamp_source is StampSource.ARRIVAL and not self._latency:
                sample.stamp_ns = max(sample.receive_ns, (self._last_ns or 0) + 1)
            elif self._plausible(sample):
                self._latency.add(sample.receive_ns - sample.stamp_ns)
            else:
                self.bad += 1
                sample.stamp_ns = self._predict(sample, period_ns)
                sample.stamp_source = StampSource.PREDICTED
        self._last_ns = sample.stamp_ns
        self._last_sequence = sample.sequence

    def _plausible(self, sample: Sample) -> bool:
        age_ns = sample.receive_ns - sample.stamp_ns
        rises = self._last_ns is None or sample.stamp_ns > self._last_ns
        return sample.stamp_ns > 0 and rises and -_FUTURE_NS <= age_ns <= _OLDEST_NS

    def _predict(self, sample: Sample, period_ns: float) -> int:
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
                # late we are: taken for less than 0.8 of a period, which cannot be told from
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
