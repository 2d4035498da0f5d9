# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The capture thread: takes frames from a source, reconnects a lost device, makes it dark."""

from __future__ import annotations

from collections.abc import Callable
import logging
import time

from miniscope_ros.acquisition.command_queue import CommandQueue
from miniscope_ros.acquisition.events import Listener
from miniscope_ros.acquisition.frame_handler import FrameHandler
from miniscope_ros.acquisition.frame_intake import FrameIntake
from miniscope_ros.acquisition.head_stage_repair import HeadStageRepair
from miniscope_ros.acquisition.light_guard import LightGuard, standing_back
from miniscope_ros.acquisition.reconnect import Reconnector
from miniscope_ros.acquisition.states import CaptureState, CaptureStates
from miniscope_ros.errors import (
    DeviceAbsent,
    DeviceError,
    EndOfData,
    Interrupted,
    MiniscopeError,
    NoLink,
    StreamBroken,
)
from miniscope_ros.model import Reason, SourceInfo
from miniscope_ros.sources.source import Source

_log = logging.getLogger(__name__)

_CLOSE_PATIENCE_S = 2.0  # how long close waits for a device that is disconnected and may be lit
_RESET_S = 10.0  # a loss within this time after a reset is a consequence of the reset
_FAILURE_REST_S = 0.1  # pause after an unforeseen error, which may occur again at once


