# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
What a bag holds of each scope: all but the pixels.

One pass over the bag takes the stamps of the images and the small messages, 100 bytes a frame;
a second one, images(), yields the pixels in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
import math
import re
import struct
from typing import Any, NamedTuple

from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.recordings.bag.message import Message, Topic, WHOLE
from miniscope_ros.recordings.bag.reader import Bag
import numpy as np
from numpy.typing import NDArray

IMAGE_TYPE = 'sensor_msgs/msg/Image'
_OWN_TYPES = 'miniscope_msgs/msg/'
_STAMP = struct.Struct('<4xiI')  # of a message that starts with a header, little endian
_STAMP_BIG = struct.Struct('>4xiI')

FRAME = np.dtype([
    ('stamp', '<i8'),  # [ns] ROS time
    ('frame_index', '<u8'), ('capture_index', '<u8'), ('lost_before', '<u4'),
    ('damaged_before', '<u4'), ('device_frame_count', '<i8'), ('time_ms', '<f8'),
    ('loss_evidence', 'u1'), ('orientation', 'u1')])
"""A FrameInfo."""

IMAGE = np.dtype([('stamp', '<i8'), ('time_ms', '<f8'), ('device_frame_count', '<i8')])
"""An image; its count is -1 where it is unknown."""

ROW = np.dtype([('stamp', '<i8'), ('time_ms', '<f8'),
                ('qw', '<f8'), ('qx', '<f8'), ('qy', '<f8'), ('qz', '<f8')])
"""An OrientationRow."""

_DEFAULTS = {'frame_index': 0, 'capture_index': 0, 'lost_before': 0, 'damaged_before': 0,
             'device_frame_count': -1, 'time_ms': math.nan, 'loss_evidence': 0, 'orientation': 0,
             'qw': math.nan, 'qx': math.nan, 'qy': math.nan, 'qz': math.nan}
"""What stands for a field that an older version of the message did not have."""

ORIENTATION_NONE, ORIENTATION_PUBLISHED, ORIENTATION_REPEATED = 0, 1, 2
ORIENTATION_INVALID, ORIENTATION_STALE = 3, 4


class ControlChange(NamedTuple):
    """A value sent to the scope."""

    stamp: int  # [ns] ROS time
    control: str
    value: float


@dataclass
class RecordedAcquisition:
    """What lies between one activation of a scope and its end."""

    name: str  # of its folder or file
    scope: str  # the node's full name
    images: NDArray[Any]  # IMAGE, one for each image in the bag
    frames: NDArray[Any]  # FRAME, one for each FrameInfo
    orientation: NDArray[Any]  # ROW
    start_ns: int  # ROS time at time_ms 0
    device_type: str = ''
    frame_rate: float = math.nan  # [frames/s] the set rate
    controls: dict[str, float] = field(default_factory=dict)  # in force at the first frame
    changes: list[ControlChange] = field(default_factory=list)  # from the first frame on
    problems: list[str] = field(default_factory=list)


_CODES = {'<i8': 'q', '<u8': 'Q', '<u4': 'I', '<f8': 'd', '|u1': 'B'}


class _Table:
    """Rows of numbers, packed."""

    def __init__(self, layout: np.dtype[Any]) -> None:
        self.layout = layout
        self.missing: set[str] = set()
        self._bytes = bytearray()
        names = layout.names or ()
        self._names = names[1:]
        self._row = struct.Struct('<' + ''.join(_CODES[layout[name].str] for name in names))

    def add(self, stamp: int, message: Any) -> None:
        values = []
        for name in self._names:
            value = getattr(message, name, None)
            if value is None:
                self.missing.add(name)
                value = _DEFAULTS[name]
            values.append(value)
        self._bytes += self._row.pack(stamp, *values)

    def rows(self) -> NDArray[Any]:
        return np.frombuffer(self._bytes, self.layout).copy()


