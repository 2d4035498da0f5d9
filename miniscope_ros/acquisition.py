# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The capture loop: takes frames from a source, accounts for them, recovers what comes loose."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
import logging
import math
from queue import Empty, SimpleQueue
from threading import Event, Thread
import time
from typing import Protocol, TypeVar

from miniscope_ros.clock import ClockState, RosTime, StampMender
from miniscope_ros.errors import DeviceAbsent, DeviceError, EndOfData, Interrupted, MiniscopeError
from miniscope_ros.loss import FrameLoss, LossAccount, LossTotals, Period
from miniscope_ros.orientation import Health, OrientationJudge, Verdict
from miniscope_ros.sources.sample import ControlEvent, Reason, Sample, Source, SourceInfo

_log = logging.getLogger(__name__)

_SLICE = 0.1
_LOOK_AGAIN = 0.25
_LONGEST_BACKOFF = 5.0
_RATE_KNOWN_MS = 5000.0
_RATE_TOLERANCE = 0.05
_CLOCK_CHECK_NS = 1_000_000_000
_DRAIN = 64

T = TypeVar('T')


@dataclass(slots=True)
class Frame:
    """One frame to publish, with the account of it."""

    sample: Sample
    stamp_ns: int  # ROS clock
    receive_ns: int  # ROS clock
    frame_index: int
    capture_index: int
    loss: FrameLoss
    device_frame_count: int
    sync_edge: int
    verdict: Verdict
    time_ms: float
    rate: float  # measured [frames/s]; NaN while unknown
    waiting: Callable[[], bool]  # whether another frame is ready already


@dataclass(frozen=True)
class Change:
    """A control value that was sent, and the first frame wholly under it."""

    event: ControlEvent
    stamp_ns: int  # ROS clock
    first_capture_index: int  # -1 while inactive


class Listener(Protocol):
    """
    Who is told what happens.

    Called in the capture thread; must not block, and not call back into the acquisition.
    """

    display_skipped: int  # display frames of this acquisition not made because another waited

    def on_info(self, info: SourceInfo) -> None:
        """Take what is known of the source; called whenever it was opened."""
        ...

    def on_frame(self, frame: Frame) -> None:
        """Publish a frame; its image is valid until return."""
        ...

    def on_change(self, change: Change) -> None:
        """Publish a control value that was sent."""
        ...

    def on_inputs(self, levels: int, stamp_ns: int) -> None:
        """Publish new levels of the digital inputs; called when they changed."""
        ...

    def on_sensor_rate(self, rate: float) -> None:
        """Take the measured frame rate [frames/s]; NaN at the start of an acquisition."""
        ...

    def on_stopped(self) -> None:
        """Leave the active state: the acquisition has ended by itself."""
        ...


@dataclass(frozen=True)
class Status:
    """A snapshot for diagnostics."""

    state: str  # closed, inactive, active, away (waiting for the device), failed, ended
    error: str  # why it is away or failed
    info: SourceInfo | None
    received: int  # good frames since configuration, published or not
    published: int  # of the running or last acquisition, as the next four
    captured: int
    losses: LossTotals
    damaged: int
    duration_s: float
    reconnects: int
    period_ns: float
    jitter_ns: float
    bad_stamps: int
    clock: ClockState
    orientation: Health
    may_be_lit: bool


