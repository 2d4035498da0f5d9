# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What becomes of the frames and control events that a source yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
import logging
import math
import time

from miniscope_ros.acquisition.control_tracking import ControlTracker
from miniscope_ros.acquisition.events import Change, Listener
from miniscope_ros.acquisition.frame_accounting import FrameAccounting
from miniscope_ros.acquisition.frame_content import FrameContent
from miniscope_ros.acquisition.head_stage import HeadStage
from miniscope_ros.acquisition.orientation import OrientationValidator
from miniscope_ros.acquisition.period import Period
from miniscope_ros.acquisition.ros_clock import RosTime
from miniscope_ros.acquisition.states import CaptureState
from miniscope_ros.daq.control import LIGHTS
from miniscope_ros.model import (
    Content,
    ControlEvent,
    Light,
    RawFrame,
    Reason,
    SourceInfo,
    StampSource,
)
from miniscope_ros.sources.source import Source

_log = logging.getLogger(__name__)

_RATE_KNOWN_MS = 5000.0
_RATE_TOLERANCE = 0.05  # share of the set rate by which the measured one may differ
_CLOCK_CHECK_NS = 1_000_000_000


class FrameHandler:
    """
    Accounts for frames and control values, and reports them to the listener.

    The capture thread alone calls it; what status needs may be read in any thread.
    """

    def __init__(
        self, source: Source, listener: Listener, validator: OrientationValidator,
        clock: RosTime,
    ) -> None:
        self.accounting = FrameAccounting(source, clock)
        self.content = FrameContent()
        self.head_stage = HeadStage(_power_on_rate(source))
        self.validator = validator
        self.info: SourceInfo | None = None
        self.received = 0  # good frames since the source was first opened
        self.damaged = 0
        self.last_ns = 0  # stamp of the last good frame
        self.lights: Mapping[str, float] = {}  # as last sent
        self._source = source
        self._listener = listener
        self._clock = clock
        self._tracker = ControlTracker(self._announce)
        self._backlog = -1
        self._inputs = -1
        self._resumed_ns = 0  # when the last value was sent with reason RESUME
        self._rate = math.nan  # as sent
        self._rate_told = False
        self._next_check_ns = 0

    # Streams and acquisitions

    def expect_stream(self, active: bool) -> None:
        """Prepare for another stream; active says whether an acquisition goes on in it."""
        self.accounting.stream_restarted()
        self.validator.reset()
        self.head_stage.begin_stream(watching=False)
        self._inputs = -1
        if not active:
            self._rate = math.nan  # a device that had no power has its own

    def begin_stream(self, info: SourceInfo) -> None:
        """Take what is known of a source that was opened."""
        self.info = info
        self.validator.set_up()
        self.content.begin_stream(info)
        # A source without controls, as a camera, has no head stage that could lose them.
        self.head_stage.begin_stream(
            watching=self._source.is_live and bool(self._source.controls))
        if not math.isnan(info.period_ns):
            self.accounting.loss.period = Period(info.period_ns)
        self._listener.on_info(info)

    def end_stream(self) -> None:
        """Note that the source was closed, and report what no frame shows any more."""
        self.accounting.stream_stopped()
        self.flush()

    def begin_acquisition(self) -> None:
        """Let the next frame be frame_index 0."""
        self.accounting.begin()
        self.content.begin()
        self._rate_told = False
        self._listener.on_started()

    def end_acquisition(self) -> None:
        """Report the control values that no frame shows any more, and the summary."""
        self.flush()
        _log.info('acquisition ended: %s', self.accounting.summary(
            self._listener.display_skipped, self.content.counts))

    def flush(self) -> None:
        """Report the control values that no frame of this stream shows any more."""
        self._tracker.flush()

    # Frames

    def take(
        self, sample: RawFrame, state: CaptureState, *, toggles: bool, discarded: bool = False,
    ) -> None:
        """
        Account for one frame that came in a state, and publish it if that is ACTIVE.

        toggles says whether the sync output is on, discarded whether a command took the frame.
        """
        sample = self.accounting.correct(sample, discarded=discarded)
        self._note_backlog(sample)
        published = state is CaptureState.ACTIVE
        if not state.is_active:  # what an interrupted acquisition lost is counted from its end
            self.accounting.observe_unpublished(sample)
        if sample.damaged:
            self.damaged += 1
            if published:
                self.accounting.loss.damaged()
            return
        self.received += 1
        self.last_ns = sample.stamp_ns
        reading_status = self.validator.check(sample.orientation, sample.stamp_ns)
        if published:
            frame = self.accounting.account(
                sample, reading_status, self.content.check(sample),
                toggles and self._source.has_sync_output)
            frame.content = self.content.overrule(frame.content, self._watch(
                sample, frame.content, frame.capture_index, frame.loss.uncertainty))
            self._tracker.resolve(
                sample.earliest_ns, frame.capture_index, frame.loss.uncertainty)
            frame.settled = self.head_stage.controlled and not self._tracker.pending
            self._listener.on_frame(frame)
            self._report_rate()
        else:
            self._watch(sample)
            if not discarded and self._source.light is Light.DARK:
                self.content.observe_dark(sample)
        if sample.digital_inputs not in (-1, self._inputs):
            self._inputs = sample.digital_inputs
            self._listener.on_inputs(self._inputs, self.accounting.ros_time_ns(sample))

    def _watch(
        self, sample: RawFrame, content: Content = Content.NOT_CHECKED, capture_index: int = -1,
        uncertainty: int = 0,
    ) -> Content:
        """Look for signs that the head stage has restarted; return what a frame shows then."""
        return self.head_stage.observe(
            sample, content=content, lit=self.content.lit,
            brown_out=self.validator.brown_out, capture_index=capture_index,
            uncertainty=uncertainty)

    def begin_repair(self, now_s: float) -> None:
        """Note at a monotonic time [s] that the head stage is about to be set up again."""
        self.head_stage.begin_repair(now_s)
        if self.head_stage.rate_differs:
            self._rate = math.nan  # it has its own, until the one that is wanted is sent
            self.accounting.loss.period.change(round(1e9 * now_s))

    def end_repair(self) -> None:
        """Note that the head stage was set up again: all values were sent."""
        self.head_stage.end_repair(self._resumed_ns)

    def is_high(self, number: int) -> bool:
        """Return whether a digital input was high when it was read last."""
        return self._inputs >= 0 and bool(self._inputs >> number & 1)

    def take_backlog(self) -> int:
        """Return how many frames waited behind another one since the last call; -1 unknown."""
        backlog, self._backlog = self._backlog, min(0, self._backlog)
        return backlog

    def _note_backlog(self, sample: RawFrame) -> None:
        """Note how many frames may wait behind one: so many periods have passed since it began."""
        periods = (sample.receive_ns - sample.stamp_ns) / self.accounting.loss.period.ns
        if sample.stamp_source is StampSource.BUFFER and periods >= 0:
            self._backlog = max(self._backlog, int(periods))

    def _report_rate(self) -> None:
        """Report the measured rate, once an acquisition."""
        measured = self.accounting.rate
        if (self._rate_told or self.accounting.time_ms < _RATE_KNOWN_MS
                or math.isnan(measured)):
            return
        self._rate_told = True
        self._listener.on_sensor_rate(measured)
        rate = self.info.frame_rate if self.info else math.nan
        if abs(measured / rate - 1) > _RATE_TOLERANCE:
            _log.warning(
                'the sensor takes %.2f frames/s, %+.1f %% off the %g that are set',
                measured, 100 * (measured / rate - 1), rate)

    def check_clock(self) -> None:
        """Say, at most once a second, if somebody has set the system clock."""
        now_ns = time.monotonic_ns()
        if now_ns < self._next_check_ns:
            return
        self._next_check_ns = now_ns + _CLOCK_CHECK_NS
        step_ns = self._clock.check()
        if step_ns:
            _log.warning(
                'the system clock was set by %+.3f s; stamps keep to the clock as it was until '
                'the next acquisition', step_ns / 1e9)

    # Controls

    def note_control(
        self, event: ControlEvent, state: CaptureState, *, lighting_up: bool = False,
    ) -> None:
        """
        Take in a value that was sent in a state.

        lighting_up says whether the next frame is the first one that is published.
        """
        if event.first_capture_index is not None:  # played: nothing was sent to a device
            stamp_ns = self._clock.at(event.sent_ns) if event.stamp_ns is None else event.stamp_ns
            self._report(Change(event, stamp_ns, event.first_capture_index))
            return
        if event.control in LIGHTS:
            # A new one each time: diagnostics read it in another thread.
            self.lights = {**self.lights, event.control: event.value}
            self.content.note_lights(self.lights, event.sent_ns, lighting_up=lighting_up)
        if event.reason is Reason.RESUME:
            self._resumed_ns = event.sent_ns
        if event.control == 'frame_rate':
            self.head_stage.note_rate(event.value)
        if event.control == 'frame_rate' and event.value != self._rate:
            self._rate = event.value
            self.accounting.loss.period.change(event.sent_ns)
            if self.info is not None:
                self.info = replace(self.info, frame_rate=event.value)
        if lighting_up or state is CaptureState.ACTIVE:
            self._tracker.add(event, lighting_up=lighting_up)
            return
        if event.reason is not Reason.STOP:
            # What is sent between acquisitions has the time as the system clock has it now.
            self._report(Change(event, self._clock.afresh(event.sent_ns), -1))
        else:
            self._announce(event, -1)

    def _announce(self, event: ControlEvent, first_capture_index: int) -> None:
        self._report(Change(event, self._clock.at(event.sent_ns), first_capture_index))

    def _report(self, change: Change) -> None:
        """Report a change; a listener that fails must not keep the light on."""
        try:
            self._listener.on_change(change)
        except Exception as error:
            _log.error('a control change could not be published: %s', error, exc_info=error)


def _power_on_rate(source: Source) -> float:
    """Return the frame rate of a scope at power-on; NaN for a source without such a control."""
    control = source.controls.get('frame_rate') if source.is_live else None
    return control.start if control is not None else math.nan
