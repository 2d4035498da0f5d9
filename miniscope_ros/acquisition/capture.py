# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The capture loop: takes frames from a source, has them told, recovers what comes loose."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from dataclasses import replace
from functools import partial
import logging
import math
from threading import Event, Thread
import time
from typing import TypeVar

from miniscope_ros.acquisition.command_queue import CommandQueue
from miniscope_ros.acquisition.control_tracking import ControlTracker
from miniscope_ros.acquisition.events import Change, Listener, Status
from miniscope_ros.acquisition.frame_accounting import FrameAccounting
from miniscope_ros.acquisition.light_guard import close_dark
from miniscope_ros.acquisition.orientation import OrientationValidator
from miniscope_ros.acquisition.period import Period
from miniscope_ros.acquisition.reconnect import Reconnector
from miniscope_ros.acquisition.ros_clock import RosTime
from miniscope_ros.daq.control import LIGHTS
from miniscope_ros.errors import (
    DeviceAbsent,
    DeviceError,
    EndOfData,
    Interrupted,
    MiniscopeError,
    NoLink,
)
from miniscope_ros.model import (
    ControlEvent,
    RawFrame,
    Reason,
    SourceInfo,
    StampSource,
)
from miniscope_ros.sources.source import Source

_log = logging.getLogger(__name__)

_SLICE = 0.1
_RETURN = 2.0  # for a device that is away at closing and may be lit
_RATE_KNOWN_MS = 5000.0
_RATE_TOLERANCE = 0.05
_CLOCK_CHECK_NS = 1_000_000_000
_RESET_S = 10.0  # within which a box that is reset is lost
_DRAIN = 64

T = TypeVar('T')


