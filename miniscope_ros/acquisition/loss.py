# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The account of lost frames: how many, before which frame, and how we know."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
import math

from miniscope_ros.acquisition.device_counter import DeviceCounter
from miniscope_ros.acquisition.held_loss import HeldLoss
from miniscope_ros.acquisition.period import Period
from miniscope_ros.model import Evidence

_SMOOTHING = 0.4
"""Weight of a new stamp in the smoothed one: less lets drift in, more lets jitter in."""

_NEAR_FRAMES = 4
"""Up to this many periods a smoothed stamp is a better start than one new stamp."""

_ONE_BY_TIME_FRAMES = 2
"""Frames with valid stamps that have to show a loss of one frame: it and the next one."""

_UNSETTLED_FRAMES = 3
"""The same while so few intervals are known that the period may be off by a part of itself."""

_UNCERTAIN_FRAMES = 3
"""
Frames with predicted stamps, or with times of arrival that have been late, that have to show it.

A late computer catches up sooner: at 5 % of late grabs three in a row are one in 8000 frames.
"""

_AGAINST_COUNTER_FRAMES = 10
"""The same of times of arrival, where the recorded counter says that nothing is lost."""

_DISTRUST_FRAMES = 1000
"""For this many frames after a late one, times of arrival are not trusted."""

_LATE_PERIODS = 0.1
"""Periods before its expected time from which on a stamp may be a late one of the frame before."""

_CLEAN_PERIODS = 0.06
"""
Periods by which a stamp may be off the place of a frame and count as that of a frame in time.

At 30 frames/s that is 2 ms: twice what times in whole milliseconds are off.
"""

_CLEAN_JITTERS = 1.8
"""The same in half widths of the intervals' middle 90 %; a quarter of a period at most."""

_LATE_JITTERS = 4.0
"""The same in half widths of the intervals' middle 90 %: 6.6 standard deviations."""

_EVEN_PERIODS = 0.125
"""
Half width of the intervals' middle 90 %, up to which a stamp between two frames shows to be late.

At 60 frames/s that is 1.3 ms of jitter.
"""

_BOUND_JITTER_PERIODS = 0.35
"""Up to this jitter the number of frames in an interval is certain (2 ms at 60 frames/s: 0.2)."""

_TRANSFER_RESTART_NS = 400_000_000
"""The UCLA firmware restarts its transfer when no data came for so long (its own constant)."""


@dataclass(frozen=True, slots=True)
class FrameLoss:
    """What was lost before one frame."""

    lost: int = 0
    damaged: int = 0
    evidence: Evidence = Evidence.NONE
    # Sync edges of frames that were not received; -1 where their number cannot be known.
    edges: int = 0
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


@dataclass(frozen=True, slots=True)
class _Shown:
    """What each kind of evidence shows to be lost before one frame."""

    damaged: int
    sequence: int
    counter: int  # how far the counter is ahead of what was reported; 0 if it is unknown
    time: int  # periods since the last frame, less one; 0 if unknown
    time_error: int  # time may be off by so many
    has_time: bool
    has_sequence: bool
    has_counter: bool
    late: bool  # the stamp is between two frames, further than jitter can put it
    clean: bool  # the stamp is where a frame is due

    @property
    def in_sequence(self) -> int:
        """Return how many frames got a number of the transport and were not received whole."""
        return max(self.damaged, self.sequence)