class _Scope:
    """What the first pass collects of one node."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.image_stamps = bytearray()
        self.frames = _Table(FRAME)
        self.orientation = _Table(ROW)
        self.controls: list[tuple[int, dict[str, float]]] = []
        self.changes: list[ControlChange] = []
        self.metadata: list[tuple[int, tuple[str, float]]] = []

    def add(self, kind: str, stamp: int, message: Any) -> None:
        if kind == 'frame_info':
            self.frames.add(stamp, message)
        elif kind == 'orientation_rows':
            self.orientation.add(stamp, message)
        elif kind == 'controls':
            values = map(float, message.values)
            self.controls.append((stamp, dict(zip(message.names, values, strict=False))))
        elif kind == 'control_changes':
            self.changes.append(ControlChange(stamp, message.control, float(message.value)))
        elif kind == 'image_raw/metadata':
            self.metadata.append((stamp, (str(message.device_type), float(message.framerate))))


_KINDS = {'image_raw': IMAGE_TYPE, 'image_raw/metadata': f'{_OWN_TYPES}FrameMetadata',
          'frame_info': f'{_OWN_TYPES}FrameInfo',
          'orientation_rows': f'{_OWN_TYPES}OrientationRow', 'controls': f'{_OWN_TYPES}Controls',
          'control_changes': f'{_OWN_TYPES}ControlChange'}
_NAME = re.compile(f'(?P<node>.*)/(?P<kind>{"|".join(sorted(_KINDS, key=len, reverse=True))})')


@cache
def _split(topic: Topic) -> tuple[str, str]:
    """Return the node and the kind of a topic of ours; ('', '') of any other."""
    match = _NAME.fullmatch(topic.name)
    if match and _KINDS[match['kind']] == topic.msgtype:
        return match['node'], match['kind']
    return '', ''


def _leading(topic: Topic) -> int:
    _, kind = _split(topic)
    return {'': 0, 'image_raw': _STAMP.size}.get(kind, WHOLE)


def read_contents(bag: Bag, progress: Callable[[float], None]) -> list[RecordedAcquisition]:
    """
    Return the acquisitions in the bag, those of one scope in their order in time.

    Images of other cameras are left out if any topic in the bag is a scope's. What is missing is
    added to the problems of the bag and of the acquisitions.
    """
    scopes: dict[str, _Scope] = {}
    ours: set[str] = set()
    for message in bag.messages(_leading):
        node, kind = _split(message.topic)
        if node not in scopes:
            scopes[node] = _Scope(node)
        scope = scopes[node]
        stamp = _stamp(message)
        if kind == 'image_raw':
            scope.image_stamps += stamp.to_bytes(8, 'little', signed=True)
        else:
            ours.add(node)
            decoded = bag.decode(message)
            if decoded is not None:
                scope.add(kind, stamp, decoded)
        progress(bag.progress)
    names: set[str] = set()
    return [acquisition for node, scope in sorted(scopes.items()) if node in ours or not ours
            for acquisition in _acquisitions(bag, scope, names)]


def images(bag: Bag, acquisitions: list[RecordedAcquisition]
           ) -> Iterator[tuple[RecordedAcquisition, int, NDArray[np.uint8]]]:
    """
    Yield acquisition, row of its images table, and the pixels of each image.

    An image is (height, width), or (height, width, 3) BGR. One that cannot be used is left out
    and becomes a problem of the bag.
    """
    waiting: dict[str, list[RecordedAcquisition]] = {}
    for acquisition in acquisitions:
        if len(acquisition.images):
            waiting.setdefault(acquisition.scope, []).append(acquisition)
    rows = dict.fromkeys(waiting, 0)

    def wanted(topic: Topic) -> int:
        node, kind = _split(topic)
        return WHOLE if kind == 'image_raw' and waiting.get(node) else 0

    for message in bag.messages(wanted):
        node, _ = _split(message.topic)
        if not waiting[node]:
            continue  # written since the first pass
        acquisition, row = waiting[node][0], rows[node]
        rows[node] += 1
        if rows[node] == len(acquisition.images):
            waiting[node].pop(0)
            rows[node] = 0
        decoded = bag.decode(message)
        if decoded is None:
            continue
        pixels = _pixels(decoded)
        if pixels is None:
            bag.note(f'{message.topic.name}: an image of {decoded.width}x{decoded.height} '
                     f'{decoded.encoding} with {len(decoded.data)} bytes cannot be used; '
                     'mono8 and bgr8 can')
            continue
        yield acquisition, row, pixels


def _pixels(image: Any) -> NDArray[np.uint8] | None:
    channels = {'mono8': 1, 'bgr8': 3}.get(image.encoding, 0)
    used = image.width * channels
    if not 0 < used <= image.step or len(image.data) != image.step * image.height:
        return None
    rows = np.asarray(image.data, np.uint8).reshape(image.height, image.step)[:, :used]
    return rows if channels == 1 else rows.reshape(image.height, image.width, channels)


def _stamp(message: Message) -> int:
    layout = _STAMP if message.data[1] & 1 else _STAMP_BIG
    seconds, nanoseconds = layout.unpack_from(message.data)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def _acquisitions(bag: Bag, scope: _Scope, names: set[str]) -> Iterator[RecordedAcquisition]:
    frames = _repaired(bag, scope)
    images = np.zeros(len(scope.image_stamps) // 8, IMAGE)
    images['stamp'] = np.frombuffer(scope.image_stamps, '<i8')
    orientation = scope.orientation.rows()
    if not len(images):
        bag.note(f'{scope.node}/image_raw holds no image: nothing can be exported')

    # A new acquisition starts where frame_index does not rise.
    borders = np.flatnonzero(frames['frame_index'][1:] <= frames['frame_index'][:-1]) + 1
    parts = np.split(frames, borders)
    frame_of_image = _matches(frames['stamp'], images['stamp'])
    part_of_image = np.searchsorted(borders, frame_of_image, 'right')
    part_of_image[frame_of_image < 0] = 0
    part_of_image = np.maximum.accumulate(part_of_image)
    first_stamps = np.array([part['stamp'][0] for part in parts[1:]], np.int64)
    part_of_row = np.searchsorted(first_stamps, orientation['stamp'], 'right')

    for number, part in enumerate(parts):
        mine = part_of_image == number
        rows = orientation[part_of_row == number]
        taken, matched = images[mine], frame_of_image[mine]
        first = next((table for table in (part, rows) if len(table)), None)
        if first is not None:
            start = int(first['stamp'][0]) - round(first['time_ms'][0] * 1e6)
        elif len(taken):
            start = int(taken['stamp'][0])
        else:
            continue
        taken['time_ms'] = (taken['stamp'] - start) / 1e6
        taken['device_frame_count'] = -1
        for column in ('time_ms', 'device_frame_count'):
            taken[column][matched >= 0] = frames[column][matched[matched >= 0]]
        acquisition = RecordedAcquisition(
            _name(scope.node, names), scope.node, taken, part, rows, start)
        _add_settings(acquisition, scope)
        _find_problems(acquisition, len(matched) - int((matched >= 0).sum()))
        yield acquisition


def _repaired(bag: Bag, scope: _Scope) -> NDArray[Any]:
    """Return the frame table; what older messages lacked is told and, if possible, derived."""
    for table, topic in ((scope.frames, 'frame_info'), (scope.orientation, 'orientation_rows')):
        if table.missing:
            bag.note(f'{scope.node}/{topic} is of an older version without '
                     f'{", ".join(sorted(table.missing))}')
    frames = scope.frames.rows()
    if 'frame_index' in scope.frames.missing:
        frames['frame_index'] = np.arange(len(frames))
    if 'capture_index' in scope.frames.missing:
        frames['capture_index'] = frames['frame_index'] + np.cumsum(frames['lost_before'])
    if 'time_ms' in scope.frames.missing and len(frames):
        frames['time_ms'] = (frames['stamp'] - frames['stamp'][0]) / 1e6
    return frames


def _matches(frames: NDArray[np.int64], images: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each image the frame of the same stamp, -1 where there is none."""
    if len(frames) == len(images) and np.array_equal(frames, images):
        return np.arange(len(images))
    if not len(frames):
        return np.full(len(images), -1)
    order = np.argsort(frames, kind='stable')
    place = np.minimum(np.searchsorted(frames[order], images), len(frames) - 1)
    found: NDArray[np.int64] = order[place]
    found[frames[found] != images] = -1
    return found


