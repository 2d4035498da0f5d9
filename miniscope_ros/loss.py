# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The account of lost frames: how many, before which frame, and how we know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
import math

from miniscope_ros.clock import RunningMedian

_INTERVALS = 101
_TRUSTED_STEPS = 3
_STEADY_SPREAD = 0.2
_STEADY_INTERVALS = 10


class Evidence(IntEnum):
    """How a lost frame is known; the numbers are those of FrameInfo.msg."""

    NONE = 0
    SEQUENCE = 1
    COUNTER = 2
    TIME = 3
    DAMAGED = 4


@dataclass(frozen=True, slots=True)
class FrameLoss:
    """What was lost before one frame."""

    lost: int = 0
    damaged: int = 0
    evidence: Evidence = Evidence.NONE
    edges: int = 0  # of the lost ones those that the box finished: they have a sync edge


@dataclass(slots=True)
class LossTotals:
    """Lost frames of one acquisition by evidence; their sum is the number lost."""

    sequence: int = 0
    counter: int = 0
    time: int = 0
    damaged: int = 0

    @property
    def lost(self) -> int:
        """All of them."""
        return sum(count for _, count in self)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter((('sequence', self.sequence), ('counter', self.counter),
                     ('time', self.time), ('damaged', self.damaged)))


class Period:
    """
    The frame period as measured: the running median of the intervals between stamps.

    The label of a frame rate is never used: a scope set to 20 frames/s was seen at 19.76.
    """

    def __init__(self, seed_ns: float = math.nan) -> None:
        self._intervals = RunningMedian(_INTERVALS)
        if not math.isnan(seed_ns):
            self._intervals.add(seed_ns)
        self._last_ns: int | None = None

    @property
    def ns(self) -> float:
        """The period [ns]; NaN until two frames came."""
        return self._intervals.value

    @property
    def jitter_ns(self) -> float:
        """Half the width of the middle 90 % of the intervals [ns]; NaN while unknown."""
        return (self._intervals.quantile(0.95) - self._intervals.quantile(0.05)) / 2

    @property
    def steady(self) -> bool:
        """Whether the intervals are even enough for a gap in time to mean a loss."""
        spread = self._intervals.quantile(0.9) - self._intervals.quantile(0.1)
        return len(self._intervals) >= _STEADY_INTERVALS and spread < _STEADY_SPREAD * self.ns

    def observe(self, stamp_ns: int) -> None:
        """Take the stamp of a received frame in, whether it is published or not."""
        if self._last_ns is not None and stamp_ns > self._last_ns:
            self._intervals.add(stamp_ns - self._last_ns)
        self._last_ns = stamp_ns

    def restart(self) -> None:
        """Do not count the interval to the next frame: the stream was interrupted."""
        self._last_ns = None

    def forget(self) -> None:
        """Measure anew: the rate was changed."""
        self._intervals.clear()
        self._last_ns = None


@dataclass(slots=True)
class DeviceCounter:
    """
    The device's frame counter, unwrapped, and used only while it behaves like one.

    A counter that stands still (the kernel's cache) or leaps (one's own command word read back,
    a restarted device) is unknown until it has again risen as time did, several times in a row.
    """

    bits: int = 32
    _last: int | None = None
    _wrapped: int = 0
    _good: int = 0

    def step(self, raw: int | None, elapsed: int) -> int | None:
        """
        Return by how much the counter rose since the last frame; None if it cannot be trusted.

        elapsed is the number of periods between the two stamps.
        """
        if raw is None:
            self.restart()
            return None
        step = 0 if self._last is None else (raw - self._last) % (1 << self.bits)
        # One above what time says: a counter read beside the frame may be the next frame's.
        plausible = 0 < step <= elapsed + 1
        if self._last is not None and plausible and raw < self._last:
            self._wrapped += 1 << self.bits
        self._last = raw
        self._good = self._good + 1 if plausible else 0
        return step if self.trusted else None

    @property
    def trusted(self) -> bool:
        """Whether it has behaved like a counter for long enough."""
        return self._good >= _TRUSTED_STEPS

    @property
    def count(self) -> int:
        """The unwrapped count; -1 while it cannot be trusted."""
        return self._wrapped + self._last if self.trusted and self._last is not None else -1

    def restart(self) -> None:
        """Forget the last reading: a new stream begins."""
        self._last = None
        self._good = 0