class CaptureEngine:
    """
    One source, one thread, from open to close.

    The capture thread alone touches the source. open, activate, deactivate and close may be
    called from any other thread, one at a time; they return when done and raise what went wrong.
    status may be called at any time.
    """

    def __init__(
        self,
        source: Source,
        listener: Listener,
        validator: OrientationValidator,
        *,
        clock: RosTime | None = None,
    ) -> None:
        self.reconnect = True
        self.sync_output = True  # switch with set_sync once it is open
        self._source = source
        self._listener = listener
        self._validator = validator
        self._clock = clock or RosTime()
        self._accounting = FrameAccounting(source, self._clock)
        self._control_tracker = ControlTracker(self._announce)
        self._commands = CommandQueue()
        self._thread: Thread | None = None
        self._running = Event()
        self._info: SourceInfo | None = None
        self._connected = False  # frames can be read; lit if active
        self._active = False
        self._lighting_up = False
        self._ended = False
        self._reconnector = Reconnector()
        self._failure: str | None = None
        self._reinitialised = False
        self._reset_until = 0.0  # monotonic [s]; a loss until then is the reset that was asked for
        self._reconnects = 0
        self._received = 0
        self._damaged = 0
        self._backlog = -1
        self._last_ns = 0
        self._inputs = -1
        self._rate = math.nan  # as sent
        self._lights: dict[str, float] = {}  # the same
        self._rate_told = False
        self._next_check_ns = 0
        source.on_control = self._on_control
        source.on_discarded = self._take

    # What the node asks for

    def open(self) -> SourceInfo:
        """Start the capture thread, open the source and set it up in the dark."""
        # A program may end by an exception of its own, with the scope open.
        atexit.register(self.close)
        self._running.set()
        self._thread = Thread(target=self._run, name='capture', daemon=True)
        self._thread.start()
        try:
            return self._call(partial(self._open_source, Reason.START))
        except BaseException:
            self.close()
            raise

    def activate(self) -> None:
        """Light up; frames are published from now on."""
        self._call(self._activate)

    def deactivate(self) -> None:
        """Publish the last frame, make the scope dark and see that it is."""
        self._call(self._deactivate)

    def close(self) -> None:
        """Deactivate if need be, close the source and end the thread."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        atexit.unregister(self.close)
        try:
            self._commands.call(thread, self._close_source)
        finally:
            thread.join()

    def hard_reset(self) -> None:
        """Restart the device; it is lost and recovered. DeviceError if that is impossible."""
        self._reset_until = time.monotonic() + _RESET_S
        try:
            self._call(self._hard_reset)
        except BaseException:
            self._reset_until = 0.0
            raise

    def set_sync(self, on: bool) -> None:
        """Let the sync output toggle or not, at once while active."""
        if self._thread is None:
            self.sync_output = on
        else:
            self._call(partial(self._apply_sync, on))

    def status(self) -> Status:
        """Return a snapshot; its backlog is the largest since the last one."""
        accounting = self._accounting
        backlog, self._backlog = self._backlog, min(0, self._backlog)
        return Status(
            state=self._state(), error=self._failure or self._reconnector.disconnected or '',
            info=self._info,
            received=self._received, damaged=self._damaged, backlog=backlog,
            published=accounting.published,
            losses=accounting.loss.totals, duration_s=accounting.time_ms / 1e3,
            reconnects=self._reconnects, period_ns=1e9 / accounting.rate,
            jitter_ns=accounting.loss.period.jitter_ns,
            bad_stamps=accounting.timestamps.invalid_count, clock=self._clock.state,
            orientation=self._validator.health(
                time.monotonic_ns() if self._source.is_live else self._last_ns),
            may_be_lit=self._source.may_be_lit, lights=self._lights)

    def _state(self) -> str:
        if self._failure is not None:
            return 'failed'
        if self._reconnector.disconnected is not None:
            return 'away'
        if self._ended:
            return 'ended'
        if self._thread is None:
            return 'closed'
        return 'active' if self._active else 'inactive'

    # The capture thread

    def _call(self, job: Callable[[], T]) -> T:
        if self._thread is None:
            raise DeviceError('the device is not open; configure the node first')
        return self._commands.call(self._thread, job)

    def _run(self) -> None:
        while self._running.is_set():
            try:
                self._step()
            except BaseException as error:  # whatever ends a thread must not leave the light on
                self._fail(error)

    def _step(self) -> None:
        """Run a job that waits, else take one frame, else look for the lost device."""
        job = self._next_job()
        if job is not None:
            job()
        elif self._connected:
            self._read()
        elif self._reconnector.disconnected is not None:
            self._try_again()
        self._check_clock()

    def _next_job(self) -> Callable[[], None] | None:
        """Return a job that waits; where no frames can be read, wait for one."""
        if self._connected:
            return self._commands.get(0.0)
        reconnector = self._reconnector
        return self._commands.get(None if reconnector.disconnected is None else reconnector.rest)

    def _read(self) -> None:
        try:
            sample = self._source.read(_SLICE)
            if sample is not None:
                self._take(sample)
            self._reinitialise_head_stage()
        except DeviceError as error:
            self._lose(error)
        except EndOfData:
            _log.info('the recording has been played to its end')
            self._ended = True
            self._stop_by_itself(None)
        except Interrupted:
            pass  # whoever ends the program is about to close us

    # Jobs

    def _open_source(self, reason: Reason) -> SourceInfo:
        """Open the source and set it up, lit if active."""
        self._accounting.stream_restarted()
        self._validator.reset()
        if not self._active:
            self._rate = math.nan  # a device that had no power has its own
        self._reinitialised = False
        self._inputs = -1
        info = self._info = self._source.open(reason)
        self._validator.set_up()
        if not math.isnan(info.period_ns):
            self._accounting.loss.period = Period(info.period_ns)
        self._listener.on_info(info)
        if self._active:
            self._light_up(reason)
        self._connected = True
        self._reconnector.end()
        self._failure = None
        self._ended = False
        return info

    def _close_source(self) -> None:
        self._running.clear()
        try:
            self._deactivate()
        finally:
            self._reconnector.end()
            self._failure = None
            self._shut(_RETURN)

    def _activate(self) -> None:
        if self._active:
            return
        if not self._connected:
            away = self._reconnector.disconnected
            if away is not None:
                raise DeviceError(f'the device is away: {away}; it is being looked for')
            self._open_source(Reason.START)
        try:
            self._light_up(Reason.START)
        except BaseException as error:
            self._control_tracker.flush()
            if isinstance(error, DeviceError):
                self._lose(error)
            else:
                self._go_dark()
            raise
        self._accounting.begin()
        self._ended = self._rate_told = False
        self._listener.on_sensor_rate(math.nan)
        self._active = True

    def _light_up(self, reason: Reason) -> None:
        self._lighting_up = True
        try:
            self._source.activate(reason)
            if self.sync_output:
                self._source.set_sync(True)
        finally:
            self._lighting_up = False

    def _deactivate(self) -> None:
        if not self._active:
            return
        try:
            if self._connected:
                self._drain()
                if self.sync_output:
                    self._source.set_sync(False)
        except MiniscopeError as error:
            _log.info('while the last frames were taken: %s', error)
        except Exception as error:
            self._fail(error)
            return
        self._leave()

    def _drain(self) -> None:
        """Publish what has arrived already: the last edge on the sync output is the last frame."""
        for _ in range(_DRAIN):
            sample = self._source.read(0.0) if self._source.waiting() else None
            if sample is None:
                return
            self._take(sample)

    def _leave(self) -> None:
        """Publish no more, and go dark."""
        self._active = False
        self._control_tracker.flush()
        self._go_dark()
        _log.info(
            'acquisition ended: %s', self._accounting.summary(self._listener.display_skipped))

    def _go_dark(self) -> None:
        """Make the scope dark and stay open; where that fails, look for the device again."""
        if self._connected:
            try:
                self._source.deactivate()
            except MiniscopeError as error:
                self._lose(error)
        away = self._reconnector.disconnected
        if away is not None and self._source.may_be_lit and self._running.is_set():
            _log.error('THE LIGHT MAY STILL BE ON: %s; the device is made dark as soon as it can '
                       'be opened again', away)

    def _shut(self, patience: float = 0.0) -> None:
        self._connected = False
        close_dark(self._source, patience)

    def _apply_sync(self, on: bool) -> None:
        try:
            if self._active and self._connected:
                # Takes the frame under way, which still counts as it was.
                self._source.set_sync(on)
        finally:
            self.sync_output = on

    def _hard_reset(self) -> None:
        self._source.hard_reset()
        self._reconnector.reset_backoff()

    # Loss of the device, and failures

    def _lose(self, error: Exception) -> None:
        """Note that the device is gone, and look for it unless that is not wanted."""
        self._connected = False
        self._control_tracker.flush()
        if not self._running.is_set():
            self._source.close()
            _log.error('the device is lost: %s', error)
            return
        if not self.reconnect:
            self._shut()
            self._stop_by_itself(str(error))
            return
        self._source.close()
        self._reconnector.begin(str(error))
        asked = time.monotonic() < self._reset_until
        self._reset_until = 0.0
        level = logging.INFO if asked else logging.ERROR
        _log.log(level, 'the device is lost: %s; looking for it',
                 f'{error}, as was asked for' if asked else self._reconnector.disconnected)

    def _try_again(self) -> None:
        try:
            info = self._open_source(Reason.RESUME)
        except Interrupted:
            self._source.close()
            self._reconnector.look_soon()
        except DeviceAbsent as error:
            self._put_off(error)
            self._reconnector.look_soon()
        except DeviceError as error:
            if isinstance(error, NoLink) and not self._reconnector.reset_tried:
                self._reset_port()
            self._put_off(error)
            self._reconnector.look_later()
        else:
            self._reconnects += 1
            _log.info('the device is back at %s', info.path)

    def _put_off(self, error: DeviceError) -> None:
        self._source.close()
        self._control_tracker.flush()
        if not self.reconnect:
            self._shut()
            self._stop_by_itself(str(error))
            return
        away = f'{error}{self._reconnector.hint}'
        if self._reconnector.disconnected != away:
            self._reconnector.disconnected = away
            light = '; THE LIGHT MAY STILL BE ON' if self._source.may_be_lit else ''
            _log.warning('the device is not back yet: %s%s', away, light)

    def _reset_port(self) -> None:
        """Restart a box that opens but sends nothing, once an outage: it may be frozen."""
        self._reconnector.reset_tried = True
        try:
            self._hard_reset()
        except MiniscopeError as error:
            self._reconnector.hint = f'; its USB port could not be reset: {error}'
        else:
            _log.warning('the USB port of the device was reset')

    def _fail(self, error: BaseException) -> None:
        """Go dark and stop because of what nobody has foreseen."""
        _log.error('the capture thread met an error: %s', error, exc_info=error)
        try:
            self._shut()
        except Exception as another:
            _log.error('THE LIGHT MAY STILL BE ON: %s', another, exc_info=another)
        try:
            self._stop_by_itself(f'{type(error).__name__}: {error}')
        except Exception as another:
            _log.error('nobody could be told that it stopped: %s', another, exc_info=another)

    def _stop_by_itself(self, failure: str | None) -> None:
        """End the acquisition from within and have the node leave the active state."""
        self._failure = failure
        self._reconnector.end()
        if failure is not None:
            _log.error('acquisition stopped: %s', failure)
        if self._active:
            self._leave()
            self._listener.on_stopped()

    # Frames

    def _take(self, sample: RawFrame) -> None:
        """Account for one frame, and publish it if it is to be published."""
        self._accounting.correct(sample)
        self._note_backlog(sample)
        if not self._active:
            self._accounting.observe_unpublished(sample)
        if sample.damaged:
            self._damaged += 1
            if self._active and self._connected:
                self._accounting.loss.damaged()
            return
        self._received += 1
        self._last_ns = sample.stamp_ns
        reading_status = self._validator.check(
            sample.orientation or sample.quaternion, sample.stamp_ns)
        if self._active and self._connected:
            toggles = self.sync_output and self._source.has_sync_output
            frame = self._accounting.account(sample, reading_status, toggles)
            self._control_tracker.resolve(sample.stamp_ns, frame.capture_index)
            self._listener.on_frame(frame)
            self._tell_rate()
        if sample.digital_inputs not in (-1, self._inputs):
            self._inputs = sample.digital_inputs
            self._listener.on_inputs(self._inputs, self._accounting.ros_time_ns(sample))

    def _note_backlog(self, sample: RawFrame) -> None:
        """Note how many frames may wait behind one: so many periods have passed since it began."""
        periods = (sample.receive_ns - sample.stamp_ns) / self._accounting.loss.period.ns
        if sample.stamp_source is StampSource.BUFFER and periods >= 0:
            self._backlog = max(self._backlog, int(periods))

    def _tell_rate(self) -> None:
        """Tell the measured rate, once an acquisition."""
        measured = self._accounting.rate
        if self._rate_told or self._accounting.time_ms < _RATE_KNOWN_MS or math.isnan(measured):
            return
        self._rate_told = True
        self._listener.on_sensor_rate(measured)
        rate = self._info.frame_rate if self._info else math.nan
        if abs(measured / rate - 1) > _RATE_TOLERANCE:
            _log.warning(
                'the sensor takes %.2f frames/s, %+.1f %% off the %g that are set',
                measured, 100 * (measured / rate - 1), rate)

    def _reinitialise_head_stage(self) -> None:
        """Set the orientation sensor up again, once a stream, after a brown-out of the scope."""
        if self._validator.brown_out and not self._reinitialised:
            self._reinitialised = True
            _log.warning('the orientation sensor reads all zero: sending the init list again')
            self._source.reinitialise_head_stage()

    def _check_clock(self) -> None:
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

    def _on_control(self, event: ControlEvent) -> None:
        if event.control in LIGHTS:
            # A new one each time: diagnostics read it in another thread.
            self._lights = {**self._lights, event.control: event.value}
        if event.control == 'frame_rate' and event.value != self._rate:
            self._rate = event.value
            self._accounting.loss.period.change(event.sent_ns)
            if self._info is not None:
                self._info = replace(self._info, frame_rate=event.value)
        if self._lighting_up or (self._active and self._connected):
            self._control_tracker.add(event, lighting_up=self._lighting_up)
        else:
            self._announce(event, -1)

    def _announce(self, event: ControlEvent, first_capture_index: int) -> None:
        """Tell of a change; whoever cannot be told must not keep the light on."""
        change = Change(event, self._clock.at(event.sent_ns), first_capture_index)
        try:
            self._listener.on_change(change)
        except Exception as error:
            _log.error('a control change could not be published: %s', error, exc_info=error)