def _name(node: str, names: set[str]) -> str:
    """Return a new name for a folder: rat1_miniscope, then rat1_miniscope_2, .."""
    base = name = re.sub(r'\W', '_', node.strip('/')) or 'miniscope'
    number = 1
    while name in names:
        number += 1
        name = f'{base}_{number}'
    names.add(name)
    return name


def _add_settings(acquisition: RecordedAcquisition, scope: _Scope) -> None:
    first = acquisition.frames if len(acquisition.frames) else acquisition.images
    begin, end = int(first['stamp'][0]), int(first['stamp'][-1])
    metadata = _in_force(scope.metadata, begin)
    if metadata is None:
        acquisition.problems.append('image_raw/metadata is missing: device type and set rate are '
                                    'unknown')
    else:
        acquisition.device_type, acquisition.frame_rate = metadata
    controls = _in_force(scope.controls, begin)
    if controls is None:
        controls = {change.control: change.value for change in scope.changes
                    if change.stamp <= begin}
        # A camera has none, nor has a recording of an unknown device that was played.
        if controls or metadata is None or acquisition.device_type in load_catalogue():
            acquisition.problems.append(
                'controls is missing: the values in force at the start are '
                f'{"taken from control_changes" if controls else "unknown"}')
    acquisition.controls = controls
    acquisition.changes = [change for change in scope.changes if begin < change.stamp <= end]


def _in_force(states: list[tuple[int, Any]], stamp: int) -> Any:
    """Return the last state up to then, or, where all are later, the first."""
    earlier = [state for at, state in states if at <= stamp]
    return earlier[-1] if earlier else states[0][1] if states else None


def _find_problems(acquisition: RecordedAcquisition, without_frame: int) -> None:
    frames, images, problems = acquisition.frames, acquisition.images, acquisition.problems
    if not len(frames):
        problems.append('frame_info is missing: times are the stamps of the images, losses and '
                        'DAQ frame numbers are unknown')
    elif without_frame:
        problems.append(f'{without_frame} images have no frame_info')
    without_image = len(frames) - (len(images) - without_frame)
    if without_image > 0:
        problems.append(f'{without_image} frames have no image in the bag')
    if len(frames) and (unrecorded := unrecorded_frames(frames)):
        problems.append(f'{unrecorded} published frames are not in the bag')
    published = int((frames['orientation'] == ORIENTATION_PUBLISHED).sum())
    if published > len(acquisition.orientation):
        problems.append(f'{published - len(acquisition.orientation)} of {published} '
                        'orientation_rows are not in the bag')
    if len(images) and not (np.diff(images['time_ms']) > 0).all():
        problems.append('the times of the frames do not always rise')


def unrecorded_frames(frames: NDArray[Any]) -> int:
    """Return how many frames between the first and the last the recorder did not write."""
    span = int(frames['frame_index'][-1]) - int(frames['frame_index'][0]) + 1
    return max(0, span - len(frames))
