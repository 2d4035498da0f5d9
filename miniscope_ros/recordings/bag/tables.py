# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What is kept of a bag's small messages, and of an acquisition as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
import math
from operator import attrgetter
import struct
from typing import Any, NamedTuple

from miniscope_ros.model import Content, ReadingStatus, StampSource
from miniscope_ros.recordings.bag.image_places import ImagePlaces
import numpy as np
from numpy.typing import NDArray

FRAME = np.dtype([
    ('stamp', '<i8'),  # [ns] ROS time
    ('frame_index', '<u8'), ('capture_index', '<u8'), ('lost_before', '<u4'),
    ('damaged_before', '<u4'), ('lost_uncertainty', '<u4'), ('device_frame_count', '<i8'),
    ('sync_edge', '<i8'), ('time_ms', '<f8'), ('device_time_ms', '<f8'),
    ('digital_inputs', '<i2'), ('loss_evidence', 'u1'), ('orientation', 'u1'),
    ('stamp_source', 'u1'), ('content', 'u1')])
"""A FrameInfo; units and meanings are those of FrameInfo.msg."""

IMAGE = np.dtype([('stamp', '<i8'), ('time_ms', '<f8'), ('device_frame_count', '<i8')])
"""An image; its count is -1 where it is unknown."""

ROW = np.dtype([('stamp', '<i8'), ('time_ms', '<f8'),
                ('qw', '<f8'), ('qx', '<f8'), ('qy', '<f8'), ('qz', '<f8')])
"""An OrientationRow."""

_DEFAULTS: dict[str, float] = {
    'frame_index': 0, 'capture_index': 0, 'lost_before': 0, 'damaged_before': 0,
    'lost_uncertainty': 0, 'device_frame_count': -1, 'sync_edge': -1, 'time_ms': math.nan,
    'device_time_ms': math.nan, 'digital_inputs': -1, 'loss_evidence': 0,
    'orientation': ReadingStatus.NONE, 'stamp_source': StampSource.BUFFER,
    'content': Content.NOT_CHECKED,
    'qw': math.nan, 'qx': math.nan, 'qy': math.nan, 'qz': math.nan}
"""What stands for a field that an older version of the message did not have."""

_CODES = {'<i8': 'q', '<u8': 'Q', '<u4': 'I', '<i2': 'h', '<f8': 'd', '|u1': 'B'}


class ControlChange(NamedTuple):
    """A value sent to the scope; fields as in ControlChange.msg."""

    stamp: int  # [ns] ROS time
    control: str
    value: float
    raw_value: int
    reason: int
    first_capture_index: int


class ControlState(NamedTuple):
    """A control's value in force."""

    value: float
    raw_value: int


class InputChange(NamedTuple):
    """Levels of the digital inputs; fields as in DigitalInputs.msg."""

    stamp: int  # [ns] ROS time
    levels: int  # bit mask


class RecordedNote(NamedTuple):
    """A remark of the experimenter; fields as in Note.msg."""

    stamp: int  # [ns] ROS time
    text: str


class FrameMetadata(NamedTuple):
    """What is kept of image_raw/metadata."""

    device_type: str
    frame_rate: float  # [frames/s] the set rate


@dataclass
class RecordedAcquisition:
    """What lies between one activation of a scope and its end, in the order of time."""

    name: str  # of its folder or file
    scope: str  # the node's full name
    images: NDArray[Any]  # IMAGE, one for each image in the bag
    frames: NDArray[Any]  # FRAME, one for each FrameInfo
    orientation: NDArray[Any]  # ROW
    start_ns: int  # ROS time at time_ms 0
    device_type: str = ''
    frame_rate: float = math.nan  # [frames/s] the set rate
    states: dict[str, ControlState] = field(default_factory=dict)  # in force at the first frame
    changes: list[ControlChange] = field(default_factory=list)  # from the first frame on
    stops: list[ControlChange] = field(default_factory=list)  # sent at the end of the acquisition
    problems: list[str] = field(default_factory=list)  # what is missing or cannot be right
    remarks: list[str] = field(default_factory=list)  # what is to be known, and costs nothing
    inputs: list[InputChange] = field(default_factory=list)  # the levels at the start first
    topic: str = ''  # of the images
    shape: tuple[int, int] | None = None  # (height, width) of its images; None: not known
    is_camera: bool = False  # of another driver: it has no messages of ours but images
    device: str = ''  # the name that all acquisitions of one scope or camera share

    @property
    def controls(self) -> dict[str, float]:
        """Return the values in force at the first frame."""
        return {name: state.value for name, state in self.states.items()}


@dataclass
class RecordedSession:
    """All that a recording holds."""

    acquisitions: list[RecordedAcquisition]  # of scopes and cameras of ours
    cameras: list[RecordedAcquisition]  # of other drivers
    notes: list[RecordedNote]
    metadata: dict[str, Any]  # what the session node says of the session
    left_out: list[str]  # topics with images that are not used, each with the reason
    places: ImagePlaces


class MessageTable:
    """Rows of numbers taken from messages, packed."""

    def __init__(self, layout: np.dtype[Any]) -> None:
        self.layout = layout
        self.missing: set[str] = set()  # fields that the messages do not have
        self._bytes = bytearray()
        names = layout.names or ()
        self._names = names[1:]
        self._values = attrgetter(*self._names)
        self._row = struct.Struct('<' + ''.join(_CODES[layout[name].str] for name in names))

    def add(self, stamp: int, message: Any) -> None:
        """Append a message; ValueError where a value does not fit into its field."""
        try:
            values: Sequence[Any] = self._values(message)
        except AttributeError:
            self.missing.update(name for name in self._names if not hasattr(message, name))
            values = [getattr(message, name, _DEFAULTS[name]) for name in self._names]
        try:
            self._bytes += self._row.pack(stamp, *values)
        except (struct.error, TypeError, OverflowError) as error:
            raise ValueError(str(error)) from error

    def rows(self) -> NDArray[Any]:
        """Return all rows as an array of the layout."""
        return np.frombuffer(self._bytes, self.layout).copy()
