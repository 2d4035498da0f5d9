# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What every source yields, and what every source can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Protocol

from miniscope_ros.daq.control import Control
from miniscope_ros.model import (
    Light,
    RawFrame,
    Reason,
    SourceEvent,
    SourceInfo,
)


class Source(Protocol):
    """
    Frames, and the scope that takes them.

    The capture thread calls every method; those marked "any thread" may be called in others, too.
    A source calls nothing back: read returns frames, and take_events returns what a command sent
    or discarded. Blocking calls raise Interrupted when the stop event of the source is set.
    """

    is_live: bool  # False: played from a recording, with a time of its own
    # False: the rate may follow the light, so time shows a loss only while it is even.
    has_constant_rate: bool
    controls: Mapping[str, Control]  # what can be set while it runs (may be read in any thread)
    has_sync_output: bool  # a box that toggles an output at the end of every frame

    @property
    def light(self) -> Light:
        """Return what is known of the light; in any thread."""
        ...

    @property
    def may_be_lit(self) -> bool:
        """Return whether the light is on, or not known to be off (any thread)."""
        ...

    def open(self, reason: Reason) -> SourceInfo:
        """Open, start the stream, set up in the dark; leave nothing open on an error."""
        ...

    def activate(self, reason: Reason) -> None:
        """
        Send the controls, the light last; the next frame read is the first to publish.

        It comes after NEW_RATE_FRAMES of them if the frame rate was changed.
        """
        ...

    def read(self, timeout: float) -> RawFrame | None:
        """Return the next frame; None after timeout [s]; DeviceLost, EndOfData."""
        ...

    def take_events(self) -> Sequence[SourceEvent]:
        """
        Return the values sent and the frames discarded since the last call, in their order.

        Frames that set_sync, reinitialise_head_stage and hard_reset discard have images of their
        own: they are published while an acquisition goes on.
        """
        ...

    def waiting(self) -> bool:
        """Return whether another frame is ready."""
        ...

    def dim(self) -> None:
        """
        Send LED dark and return at once; deactivate sees that it was executed.

        The orientation and the counter of the frames that follow are not read: that may take long,
        and nothing must delay darkness.
        """
        ...

    def shade(self, dark: bool) -> None:
        """
        Keep the light dark while an acquisition goes on, or let it have the user's value again.

        Returns at once; the values sent wait in take_events. It holds until it is called again.
        """
        ...

    def deactivate(self) -> None:
        """Make it dark and return when that was executed; frames still come."""
        ...

    def close(self) -> None:
        """Make it dark if it may be lit, stop the stream and close; never raises."""
        ...

    def make_dark(self) -> None:
        """
        Open a closed device only to make it dark, and close it.

        The stop event does not end it at once, but it takes no longer than the end of a program
        may take.
        """
        ...

    def reinitialise_head_stage(self, *, dark: bool = False) -> None:
        """
        Send the init list and the controls again: the head stage has lost them.

        dark says that its light has gone out, too: LED dark is sent first, so that what was sent
        last is at every time what the light does.
        """
        ...

    def set_sync(self, on: bool) -> None:
        """Switch the sync output; an error while it is not open is DeviceLost."""
        ...

    def hard_reset(self) -> str:
        """
        Restart the device, open or not; return in words what was done.

        An open one is lost and comes back. DeviceError where that is impossible.
        """
        ...

    def set_value(self, name: str, value: float) -> None:
        """
        Note a control's new value; sent at the next frame if open (any thread).

        One that check_value refuses is not sent, and an error is logged.
        """
        ...

    def check_value(self, name: str, value: float) -> None:
        """Raise ConfigurationError for a value that the open device cannot take (any thread)."""
        ...

    def ros_time_ns(self, sample: RawFrame, at: Callable[[int], int]) -> int:
        """Return the sample's stamp on the ROS clock; at gives that of a CLOCK_MONOTONIC time."""
        ...


SourceFactory = Callable[[Event], Source]