class Acquisition:
    """
    One source, one thread, from open to close.

    The capture thread alone touches the source. open, activate, deactivate and close may be
    called from any other thread, one at a time; they return when done and raise what went wrong.
    """

    def __init__(
        self,
        source: Source,
        listener: Listener,
        judge: OrientationJudge,
        *,
        clock: RosTime | None = None,
    ) -> None:
        self.reconnect = True
        self.sync_output = True
        self._source = source
        self._listener = listener
        self._judge = judge
        self._clock = clock or RosTime()
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread: Thread | None = None
        self._running = Event()
        self._info: SourceInfo | None = None
        self._connected = False
        self._active = False
        self._activating = False
        self._ended = False
        self._away: str | None = None
        self._failure: str | None = None
        self._next_try = 0.0
        self._backoff = _LOOK_AGAIN
        self._revived = False
        self._reconnects = 0
        self._received = 0
        self._last_ns = 0
        self._inputs = -1
        self._mender = StampMender()
        self._account = LossAccount(Period(), steady=source.steady)
        self._rate: float | None = None
        self._unsettled: list[tuple[ControlEvent, bool]] = []
        self._next_check_ns = 0
        self._begin()
        source.on_control = self._on_control
        source.on_thrown = self._take

    # What the node asks for

    def open(self) -> SourceInfo:
        """Start the capture thread, open the source and set it up in the dark."""
        self._running.set()
        self._thread = Thread(target=self._run, name='capture', daemon=True)
        self._thread.start()
        try:
            self._call(self._open_source)
        except BaseException:
            self.close()
            raise
        assert self._info is not None
        return self._info

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
        try:
            self._post(self._close_source).result()
        finally:
            thread.join()

    def hard_reset(self) -> None:
        """Restart the device; it is lost and recovered. DeviceError if that is impossible."""
        self._call(self._source.hard_reset)

    def set_sync(self, on: bool) -> None:
        """Let the sync output toggle or not, at once while active."""
        self.sync_output = on
        if self._thread is not None:
            self._call(self._apply_sync)

    def status(self) -> Status:
        """Return a snapshot."""
        account = self._account
        return Status(
            state=self._state(), error=self._failure or self._away or '', info=self._info,
            received=self._received, published=self._frame_index, captured=self._capture_index,
            losses=account.totals, damaged=self._damaged,
            duration_s=self._time_ms / 1e3, reconnects=self._reconnects,
            period_ns=account.period.ns, jitter_ns=account.period.jitter_ns,
            bad_stamps=self._mender.bad, clock=self._clock.state,
            orientation=self._judge.health(
                time.monotonic_ns() if self._source.live else self._last_ns),
            may_be_lit=self._source.may_be_lit)

    def _state(self) -> str:
        if self._failure is not None:
            return 'failed'
        if self._away is not None:
            return 'away'
        if self._ended:
            return 'ended'
        if self._thread is None:
            return 'closed'
        return 'active' if self._active else 'inactive'

    # The capture thread

    def _post(self, job: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)

        self._jobs.put(run)
        return future

    def _call(self, job: Callable[[], T]) -> T:
        if self._thread is None:
            raise DeviceError('the device is not open; configure the node first')
        return self._post(job).result()

    def _run(self) -> None:
        while self._running.is_set():
            try:
                self._step()
            except DeviceError as error:
                self._lose(error)
            except EndOfData:
                self._end()
            except Exception as error:
                self._fail(error)

    def _step(self) -> None:
        """Run a job that waits, else take one frame, else look for the lost device."""
        try:
            wait = 0.0 if self._connected else self._until_next_try()
            job = self._jobs.get(wait > 0, wait or None)
        except Empty:
            job = None
        if job is not None:
            job()
        elif self._connected:
            sample = self._source.read(_SLICE)
            if sample is not None:
                self._take(sample)
            self._revive()
            self._check_clock()
        elif self._away is not None:
            self._try_again()

    def _until_next_try(self) -> float:
        if self._away is None:
            return _LONGEST_BACKOFF
        return max(self._next_try - time.monotonic(), 0.0)

    # Jobs

    def _open_source(self) -> None:
        self._account.interrupted()
        self._mender.restart()
        self._judge.reset()
        self._revived = False
        self._inputs = -1
        reason = Reason.START if self._away is None else Reason.RESUME
        info = self._source.open(reason)
        if not math.isnan(info.period_ns):
            self._account.period = Period(info.period_ns)
        self._info = info
        self._connected = True
        self._away = self._failure = None
        self._ended = False
        self._backoff = _LOOK_AGAIN
        self._listener.on_info(info)

    def _close_source(self) -> None:
        try:
            self._deactivate()
        finally:
            self._connected = False
            self._away = self._failure = None
            self._running.clear()
            self._shut()

    def _activate(self) -> None:
        if self._active:
            return
        if not self._connected:
            if self._away is not None:
                raise DeviceError(f'the device is away: {self._away}; it is being looked for')
            self._open_source()
        try:
            if not self._source.live:
                self._mender.forget()
            self._light_up(Reason.START)
        except BaseException as error:
            self._unsettled.clear()
            if isinstance(error, DeviceError):
                self._lose(error)
            else:
                self._go_dark()
            raise
        self._begin()
        self._active = True

    def _light_up(self, reason: Reason) -> None:
        self._activating = True
        try:
            self._source.activate(reason)
            if self.sync_output:
                self._source.set_sync(True)
        finally:
            self._activating = False

    def _begin(self) -> None:
        """Start counting: the next frame is frame_index 0."""
        self._clock.start()
        self._account.begin(fresh=not self._source.live)
        self._frame_index = self._capture_index = 0
        self._damaged = 0
        self._stamp0_ns: int | None = None
        self._time_ms = 0.0
        self._rate_told = False
        self._ended = False
        self._edges = 0
        self._edges_known = True
        self._listener.on_sensor_rate(math.nan)

    def _deactivate(self) -> None:
        if not self._active:
            self._failure = None
            return
        try:
            if self._connected:
                self._drain()
                if self.sync_output:
                    self._source.set_sync(False)
        except (DeviceError, EndOfData) as error:
            _log.info('while the last frames were taken: %s', error)
        finally:
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
        for event, _ in self._unsettled:
            self._listener.on_change(Change(event, self._clock.at(event.sent_ns), -1))
        self._unsettled.clear()
        self._go_dark()
        self._report()

    def _go_dark(self) -> None:
        """Make the scope dark and stay open; where that fails, look for the device again."""
        if not self._connected:
            return
        try:
            self._source.deactivate()
        except MiniscopeError as error:
            self._lose(error)

    def _shut(self) -> None:
        """Close the source; open a dead one once more if the light may be on."""
        self._connected = False
        self._source.close()
        if not self._source.may_be_lit:
            return
        try:
            self._source.make_dark()
        except Exception as error:
            _log.error('THE LIGHT MAY STILL BE ON: %s', error)

    def _apply_sync(self) -> None:
        if self._active and self._connected:
            self._source.set_sync(self.sync_output)

    # Loss of the device, and failures

    def _lose(self, error: Exception) -> None:
        """Note that the device is gone, and look for it unless that is not wanted."""
        self._connected = False
        if not self.reconnect:
            self._shut()
            self._stop_by_itself(f'{error} (not looked for again: reconnect is off)')
            return
        self._source.close()
        _log.error('the device is lost: %s; looking for it', error)
        self._away = str(error)
        self._next_try = time.monotonic() + _LOOK_AGAIN

    def _try_again(self) -> None:
        try:
            self._open_source()
            if self._active:
                self._light_up(Reason.RESUME)
                # How often the box toggled until it went is not known.
                self._edges_known = False
        except Interrupted:
            self._next_try = time.monotonic() + _LOOK_AGAIN
            return
        except DeviceAbsent as error:
            self._put_off(error, _LOOK_AGAIN)
            return
        except DeviceError as error:
            self._put_off(error, self._backoff)
            self._backoff = min(2 * self._backoff, _LONGEST_BACKOFF)
            return
        self._reconnects += 1
        _log.info('the device is back at %s', self._info.path if self._info else '?')

    def _put_off(self, error: DeviceError, seconds: float) -> None:
        self._source.close()
        if self._away != str(error):
            self._away = str(error)
            light = '; THE LIGHT MAY STILL BE ON' if self._source.may_be_lit else ''
            _log.warning('the device is not back yet: %s%s', error, light)
        self._next_try = time.monotonic() + seconds

    def _end(self) -> None:
        _log.info('the recording has been played to its end')
        self._ended = True
        self._stop_by_itself(None)

    def _fail(self, error: Exception) -> None:
        _log.error('the capture thread met an error: %s', error, exc_info=error)
        self._shut()
        self._stop_by_itself(f'{type(error).__name__}: {error}')

    def _stop_by_itself(self, failure: str | None) -> None:
        """End the acquisition from within and have the node leave the active state."""
        self._failure, self._away = failure, None
        if failure is not None:
            _log.error('acquisition stopped: %s', failure)
        if self._active:
            self._leave()
            self._listener.on_stopped()

    # Frames

    def _take(self, sample: Sample) -> None:
        """Account for one frame, and publish it if it is to be published."""
        if sample.damaged:
            self._damaged += 1
            self._account.damaged()
            return
        self._received += 1
        self._mender.mend(sample, self._account.period.ns)
        self._last_ns = sample.stamp_ns
        self._account.counter.bits = sample.device_count_bits
        verdict = self._judge.judge(sample.orientation or sample.quaternion, sample.stamp_ns)
        if self._active and not self._activating:
            self._publish(sample, verdict)
        else:
            self._account.observe(sample.stamp_ns, sample.sequence, sample.device_count)
        if sample.digital_inputs != self._inputs:
            self._inputs = sample.digital_inputs
            self._listener.on_inputs(self._inputs, self._ros_time(sample))

    def _publish(self, sample: Sample, verdict: Verdict) -> None:
        loss = self._account.frame(sample.stamp_ns, sample.sequence, sample.device_count)
        if self._stamp0_ns is None:
            self._stamp0_ns = sample.stamp_ns
        self._capture_index += loss.lost
        self._time_ms = (sample.stamp_ns - self._stamp0_ns) / 1e6
        self._edges += loss.edges
        frame = Frame(
            sample=sample, stamp_ns=self._ros_time(sample),
            receive_ns=self._clock.at(sample.receive_ns),
            frame_index=self._frame_index, capture_index=self._capture_index, loss=loss,
            device_frame_count=self._account.counter.count,
            sync_edge=self._edges if self.sync_output and self._edges_known else -1,
            verdict=verdict, time_ms=self._time_ms, rate=1e9 / self._account.period.ns,
            waiting=self._source.waiting)
        self._settle_changes(sample.stamp_ns)
        self._listener.on_frame(frame)
        self._frame_index += 1
        self._capture_index += 1
        self._edges += 1
        if not self._rate_told and self._time_ms >= _RATE_KNOWN_MS:
            self._tell_rate()

    def _ros_time(self, sample: Sample) -> int:
        own = self._source.ros_time_ns(sample)
        return self._clock.at(sample.stamp_ns) if own is None else own

    def _tell_rate(self) -> None:
        self._rate_told = True
        measured = 1e9 / self._account.period.ns
        self._listener.on_sensor_rate(measured)
        rate = self._rate or (self._info.frame_rate if self._info else math.nan)
        if abs(measured / rate - 1) > _RATE_TOLERANCE:
            _log.warning(
                'the sensor takes %.2f frames/s, %+.1f %% off the %g that are set',
                measured, 100 * (measured / rate - 1), rate)

    def _revive(self) -> None:
        """Set the orientation sensor up again, once a stream, after a brown-out of the scope."""
        if self._judge.brown_out and not self._revived:
            self._revived = True
            _log.warning('the orientation sensor reads all zero: sending the init list again')
            self._source.revive()

    def _check_clock(self) -> None:
        now_ns = time.monotonic_ns()
        if now_ns < self._next_check_ns:
            return
        self._next_check_ns = now_ns + _CLOCK_CHECK_NS
        step_ns = self._clock.check()
        if step_ns:
            _log.warning(
                'the system clock was set by %+.3f s; the stamps of this acquisition keep to the '
                'clock as it was at its start', step_ns / 1e9)

    def _report(self) -> None:
        totals = self._account.totals
        evidence = ', '.join(f'{count} by {name}' for name, count in totals)
        rate = (self._frame_index - 1) / self._time_ms * 1e3 if self._time_ms else math.nan
        _log.info(
            'acquisition ended: %d frames captured = %d published + %d lost (%s); %d damaged; '
            'display skipped %d; %.1f s, %.3f frames/s on average', self._capture_index,
            self._frame_index, totals.lost, evidence, self._damaged,
            self._listener.display_skipped, self._time_ms / 1e3, rate)

    # Controls

    def _on_control(self, event: ControlEvent) -> None:
        if event.control == 'frame_rate' and event.value != self._rate:
            self._rate = event.value
            self._account.period.forget()
        if self._active or self._activating:
            self._unsettled.append((event, self._activating))
        else:
            self._listener.on_change(Change(event, self._clock.at(event.sent_ns), -1))

    def _settle_changes(self, stamp_ns: int) -> None:
        """
        Publish the changes whose first whole frame is known now.

        A packet runs at the end of the frame during which it was sent or of the next one, and
        changes the exposure of the frame after that in its middle. So two frames after the first
        one that began later than the sending, the value holds for certain. What activation sends
        holds from its first frame on.
        """
        if not self._unsettled:
            return
        waiting: list[tuple[ControlEvent, bool]] = []
        for event, activation in self._unsettled:
            if activation or event.sent_ns <= stamp_ns:
                first = self._capture_index + (0 if activation else 2)
                self._listener.on_change(Change(event, self._clock.at(event.sent_ns), first))
            else:
                waiting.append((event, activation))
        self._unsettled = waiting
