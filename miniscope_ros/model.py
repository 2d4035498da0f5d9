# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The records that one layer hands to the next, and the enums of the .msg files.

Each enum stands here once; a test compares its numbers with the constants of the messages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
import math

import numpy as np
from numpy.typing import NDArray

RawQuaternion = tuple[int, int, int, int]
"""w, x, y, z as the sensor has them: int16, 16384 stands for 1."""

Quaternion = tuple[float, float, float, float]
"""w, x, y, z."""

LIGHT_MAY_BE_ON = 'THE LIGHT MAY STILL BE ON'
"""The words that say so, wherever they are said."""

NEW_RATE_FRAMES = 10
"""The period is known after this many frames that began after a new frame rate was sent."""


class Light(Enum):
    """What a source knows of its light."""

    DARK = 'dark'  # there is none, or LED dark was seen executed
    LIT = 'lit'  # switched on, and the device is open
    UNCONFIRMED = 'unconfirmed'  # it may be on: it was not seen to go dark


class Evidence(IntEnum):
    """How a lost frame is known; the numbers are those of FrameInfo.msg."""

    NONE = 0
    SEQUENCE = 1
    COUNTER = 2
    TIME = 3
    DAMAGED = 4


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


class ReadingStatus(IntEnum):
    """What is to become of a reading; the numbers are those of FrameInfo.msg."""

    NONE = 0  # there is no reading
    PUBLISHED = 1  # valid and new
    REPEATED = 2  # equal to the valid one before
    INVALID = 3  # not a unit quaternion, or a turn that no head makes
    STALE = 4  # not known to follow the sensor


class Content(IntEnum):
    """What the picture itself shows; the numbers are those of FrameInfo.msg."""

    NOT_CHECKED = 0
    OK = 1
    BLOCKS_MISPLACED = 2
    BANDED = 3
    DARK = 4
    REPEATED = 5


_OLDEST_BEGIN_NS = 1_000_000_000  # before its arrival; an older stamp from the wire is none


@dataclass(frozen=True, slots=True)
class RawFrame:
    """
    One frame with all that was read beside it.

    It never changes. Whoever repairs its stamp makes a new record, in which the stamp from the
    wire stands beside the repaired one.
    """

    image: NDArray[np.uint8]  # (height, width) or (height, width, 3) BGR; valid until next read
    stamp_ns: int  # the source's monotonic timeline; 0 where the transport had none
    stamp_source: StampSource
    receive_ns: int  # CLOCK_MONOTONIC when it was taken out of the transport
    sequence: int | None = None  # the transport's number, lost frames included
    device_count: int | None = None  # the device's own counter, as read
    device_count_bits: int = 32  # at which width the counter wraps
    device_time_ms: float = math.nan
    # A raw one of a live sensor (integers), or a unit quaternion of a recording (floats).
    orientation: RawQuaternion | Quaternion | None = None
    digital_inputs: int = -1  # bit mask; -1 unknown
    sync_edge: int | None = None  # as it was recorded; None: it is to be counted
    damaged: bool = False  # image is not to be used
    content: Content | None = None  # as it was recorded; None: it is to be judged
    # CLOCK_MONOTONIC after the device's state was read; None: the frame itself contains the state.
    read_ns: int | None = None
    wire_stamp_ns: int | None = None  # the stamp as received, where stamp_ns is a repaired one
    due_ns: int | None = None  # by the frames before it, where stamp_ns may be too late

    @property
    def earliest_ns(self) -> int:
        """
        Return when the frame began at the earliest [ns].

        A repaired stamp may be too late: on a busy computer predictions run ahead, until the
        stamps from the wire seem to go back. A time of arrival is late where the computer took
        the frame late. Whoever asks whether a frame began after something takes the earliest of
        the stamps and of the time at which it was due, unless a stamp from the wire is older than
        a frame can be.
        """
        earliest_ns = self.stamp_ns if self.due_ns is None else min(self.stamp_ns, self.due_ns)
        wire_ns = self.wire_stamp_ns
        if wire_ns is None or not 0 <= self.receive_ns - wire_ns <= _OLDEST_BEGIN_NS:
            return earliest_ns
        return min(earliest_ns, wire_ns)


@dataclass(frozen=True, slots=True)
class ControlEvent:
    """One value that was sent to the device."""

    control: str
    value: float
    raw: int
    reason: Reason
    sent_ns: int  # CLOCK_MONOTONIC right after the last word
    # The next two are known only of a change that is played from a recording.
    first_capture_index: int | None = None
    stamp_ns: int | None = None  # ROS clock


SourceEvent = RawFrame | ControlEvent
"""What a source reports, in the order in which it happened."""


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
    inputs: int = 0  # how many digital inputs can be read
    has_blocks: bool = False  # frames came through a DAQ box: blocks of known size, one seam each
    warnings: tuple[str, ...] = field(default=())
