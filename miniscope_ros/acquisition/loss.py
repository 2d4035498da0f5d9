# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The account of lost frames: how many, before which frame, and how we know."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
import math

from miniscope_ros.acquisition.device_counter import DeviceCounter
from miniscope_ros.acquisition.period import Period
from miniscope_ros.model import Evidence

_SMOOTHING = 0.4
_GUESSES = 3  # that must agree: a late host catches up sooner


@dataclass(frozen=True, slots=True)
class FrameLoss:
    """What was lost before one frame."""

    lost: int = 0
    damaged: int = 0
    evidence: Evidence = Evidence.NONE
    edges: int = 0  # of the lost ones those that the box finished: they have a sync edge
    uncertainty: int = 0  # lost may be off by so many


_NOTHING = FrameLoss()


@dataclass(frozen=True, slots=True)
class LossTotals:
    """Lost frames of one acquisition by evidence; their sum is the number lost."""

    sequence: int = 0
    counter: int = 0
    time: int = 0
    damaged: int = 0

    @property
    def lost(self) -> int:
        """Return the number of all of them."""
        return self.sequence + self.counter + self.time + self.damaged


@dataclass
class LossAccount:
    """
    Counts the frames that the scope took and we did not get.

    Time is always evaluated: a frame that the box never finished shows in nothing else. Only
    while a new frame rate takes effect it tells nothing (see Period). The transport's sequence
    number and the device's counter name the evidence and can only raise the number, the counter
    if it is exact: another one may run one ahead. Of each frame's losses the ones received
    damaged are named first, then those that the sequence number shows, then the counter's; what
    is left shows in time alone.

    A predicted stamp is a guess from a frame's arrival, and a late host looks like a lost frame.
    So what such a stamp alone shows is told by the next real one, or by the third guess in a row
    that shows it.
    """

    period: Period
    steady: bool = True  # False: time counts only while the intervals are even
    totals: LossTotals = field(default_factory=LossTotals)
    counter: DeviceCounter = field(default_factory=DeviceCounter)
    _smooth_ns: float | None = None  # stamp of the last frame, its jitter smoothed out
    _sequence: int | None = None
    _damaged: int = 0
    _guessed: list[int] = field(default_factory=list)  # lost as guesses in a row have it, untold
    _outage: bool = False  # before the next frame: it must be told of, even by a guess

    def damaged(self) -> None:
        """Count a damaged frame; the next good one carries it in its loss."""
        self._damaged += 1
        self.totals = replace(self.totals, damaged=self.totals.damaged + 1)

    def observe(self, stamp_ns: int, sequence: int | None, raw_count: int | None) -> None:
        """Take in a frame that is thrown away: what the next one is compared with."""
        by_time = self._by_time(stamp_ns)
        self._outage = False
        self.counter.step(raw_count, by_time + 1)
        self._compare_with(stamp_ns, sequence, by_time)

    def frame(
        self, stamp_ns: int, sequence: int | None, raw_count: int | None, *,
        predicted: bool = False,
    ) -> FrameLoss:
        """Return what was lost before the frame with this stamp [ns], sequence and counter."""
        damaged, self._damaged = self._damaged, 0
        by_time = self._by_time(stamp_ns)
        by_sequence = self._by_sequence(sequence)
        step = self.counter.step(raw_count, by_time + 1)
        by_counter = 0 if step is None else step - 1
        certain = max(damaged, by_sequence, by_counter if self.counter.exact else 0)
        if predicted and by_time > certain and not self._outage:
            untold = by_time - certain - self._agreed(by_time - certain)
            by_time -= untold
            stamp_ns -= round(untold * self.period.ns)  # so that the next frame shows it
        else:
            self._guessed.clear()
        self._outage = False
        if not self.counter.exact:
            # Read beside the frame, it may run one ahead; time tells that from a loss.
            by_counter = min(by_counter, by_time)
        self._compare_with(stamp_ns, sequence, by_time)
        return self._add(damaged, by_sequence, by_counter, by_time)

    def _agreed(self, lost: int) -> int:
        """Return how many of the frames that a guess shows as lost enough others show, too."""
        self._guessed.append(lost)
        if len(self._guessed) < _GUESSES:
            return 0
        agreed = min(self._guessed)
        self._guessed.clear()
        return agreed

    def _compare_with(self, stamp_ns: int, sequence: int | None, by_time: int) -> None:
        period_ns = self.period.until(stamp_ns)
        early_ns = math.nan
        if self._smooth_ns is not None and not by_time:
            early_ns = self._smooth_ns + period_ns - stamp_ns
        # An interval has the jitter of two stamps, unless the first one's is smoothed out.
        near = abs(early_ns) < period_ns / 2
        self._smooth_ns = stamp_ns + (1 - _SMOOTHING) * early_ns if near else stamp_ns
        # What the sequence shows as lost is no reason to take the period for longer.
        self.period.observe(stamp_ns, 1 + self._by_sequence(sequence))
        self._sequence = sequence

    def _add(self, damaged: int, by_sequence: int, by_counter: int, by_time: int) -> FrameLoss:
        """Give each lost frame to the plainest evidence that there is of it."""
        in_sequence = max(damaged, by_sequence)
        finished = max(in_sequence, by_counter)
        lost = max(finished, by_time)
        if not lost:
            return _NOTHING
        totals = self.totals  # damaged ones are in it already
        self.totals = replace(
            totals,
            sequence=totals.sequence + in_sequence - damaged,
            counter=totals.counter + finished - in_sequence,
            time=totals.time + lost - finished)
        if damaged:
            evidence = Evidence.DAMAGED
        elif lost > finished:
            evidence = Evidence.TIME
        elif finished > in_sequence:
            evidence = Evidence.COUNTER
        else:
            evidence = Evidence.SEQUENCE
        return FrameLoss(lost, damaged, evidence, finished)

    def _by_time(self, stamp_ns: int) -> int:
        period_ns = self.period.until(stamp_ns)
        if self._smooth_ns is None or math.isnan(period_ns):
            return 0
        if not self.steady and not self.period.steady:
            return 0
        return max(0, round((stamp_ns - self._smooth_ns) / period_ns) - 1)

    def _by_sequence(self, sequence: int | None) -> int:
        if sequence is None or self._sequence is None:
            return 0
        step = (sequence - self._sequence) % (1 << 32)
        return step - 1 if 0 < step < 1 << 31 else 0

    def begin(self, fresh: bool) -> None:
        """Start a new acquisition; fresh: no frame came before its first one."""
        self.totals = LossTotals()
        self._damaged = 0
        self._guessed.clear()
        if fresh:
            self._smooth_ns = self._sequence = None
            self.period.restart()
            self.counter.restart()

    def stream_restarted(self) -> None:
        """Go on with another stream: time alone tells what was lost until its first frame."""
        self._sequence = None
        self._guessed.clear()
        self._outage = True
        self.counter.restart()
        self.period.restart()