class CaptureLoop:
    """
    What one capture thread does between open and close; see states for its states.

    run is the body of the thread. A method whose docstring ends with "a job" is called in that
    thread, through commands. When an acquisition ends, LED dark is sent before anything else.
    """

    def __init__(
        self, source: Source, listener: Listener, handler: FrameHandler,
        on_attempt: Callable[[bool], None],
    ) -> None:
        """Do nothing yet; on_attempt is that of LightGuard."""
        self.reconnect = True
        self.commands = CommandQueue()
        self.states = CaptureStates()
        self.intake = FrameIntake(source, handler, self.states)
        self.guard = LightGuard(source, on_attempt)
        self.reconnects = 0
        self._source = source
        self._listener = listener
        self._handler = handler
        self._reconnector = Reconnector()
        self._head_stage = HeadStageRepair(source, handler, self.intake)
        self._closed = False  # close was called; the light may still have to be made dark
        self._reopening = False  # the stream has to be opened again, whatever reconnect says
        self._reset_until = 0.0  # a loss before this monotonic time [s] comes from a hard reset

    def run(self) -> None:
        """Run jobs and take frames until the source is closed and its light is known to be off."""
        self._closed = False
        while not self._closed or self.guard.needed:
            try:
                self._step()
            except BaseException as error:  # whatever ends a thread must not leave the light on
                self._fail(error)
                time.sleep(_FAILURE_REST_S)

    def _step(self) -> None:
        """Run a waiting job; without one take a frame, or try to reconnect or to go dark."""
        job = self._next_job()
        state = self.states.state
        if job is not None:
            job()
        elif state.has_frames:
            self._read()
        elif state.is_disconnected:
            self._try_again()
        else:
            self.guard.attempt()
            self.intake.take_events()
        self._handler.check_clock()

    def _next_job(self) -> Callable[[], None] | None:
        """Return a waiting job or None; wait for a job in states that have no frames."""
        state = self.states.state
        if state.has_frames:
            return self.commands.get(0.0)
        if state.is_disconnected:
            return self.commands.get(self._reconnector.rest)
        return self.commands.get(self.guard.rest)

    def _read(self) -> None:
        try:
            self.intake.read()
            self._head_stage.tend()
        except DeviceError as error:
            self._lose(error)
        except EndOfData:
            _log.info('the recording has been played to its end')
            self.intake.take_events()
            self._stop(CaptureState.ENDED)
        except Interrupted:
            pass  # the program is ending and is about to close the source

    # Jobs

    def open(self) -> SourceInfo:
        """Open the source and set it up in the dark; a job."""
        return self._open_source(Reason.START)

    def activate(self) -> None:
        """Light up; frames are published from now on; a job."""
        states = self.states
        if states.state.is_disconnected and not states.state.is_active:
            raise DeviceError(f'the device is disconnected: {states.reason}; trying to reconnect')
        if states.state.is_active:
            return
        if states.state is CaptureState.FAILED:
            self._open_source(Reason.START)
        try:
            self._light_up(Reason.START)
        except BaseException as error:
            self._handler.flush()
            if isinstance(error, DeviceError):
                self._lose(error)
            else:
                self._go_dark()
            raise
        self._handler.begin_acquisition()
        states.enter(CaptureState.ACTIVE)

    def deactivate(self) -> None:
        """Go dark, publish the last frame; a job."""
        if self.states.state is CaptureState.ACTIVE:
            self._leave()
            self._go_dark()
        elif self.states.state is CaptureState.INTERRUPTED:
            self.states.enter(CaptureState.DISCONNECTED, self.states.reason)
            self._handler.end_acquisition()
            self.guard.warn(self.states.reason)

    def close(self) -> None:
        """End the acquisition, close the source and wait a moment for a lost one; a job."""
        try:
            if self.states.state is CaptureState.ACTIVE:
                self._leave()
            elif self.states.state is CaptureState.INTERRUPTED:
                self._handler.end_acquisition()
        finally:
            self._source.close()
            self.guard.pursue(_CLOSE_PATIENCE_S)
            self.guard.abandon()
            self.states.enter(CaptureState.CLOSED)
            self._closed = True
            self.intake.take_events()

    def set_sync(self, on: bool) -> None:
        """Let the sync output toggle or not; a job."""
        try:
            if self.states.state is CaptureState.ACTIVE:
                # Takes the frame under way, which still counts as it was.
                self._source.set_sync(on)
                self.intake.take_events()
        finally:
            self.intake.sync_output = on

    def hard_reset(self) -> str:
        """Restart the device; a job."""
        done = self._source.hard_reset()
        self._reset_until = time.monotonic() + _RESET_S
        self._reconnector.reset_backoff()
        self.intake.take_events()
        return done

    # Opening and lighting up

    def _open_source(self, reason: Reason) -> SourceInfo:
        """Open the source and set it up, lit if an acquisition goes on."""
        active = self.states.state.is_active
        self._handler.expect_stream(active)
        with standing_back() as others:
            try:
                info = self._source.open(reason)
            finally:
                self.intake.take_events()
        for guard in others:
            if guard.location and guard.location == info.location:
                guard.retire()  # opening has made it dark
        self.guard.location = info.location
        self._handler.begin_stream(info)
        if active:
            self._light_up(reason)
        self.states.enter(CaptureState.ACTIVE if active else CaptureState.INACTIVE)
        return info

    def _light_up(self, reason: Reason) -> None:
        try:
            self.intake.follow_trigger()
            self._source.activate(reason)
            if self.intake.sync_output:
                self._source.set_sync(True)
        finally:
            self.intake.take_events(lighting_up=True)

    # Ending, loss and failures

    def _leave(self) -> None:
        """
        End the acquisition, for which LED dark is sent before anything else.

        Frames that have arrived by then, and the one under way, were taken under the light. They
        are published: the last edge on the sync output is that of the last frame.
        """
        try:
            self._source.dim()
            self.intake.drain()
            if self.intake.sync_output:
                self._source.set_sync(False)
            self.intake.take_events()
        except MiniscopeError as error:
            _log.info('while the last frames were taken: %s', str(error))
            self.intake.take_events()
        except Exception as error:
            self._fail(error)
            return
        self.states.enter(CaptureState.INACTIVE)
        self._handler.end_acquisition()

    def _go_dark(self) -> None:
        """Make the scope dark and stay open; where that fails, the device counts as lost."""
        if self.states.state is not CaptureState.INACTIVE:
            return  # it has failed meanwhile, and was closed
        try:
            self._source.deactivate()
        except MiniscopeError as error:
            self._lose(error)
        self.intake.take_events()

    def _lose(self, error: Exception) -> None:
        """Note that the device is lost, and reconnect unless reconnect is false."""
        # The error itself is not logged: a handler that keeps log records would keep the buffer
        # that the traceback refers to, and so the device's descriptors.
        reason = str(error)
        self.intake.take_events()
        self._close_stream()
        # A stream that has to be opened again does not mean that the device is lost.
        self._reopening = isinstance(error, StreamBroken)
        if not self.reconnect and not self._reopening:
            self._stop(CaptureState.FAILED, reason)
            return
        active = self.states.state.is_active
        self.states.enter(
            CaptureState.INTERRUPTED if active else CaptureState.DISCONNECTED, reason)
        self._reconnector.begin(reason)
        if self._reopening:
            _log.error('%s', reason)
        elif time.monotonic() < self._reset_until:
            _log.info('the device restarts because of the hard reset: %s', reason)
        else:
            _log.error('the device is lost: %s; trying to reconnect', reason)
        if active:
            self._listener.on_interrupted(reason)
        else:
            self.guard.warn(reason)

    def _close_stream(self) -> None:
        """Close the source; frames that it leaves belong to no acquisition."""
        self._source.close()
        self._handler.end_stream()
        self.intake.take_events(closed=True)

    def _try_again(self) -> None:
        if not self.reconnect and not self._reopening:
            self._stop(CaptureState.FAILED, self.states.reason)
            return
        self._reopening = False  # if this attempt fails, the device is lost
        try:
            info = self._open_source(Reason.RESUME)
        except Interrupted:
            self._close_stream()
            self._reconnector.look_soon()
        except DeviceAbsent as error:
            self._put_off(error)
            self._reconnector.look_soon()
        except DeviceError as error:
            if isinstance(error, NoLink) and not self._reconnector.reset_tried:
                self._reconnector.reset_port(self.hard_reset)
            self._put_off(error)
            self._reconnector.look_later()
        else:
            self.reconnects += 1
            _log.info('the device is back at %s', info.path)

    def _put_off(self, error: DeviceError) -> None:
        self._close_stream()
        reason = f'{error}{self._reconnector.hint}'
        self.states.enter(self.states.state, reason)
        if self._reconnector.is_news(reason):
            _log.warning('the device is not back yet: %s', reason)

    def _stop(self, state: CaptureState, failure: str = '') -> None:
        """End the acquisition without a request, and make the node inactive."""
        if failure:
            _log.error('acquisition stopped: %s', failure)
        was = self.states.state
        if was is CaptureState.ACTIVE and state is CaptureState.ENDED:
            self._source.deactivate()
        self.states.enter(state, failure)
        if state is CaptureState.FAILED:
            self.guard.pursue(0.0)
            self.intake.take_events()
        if was.is_active:
            if failure:
                self._listener.on_interrupted(failure)
            self._handler.end_acquisition()
            self._listener.on_stopped()

    def _fail(self, error: BaseException) -> None:
        """Make the scope dark and stop after an unforeseen error."""
        _log.error('the capture thread met an error: %s', error, exc_info=error)
        try:
            self._close_stream()
            if self.states.state is not CaptureState.CLOSED:
                self._stop(CaptureState.FAILED, f'{type(error).__name__}: {error}')
        except Exception as another:
            _log.error('the stop could not be reported: %s', another, exc_info=another)