@dataclass
class LossAccount:
    """
    Counts the frames that the scope took and we did not get.

    Time is always evaluated: a frame that the box never finished shows in nothing else. Only
    while a new frame rate takes effect it is not used (see Period). The transport's sequence
    number and the device's counter name the evidence. They can only raise the number, the counter
    if it is exact: another one may run one ahead. Of each frame's losses the ones received
    damaged are named first, then those that the sequence number shows, then the counter's; what
    is left shows in time alone.

    **Held losses.** A frame whose stamp is late by most of a period looks like one that follows a
    lost frame. A loss of one frame that time alone shows is therefore reported with the next
    frame, if that shows it, too. Losses of several frames, and what is lost before the first frame
    of an acquisition, are reported at once.

    Predicted stamps are late more often, by any time and several in a row: what they alone show is
    reported with the next valid stamp or with the third frame in a row that shows it. The same
    holds for times of arrival (a software's grabs, as recordings have them) once one of them was
    late; where a recorded counter then says that nothing is lost, ten frames in a row have to show
    it. A recorded counter that is ahead for three frames in a row shows a loss that the times do
    not show. Until a loss is reported, the frames carry it as their uncertainty.

    **Glitches.** A frame that interference splits arrives as two, both numbered and both damaged.
    So where the driver's stamps are even, no more frames are lost than fit into the time; the
    sync output has an edge for each number all the same.

    **Long gaps.** An error of the period counts once a period. Over a long gap the period is the
    slope of a line through the last stamps (see StampLine), and the loss carries the bound of its
    error; a sequence number or counter within that bound decides.
    """

    period: Period
    # False: the rate may follow the light, and time counts only while the intervals are even.
    steady: bool = True
    numbered: bool = False  # the sequence number shows every loss: time is not used
    totals: LossTotals = field(default_factory=LossTotals)
    counter: DeviceCounter = field(default_factory=DeviceCounter)
    _smooth_ns: float | None = None  # when the last frame was due: its stamp without its jitter
    _sequence: int | None = None
    _damaged: int = 0
    _ahead: int = 0  # by how much the counter rose more than what was received and reported
    _by_time: HeldLoss = field(default_factory=HeldLoss)
    _by_counter: HeldLoss = field(default_factory=HeldLoss)
    _distrust: int = 0  # frames for which times of arrival are still taken for unreliable
    _is_first: bool = False  # the next frame is the first one of an acquisition
    _outage_ns: int | None = None  # the last frame was that of another stream, closed so long

    def damaged(self) -> None:
        """Count a damaged frame; the next good one carries it in its loss."""
        self._damaged += 1
        self.totals = replace(self.totals, damaged=self.totals.damaged + 1)

    def observe(self, stamp_ns: int, sequence: int | None, raw_count: int | None) -> None:
        """Take in a frame that is not published: the next one is compared with it."""
        totals = self.totals
        self.frame(stamp_ns, sequence, raw_count)
        self.totals = totals

    def frame(
        self, stamp_ns: int, sequence: int | None, raw_count: int | None, *,
        predicted: bool = False, arrival: bool = False,
    ) -> FrameLoss:
        """
        Account for one frame.

        Parameters
        ----------
        stamp_ns
            The frame's stamp [ns], on any clock that does not run back.
        sequence
            The transport's number of the frame (32 bits); None unknown.
        raw_count
            The device's counter as read; None if it was not read.
        predicted
            Whether the stamp is derived from the frame's arrival.
        arrival
            Whether the stamp is the time at which a program received the frame.

        Returns
        -------
        FrameLoss
            What was lost before the frame, as far as it is to be reported with it.

        """
        damaged, self._damaged = self._damaged, 0
        shown = self._show(stamp_ns, sequence, raw_count, damaged)
        certain = self._certain(shown)
        unconfirmed = 0
        if self._outage_ns is not None:
            lost = max(certain, shown.time)
        elif not shown.has_time and self.steady:
            # The rate changes: nothing will show whether a held loss is real.
            unconfirmed = self._by_time.pending
            lost = certain + unconfirmed
            self._by_time.clear()
        else:
            lost = self._decide(shown, certain, predicted=predicted, arrival=arrival)
            if shown.has_time and not predicted and not arrival and self._bounds:
                lost = min(lost, shown.time) if shown.in_sequence else lost
        loss = self._report(shown, lost, unconfirmed)
        self._outage_ns = None
        self._is_first = False
        self._count_on(shown, raw_count, lost)
        self._compare_with(stamp_ns, sequence, shown, lost)
        return loss

    # What is shown

    def _show(
        self, stamp_ns: int, sequence: int | None, raw_count: int | None, damaged: int,
    ) -> _Shown:
        by_sequence = self._steps(sequence)
        elapsed, error = self._elapsed(stamp_ns)
        time = 0 if math.isnan(elapsed) else max(0, round(elapsed) - 1)
        time_error = 0
        if error:
            time_error = max(math.floor(elapsed + error) - 1 - time,
                             time - (math.ceil(elapsed - error) - 1), 0)
        step = self.counter.step(raw_count, time + time_error + 1)
        counter = 0 if step is None else max(0, self._ahead + step - 1)
        if time_error:
            # The numbers decide, if their answer is possible.
            finished = max(damaged, by_sequence, counter)
            if abs(finished - time) <= time_error:
                time = finished
        late = elapsed > 0 and not error and round(elapsed) - elapsed > self._late_periods
        return _Shown(damaged, by_sequence, counter, time, time_error,
                      has_time=not math.isnan(elapsed),
                      has_sequence=sequence is not None and self._sequence is not None,
                      has_counter=step is not None, late=late,
                      clean=time > 0 and self._is_clean(stamp_ns))

    def _is_clean(self, stamp_ns: int) -> bool:
        """Return whether a frame is due at the time of a stamp."""
        if self._smooth_ns is None:
            return False
        fit = self.period.fit
        period_ns = self.period.ns if fit is None else fit.period_ns
        periods = (stamp_ns - self._smooth_ns) / period_ns
        jitter_ns = self.period.usual_jitter_ns
        limit = max(_CLEAN_PERIODS, min(_CLEAN_JITTERS * jitter_ns / period_ns, 0.25))
        return abs(round(periods) - periods) < limit

    def _elapsed(self, stamp_ns: int) -> tuple[float, float]:
        """Return the periods from the last frame to a stamp, NaN unknown, and their error."""
        if self._smooth_ns is None or self.numbered or not (self.steady or self.period.steady):
            return math.nan, 0.0
        return self.period.count(self._smooth_ns, stamp_ns)

    def _steps(self, sequence: int | None) -> int:
        """Return how many numbers of the transport are missing before one."""
        if sequence is None or self._sequence is None:
            return 0
        step = (sequence - self._sequence) % (1 << 32)
        return step - 1 if 0 < step < 1 << 31 else 0

    @property
    def _late_periods(self) -> float:
        jitter = self.period.jitter_ns / self.period.ns
        return max(_LATE_PERIODS, _LATE_JITTERS * jitter) if jitter >= 0 else math.inf

    @property
    def _bounds(self) -> bool:
        """Whether the intervals are known so well that they limit the number of frames."""
        period = self.period
        return (self.steady and not self.numbered and period.settled
                and period.jitter_ns < _BOUND_JITTER_PERIODS * period.ns)

    # What is reported

    def _certain(self, shown: _Shown) -> int:
        """Return how many losses need no frame that agrees."""
        certain = shown.in_sequence
        if self.counter.exact:
            return max(certain, shown.counter)
        # Read beside the frame, it may be one ahead; time shows whether that is a loss.
        return max(certain, min(self._counted(shown), shown.time))

    def _counted(self, shown: _Shown) -> int:
        """Return how many losses are to be put down to the counter, if no number shows them."""
        # Read beside the frame it may be ahead just then; the sequence number knows better.
        return shown.counter if self.counter.exact or not shown.has_sequence else 0

    def _decide(self, shown: _Shown, certain: int, *, predicted: bool, arrival: bool) -> int:
        """Return how many losses to report; the others that are shown are held."""
        excess = shown.time - certain
        if arrival and excess <= 0 and self._by_time.pending:
            self._distrust = _DISTRUST_FRAMES
        self._distrust = max(0, self._distrust - 1)
        if predicted:
            needed = _UNCERTAIN_FRAMES
        elif self._is_first:
            needed = 1
        elif arrival:
            needed = self._needed_arrivals(shown)
        elif self._by_time.new(excess) > 1 and not shown.late:
            needed = 1
        elif not self.period.settled:
            needed = _UNSETTLED_FRAMES
        else:
            needed = _ONE_BY_TIME_FRAMES
        agreed = self._agree(excess, needed, clear=self._is_clear(
            shown, predicted=predicted, arrival=arrival))
        if not arrival or not shown.has_counter:
            self._by_counter.clear()
            return certain + agreed
        ahead = self._by_counter.add(shown.counter - certain, _UNCERTAIN_FRAMES)
        self._by_counter.report(max(0, agreed - ahead))
        self._by_time.report(max(0, ahead - agreed))
        return certain + max(agreed, ahead)

    def _needed_arrivals(self, shown: _Shown) -> int:
        """Return how many times of arrival have to agree."""
        if shown.has_counter and shown.counter < shown.time:
            return _AGAINST_COUNTER_FRAMES
        return _UNCERTAIN_FRAMES if self._distrust else _ONE_BY_TIME_FRAMES

    def _is_clear(self, shown: _Shown, *, predicted: bool, arrival: bool) -> bool:
        """Return whether a frame's stamp cannot be known to be a late one."""
        period = self.period
        if shown.clean or predicted or not period.settled:
            return True
        if arrival:
            return shown.has_counter and shown.counter < shown.time  # which is believed more
        return period.usual_jitter_ns > _EVEN_PERIODS * period.ns

    def _agree(self, excess: int, needed: int, *, clear: bool) -> int:
        if needed > 1:
            return self._by_time.add(excess, needed, clear=clear)
        self._by_time.clear()
        return max(0, excess)

    def _report(self, shown: _Shown, lost: int, unconfirmed: int) -> FrameLoss:
        """Give each lost frame to the plainest evidence that there is of it."""
        damaged = min(shown.damaged, lost)
        in_sequence = min(shown.in_sequence, lost)
        finished = max(in_sequence, min(self._counted(shown), lost))
        totals = self.totals  # damaged ones are in it already
        self.totals = LossTotals(
            sequence=totals.sequence + in_sequence - damaged,
            counter=totals.counter + finished - in_sequence,
            time=totals.time + lost - finished,
            damaged=totals.damaged + damaged - shown.damaged)
        if damaged:
            evidence = Evidence.DAMAGED
        elif lost > finished:
            evidence = Evidence.TIME
        elif finished > in_sequence:
            evidence = Evidence.COUNTER
        else:
            evidence = Evidence.SEQUENCE if lost else Evidence.NONE
        edges = self._edges(shown, lost, max(finished, shown.in_sequence))
        uncertainty = max(unconfirmed, self._uncertainty(shown, lost))
        if not (lost or edges or uncertainty):
            return _NOTHING
        return FrameLoss(lost, damaged, evidence, edges, uncertainty)

    def _edges(self, shown: _Shown, lost: int, finished: int) -> int:
        """
        Return how many edges the sync output made for frames that were not received.

        When the box has restarted its transfer, the frame that this cut short has a number and no
        edge, and one more frame may have an edge and no number. Then only the counter is right.
        """
        unnumbered = lost - shown.in_sequence
        restarted = unnumbered > 0 and (unnumbered + 1) * self.period.ns >= _TRANSFER_RESTART_NS
        if not restarted or self._outage_ns is not None:
            return finished
        return min(shown.counter, lost) if shown.has_counter else -1

    def _uncertainty(self, shown: _Shown, lost: int) -> int:
        held = max(self._by_time.pending, self._by_counter.pending)
        error = shown.time_error
        if self._outage_ns and not math.isnan(self.period.ns):
            error = max(error, min(lost, math.ceil(self._outage_ns / self.period.ns)))
        return max(held, error)

    # What the next frame is compared with

    def _count_on(self, shown: _Shown, raw_count: int | None, lost: int) -> None:
        if shown.has_counter:
            self._ahead = max(0, shown.counter - lost)
        elif raw_count is None:
            self._ahead -= lost + 1
        else:
            self._ahead = 0

    def _compare_with(
        self, stamp_ns: int, sequence: int | None, shown: _Shown, lost: int,
    ) -> None:
        period_ns = self.period.until(stamp_ns)
        steps = lost + 1
        held = self._by_time.pending
        early_ns = math.nan
        if self._smooth_ns is not None and steps <= _NEAR_FRAMES:
            early_ns = self._smooth_ns + steps * period_ns - stamp_ns
        # An interval has the jitter of two stamps, unless the first one's is smoothed out.
        if held and not math.isnan(early_ns):
            # The stamp may be late: what is used of it is by how much it is off a frame's place.
            off_ns = early_ns + held * period_ns if shown.clean else 0.0
            self._smooth_ns = stamp_ns + early_ns - _SMOOTHING * off_ns
        elif abs(early_ns) < period_ns / 2:
            self._smooth_ns = stamp_ns + (1 - _SMOOTHING) * early_ns
        else:
            self._smooth_ns = stamp_ns - held * period_ns if held else stamp_ns
        # What the sequence shows as lost is no reason to take the period for longer.
        self.period.observe(stamp_ns, 1 + shown.sequence)
        self.period.place(None if held else stamp_ns, steps)
        self._sequence = sequence

    def begin(self, fresh: bool) -> None:
        """Start a new acquisition; fresh: no frame came before its first one."""
        self.totals = LossTotals()
        self._damaged = 0
        if self._smooth_ns is not None and self._by_time.pending:
            # A loss that was held before the first frame is none of this acquisition.
            self._smooth_ns += self._by_time.pending * self.period.ns
        self._forget_held()
        self._is_first = True
        if fresh:
            self._smooth_ns = self._sequence = None
            self.period.restart()
            self.counter.restart()

    def _forget_held(self) -> None:
        self._by_time.clear()
        self._by_counter.clear()
        self._ahead = 0

    def stream_restarted(self, closed_ns: int = 0) -> None:
        """
        Go on with another stream: only time shows what was lost until its first frame.

        closed_ns is how long no stream was open [ns]. Whether the scope took frames in that time
        is not known, and the loss carries it as uncertainty.
        """
        self._sequence = None
        self._forget_held()
        self._outage_ns = closed_ns
        self.counter.restart()
        self.period.restart()
