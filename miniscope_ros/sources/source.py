# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What every source yields, and what every source can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
import math
from threading import Event
from typing import Protocol

from miniscope_ros.daq.control import Control
from miniscope_ros.daq.packets import RawQuaternion
import numpy as np
from numpy.typing import NDArray

NEW_RATE_FRAMES = 10
"""So many frames that began after a new frame rate was sent make its period known."""


class StampSource(IntEnum):
    """Where a stamp comes from; the numbers are those of FrameInfo.msg."""

    BUFFER = 0
    ARRIVAL = 1
    PREDICTED = 2
    RECORDED = 3


class Reason(IntEnum):
    """Why a control value was sent; the numbers are those of ControlChange.msg."""

    START = 0
    USER = 1
    RESUME = 2
    STOP = 3


@dataclass(slots=True)
class RawFrame:
    """One frame with all that was read beside it."""

    image: NDArray[np.uint8]  # (height, width) or (height, width, 3) BGR; valid until next read
    stamp_ns: int  # the source's monotonic timeline; 0 where the transport had none
    stamp_source: StampSource
    receive_ns: int  # CLOCK_MONOTONIC when it was taken out of the transport
    sequence: int | None = None  # the transport's number, lost frames included
    device_count: int | None = None  # the device's own counter, as read
    device_count_bits: int = 32  # at which width the counter wraps
    device_time_ms: float = math.nan
    quaternion: RawQuaternion | None = None
    # A reading that comes as a unit quaternion already (recordings); raw ones come as quaternion.
    orientation: tuple[float, float, float, float] | None = None
    digital_inputs: int = -1  # bit mask; -1 unknown
    damaged: bool = False  # image is not to be used
    # CLOCK_MONOTONIC after what the device tells was read beside the frame; None: told in it.
    read_ns: int | None = None


@dataclass(slots=True)
class ControlEvent:
    """One value that was sent to the device."""

    control: str
    value: float
    raw: int
    reason: Reason
    sent_ns: int  # CLOCK_MONOTONIC right after the last word


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source once it is open."""

    width: int
    height: int
    encoding: str  # mono8 or bgr8
    device_type: str
    has_orientation: bool
    frame_rate: float  # the set rate [frames/s]; NaN where it is not known
    period_ns: float = math.nan  # of a recording, the median interval between its frames
    firmware: str = ''
    card: str = ''
    location: str = ''
    path: str = ''
    transport: str = ''
    warnings: tuple[str, ...] = field(default=())


class Source(Protocol):
    """
    Frames, and the scope that takes them.

    All but the three marked ones run in one thread, the capture thread. Blocking calls give up
    with Interrupted when the event that the source was made with is set.
    """

    is_live: bool  # False: played from a recording, with a time of its own
    # False: the rate may follow the light, so time shows a loss only while it is even.
    has_constant_rate: bool
    controls: Mapping[str, Control]  # what can be set while it runs (may be read in any thread)
    has_sync_output: bool  # a box that toggles an output at the end of every frame
    may_be_lit: bool  # the light may be on: it was lit, and was not seen to go dark
    on_control: Callable[[ControlEvent], None]  # called for every value sent
    # Called for every frame that open and activate discard.
    on_discarded: Callable[[RawFrame], None]

    def open(self, reason: Reason) -> SourceInfo:
        """Open, start the stream, set up in the dark; leave nothing open on an error."""
        ...

    def activate(self, reason: Reason) -> None:
        """
        Send the controls, the light last; the next sample read is the first to publish.

        It comes after NEW_RATE_FRAMES of them if the frame rate was changed.
        """
        ...

    def read(self, timeout: float) -> RawFrame | None:
        """Return the next frame; None after timeout [s]; DeviceLost, EndOfData."""
        ...

    def waiting(self) -> bool:
        """Return whether another frame is ready."""
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

        Heedless of the event, but after that for as long only as a program may take to end.
        """
        ...

    def reinitialise_head_stage(self) -> None:
        """Send the init list and the controls again: the orientation sensor lost its set-up."""
        ...

    def set_sync(self, on: bool) -> None:
        """Switch the sync output; an error while it is not open is DeviceLost."""
        ...

    def hard_reset(self) -> None:
        """Restart the device; it is lost and comes back. DeviceError where that is impossible."""
        ...

    def set_value(self, name: str, value: float) -> None:
        """Note a control's new value; sent at the next frame if open. (any thread)."""
        ...

    def ros_time_ns(self, sample: RawFrame, at: Callable[[int], int]) -> int:
        """Return the sample's stamp on the ROS clock; at gives that of a CLOCK_MONOTONIC time."""
        ...


SourceFactory = Callable[[Event], Source]
