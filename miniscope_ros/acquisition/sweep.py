# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A sweep: one control set to one value after the other, with frames wholly under each."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition
import time

from miniscope_ros.acquisition.events import Change
from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.acquisition.sweep_frames import SweepFrames, SweepStep
from miniscope_ros.acquisition.sweep_plan import SweepPlan
from miniscope_ros.daq.control import show
from miniscope_ros.errors import MiniscopeError
from miniscope_ros.model import Reason


class SweepEnded(MiniscopeError):
    """A sweep has ended before its last value; the text says why."""


class Sweep:
    """
    One sweep, during an acquisition.

    run sets the values and waits, in a thread of its own. on_frame, on_change and on_interrupted
    are those of a Listener and are called in the capture thread; they only add frames up. end may
    be called in any thread. However the sweep ends, the old value is restored at once, and no
    other value is set after that.
    """

    def __init__(
        self, plan: SweepPlan, set_value: Callable[[float], None], restore: Callable[[], None],
    ) -> None:
        """
        Set nothing yet.

        set_value sends a value of the control, restore sends the one that is to hold after the
        sweep. Both return at once (Source.set_value, for one).
        """
        self.plan = plan
        self._set_value = set_value
        self._restore = restore
        self._changed = Condition()
        self._begun_ns: int | None = None  # CLOCK_MONOTONIC, when the first value was set
        self._first_known = False  # the first value is in force
        self._frames: SweepFrames | None = None  # of the value that is being taken
        self._reason: str | None = None  # why it is over; empty: it is complete

    # In a thread of its own

    def run(self, on_step: Callable[[SweepStep], None]) -> None:
        """
        Take all values; on_step is called with what was taken under each of them.

        Returns when the last one was taken and the old value is restored. Raises SweepEnded
        with the reason of end, or what on_step raises.
        """
        try:
            for value in self.plan.values:
                on_step(self._take(value))
            self.end('')
        except BaseException as error:
            self.end(f'{type(error).__name__}: {error}')
            raise
        if self._reason:
            raise SweepEnded(self._reason)

    def _take(self, value: float) -> SweepStep:
        """Set a value and return what was taken under it."""
        plan = self.plan
        frames = SweepFrames(plan.control, value, plan.frames, keep_all=plan.keep_all)
        with self._changed:
            if self._reason is None:
                self._frames = frames
                if self._begun_ns is None:
                    self._begun_ns = time.monotonic_ns()
                self._set_value(value)
                self._changed.wait_for(lambda: frames.complete or self._reason is not None)
            self._frames = None
            if self._reason is not None:
                raise SweepEnded(self._reason)
        return frames.result()

    # In any thread

    def end(self, reason: str) -> None:
        """End it, if it goes on, and restore the old value; an empty reason: it is complete."""
        with self._changed:
            if self._reason is None:
                self._reason = reason
                self._restore()
                self._changed.notify_all()

    # In the capture thread

    def on_frame(self, frame: Frame) -> None:
        """Add a published frame, if it is wholly under the value; see Listener."""
        with self._changed:
            if self._frames is None or self._reason is not None:
                return
            try:
                self._frames.add(frame)
            except MiniscopeError as error:
                self.end(str(error))
            except Exception as error:  # nothing here is to end the acquisition
                self.end(f'{type(error).__name__}: {error}')
            if self._frames.complete:
                self._changed.notify_all()

    def on_change(self, change: Change) -> None:
        """
        Take in which frame is the first one wholly under a value; see Listener.

        Whatever else is sent ends the sweep: its frames could not be compared. What was set
        before it may still be sent before its first value.
        """
        event = change.event
        with self._changed:
            if self._begun_ns is None or event.sent_ns < self._begun_ns:
                return
            own = event.control == self.plan.control
            if event.reason is not Reason.USER:
                self.end('the controls of the scope were sent again, for it had lost them')
            elif own and self._frames is not None and event.value == self._frames.value:
                if change.first_capture_index >= 0:
                    self._first_known = True
                    self._frames.starts_at(change.first_capture_index)
            elif own or self._first_known:
                self.end(f'{event.control} was set to {show(event.value)}')

    def on_interrupted(self, reason: str) -> None:
        """End it: no frames come any more; see Listener."""
        self.end(f'the acquisition was interrupted: {reason}')
