# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Takes frames and control events from a source and hands them to the frame handler."""

from __future__ import annotations

import time

from miniscope_ros.acquisition.frame_handler import FrameHandler
from miniscope_ros.acquisition.states import CaptureState, CaptureStates
from miniscope_ros.model import ControlEvent
from miniscope_ros.sources.source import Source

_SLICE_S = 0.1  # the longest wait for a frame, between two looks at the commands
_DRAIN_S = 0.2  # the longest time for frames that have arrived before an acquisition ends


class FrameIntake:
    """
    The only way of frames and events from a source to its handler; the capture thread calls it.

    Each frame is handled in the state that the acquisition has when the frame is taken.
    """

    def __init__(
        self, source: Source, handler: FrameHandler, states: CaptureStates,
    ) -> None:
        self.sync_output = True  # the sync output toggles; may be set in any thread
        # While this digital input is low the light is dark; None: no input does that. Any thread.
        self.light_input: int | None = None
        self._source = source
        self._handler = handler
        self._states = states

    def read(self) -> None:
        """
        Take the next frame, if one comes within 0.1 s, and let the light follow its trigger.

        Raises DeviceError, EndOfData and Interrupted as Source.read does.
        """
        frame = self._source.read(_SLICE_S)
        self.take_events()
        if frame is not None:
            self._handler.take(frame, self._states.state, toggles=self.sync_output)
        self.follow_trigger()

    def drain(self) -> None:
        """Take the frames that have arrived already, for at most 0.2 s."""
        deadline = time.monotonic() + _DRAIN_S
        while time.monotonic() < deadline and self._source.waiting():
            frame = self._source.read(0.0)
            if frame is not None:
                self._handler.take(frame, self._states.state, toggles=self.sync_output)

    def take_events(self, *, lighting_up: bool = False, closed: bool = False) -> None:
        """
        Hand on every event that commands of the source left.

        An exception that one event causes is raised after all events have been handed on.

        Parameters
        ----------
        lighting_up : bool
            The next frame is the first one that is published.
        closed : bool
            The events were left by closing: none of their frames is published.

        """
        failure: Exception | None = None
        state = self._states.state
        if closed and state is CaptureState.ACTIVE:
            state = CaptureState.INTERRUPTED
        for event in self._source.take_events():
            try:
                if isinstance(event, ControlEvent):
                    self._handler.note_control(event, state, lighting_up=lighting_up)
                else:
                    self._handler.take(
                        event, state, toggles=self.sync_output, discarded=True)
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def follow_trigger(self) -> None:
        """Keep the light dark while the trigger is low, or while its level is not known."""
        number = self.light_input
        self._source.shade(number is not None and not self._handler.is_high(number))
        self.take_events()