@dataclass
class LossAccount:
    """
    Counts the frames that the scope took and we did not get.

    Time is always evaluated: a frame that the box never finished shows in nothing else. The
    transport's sequence number and the device's counter name the evidence and can only raise the
    number. Of each frame's losses the ones received damaged are named first, then those that the
    sequence number shows, then the counter's; what is left shows in time alone.
    """

    period: Period
    steady: bool = True  # False: time counts only while the intervals are even
    totals: LossTotals = field(default_factory=LossTotals)
    counter: DeviceCounter = field(default_factory=DeviceCounter)
    _stamp_ns: int | None = None
    _sequence: int | None = None
    _damaged: int = 0

    def damaged(self) -> None:
        """Note a damaged frame; the next good one carries it in its loss."""
        self._damaged += 1

    def observe(self, stamp_ns: int, sequence: int | None, raw_count: int | None) -> None:
        """Take in a good frame that is thrown away: what the next one is compared with."""
        self.counter.step(raw_count, 1)
        self.period.observe(stamp_ns)
        self._stamp_ns, self._sequence = stamp_ns, sequence
        self._damaged = 0

    def frame(self, stamp_ns: int, sequence: int | None, raw_count: int | None) -> FrameLoss:
        """Return what was lost before the frame with this stamp [ns], sequence and counter."""
        by_time = self._by_time(stamp_ns)
        by_sequence = self._by_sequence(sequence)
        step = self.counter.step(raw_count, by_time + 1)
        # Read beside the frame, the counter may run one ahead; time tells that from a loss.
        by_counter = 0 if step is None else min(step - 1, by_time)
        self._stamp_ns, self._sequence = stamp_ns, sequence
        damaged, self._damaged = self._damaged, 0
        self.period.observe(stamp_ns)
        return self._add(damaged, by_sequence, by_counter, by_time)

    def _add(self, damaged: int, by_sequence: int, by_counter: int, by_time: int) -> FrameLoss:
        upto_sequence = max(damaged, by_sequence)
        upto_counter = max(upto_sequence, by_counter)
        lost = max(upto_counter, by_time)
        shares = {
            Evidence.DAMAGED: damaged,
            Evidence.SEQUENCE: upto_sequence - damaged,
            Evidence.COUNTER: upto_counter - upto_sequence,
            Evidence.TIME: lost - upto_counter,
        }
        self.totals.damaged += shares[Evidence.DAMAGED]
        self.totals.sequence += shares[Evidence.SEQUENCE]
        self.totals.counter += shares[Evidence.COUNTER]
        self.totals.time += shares[Evidence.TIME]
        strongest = max((e for e, n in shares.items() if n), default=Evidence.NONE)
        return FrameLoss(lost, damaged, strongest, upto_counter)

    def _by_time(self, stamp_ns: int) -> int:
        period_ns = self.period.ns
        if self._stamp_ns is None or math.isnan(period_ns):
            return 0
        if not self.steady and not self.period.steady:
            return 0
        return max(0, round((stamp_ns - self._stamp_ns) / period_ns) - 1)

    def _by_sequence(self, sequence: int | None) -> int:
        if sequence is None or self._sequence is None:
            return 0
        step = (sequence - self._sequence) % (1 << 32)
        return step - 1 if 0 < step < 1 << 31 else 0

    def begin(self, fresh: bool) -> None:
        """Start a new acquisition; fresh: no frame came before its first one."""
        self.totals = LossTotals()
        self._damaged = 0
        if fresh:
            self._stamp_ns = self._sequence = None
            self.period.restart()
            self.counter.restart()

    def interrupted(self) -> None:
        """Go on after an outage: only time tells what it cost."""
        self._sequence = None
        self.counter.restart()
        self.period.restart()
