# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The capture engine: one source, one thread, from open to close."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from threading import Thread
import time
from typing import TypeVar

from miniscope_ros.acquisition.capture_loop import CaptureLoop
from miniscope_ros.acquisition.events import Listener, Status
from miniscope_ros.acquisition.frame_handler import FrameHandler
from miniscope_ros.acquisition.orientation import OrientationValidator
from miniscope_ros.acquisition.ros_clock import RosTime
from miniscope_ros.acquisition.states import CaptureState
from miniscope_ros.errors import DeviceError
from miniscope_ros.model import Light, SourceInfo
from miniscope_ros.sources.source import Source

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
        on_attempt: Callable[[bool], None] = lambda dark: None,
    ) -> None:
        """
        Open nothing yet.

        Parameters
        ----------
        source : Source
            Where the frames come from.
        listener : Listener
            Gets frames and events; it is called in the capture thread.
        validator : OrientationValidator
            Says which orientation readings may be published.
        clock : RosTime, optional
            Gives the ROS time of a monotonic time.
        on_attempt : callable
            Is called in the capture thread after each attempt to make the device dark after
            close, with True if it is dark now.

        """
        self._source = source
        self._clock = clock or RosTime()
        self._validator = validator
        self._handler = FrameHandler(source, listener, validator, self._clock)
        self._loop = CaptureLoop(source, listener, self._handler, on_attempt)
        self._thread: Thread | None = None  # None: closed; it may go on to make the device dark
        self._last_thread: Thread | None = None

    @property
    def reconnect(self) -> bool:
        """Return whether a lost device is looked for; set it at any time."""
        return self._loop.reconnect

    @reconnect.setter
    def reconnect(self, wanted: bool) -> None:
        self._loop.reconnect = wanted

    @property
    def sync_output(self) -> bool:
        """Return whether the sync output toggles; switch with set_sync once it is open."""
        return self._loop.intake.sync_output

    @sync_output.setter
    def sync_output(self, on: bool) -> None:
        self._loop.intake.sync_output = on

    @property
    def light_input(self) -> int | None:
        """Return the digital input that switches the light; None: none. Set it at any time."""
        return self._loop.intake.light_input

    @light_input.setter
    def light_input(self, number: int | None) -> None:
        self._loop.intake.light_input = number

    @property
    def light(self) -> Light:
        """Return what is known of the light, also after closing."""
        return self._source.light

    def open(self) -> SourceInfo:
        """
        Start the capture thread, open the source and set it up in the dark.

        Raises what the source's open raises, and is closed then.
        """
        self.end_pursuit()
        # A program may end by an exception of its own, with the scope open.
        atexit.register(self.close)
        self._thread = self._last_thread = Thread(
            target=self._loop.run, name='capture', daemon=True)
        self._thread.start()
        try:
            return self._call(self._loop.open)
        except BaseException:
            self.close()
            raise

    def activate(self) -> None:
        """Light up; frames are published from now on."""
        self._call(self._loop.activate)

    def deactivate(self) -> None:
        """Make the scope dark, publish the last frame and see that it is dark."""
        self._call(self._loop.deactivate)

    def close(self) -> None:
        """
        Deactivate if it is active, and close the source.

        The thread ends with it, unless the light may be on: then it goes on trying to make the
        device dark, for as long as the program runs (see light_guard.possibly_lit).
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        atexit.unregister(self.close)
        try:
            self._loop.commands.call(thread, self._loop.close)
        finally:
            if not self._loop.guard.needed:
                thread.join()

    def end_pursuit(self) -> None:
        """Give up making the device of a closed engine dark, if it is still being tried."""
        thread, self._last_thread = self._last_thread, None
        if thread is not None and thread.is_alive():
            self._loop.guard.retire()
            self._loop.commands.wake()
            thread.join()
        self._loop.guard.resume()

    def hard_reset(self) -> str:
        """
        Restart the device, which is lost and recovered; return in words what was done.

        DeviceError if that is impossible.
        """
        return self._call(self._loop.hard_reset)

    def set_sync(self, on: bool) -> None:
        """Let the sync output toggle or not, at once while active."""
        if self._thread is None:
            self.sync_output = on
        else:
            self._call(lambda: self._loop.set_sync(on))

    @property
    def state(self) -> CaptureState:
        """Return the state it is in; in any thread."""
        return self._loop.states.state

    def status(self) -> Status:
        """Return a snapshot; its backlog is the largest since the last one."""
        accounting, handler, states = self._handler.accounting, self._handler, self._loop.states
        return Status(
            state=states.state, error=states.reason, info=handler.info,
            received=handler.received, damaged=handler.damaged, backlog=handler.take_backlog(),
            published=accounting.published,
            losses=accounting.loss.totals, duration_s=accounting.time_ms / 1e3,
            reconnects=self._loop.reconnects, period_ns=1e9 / accounting.rate,
            jitter_ns=accounting.loss.period.jitter_ns,
            bad_stamps=accounting.timestamps.invalid_count, clock=self._clock.state,
            orientation=self._validator.health(
                time.monotonic_ns() if self._source.is_live else handler.last_ns),
            light=self._source.light, lights=handler.lights,
            restarts=handler.head_stage.restarts, restart_error=handler.head_stage.error,
            contents=handler.content.counts)

    def _call(self, job: Callable[[], T]) -> T:
        if self._thread is None:
            raise DeviceError('the device is not open; configure the node first')
        return self._loop.commands.call(self._thread, job)
