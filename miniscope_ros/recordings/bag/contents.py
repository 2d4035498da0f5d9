# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
What a bag holds of each scope: all but the pixels.

One pass over the bag takes the stamps of the images and the small messages, 100 bytes a frame;
another one (see images.py) yields the pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
import math
import re
from typing import Any

from miniscope_ros.recordings.bag.acquisitions import find_acquisitions
from miniscope_ros.recordings.bag.image_places import ImagePlaces
from miniscope_ros.recordings.bag.message import (
    IMAGE_LEADING,
    image_shape,
    message_stamp,
    Topic,
    WHOLE,
)
from miniscope_ros.recordings.bag.reader import Bag
from miniscope_ros.recordings.bag.scope import ScopeMessages
from miniscope_ros.recordings.bag.surroundings import IMAGE_TYPES, Surroundings
from miniscope_ros.recordings.bag.tables import (
    ControlChange,
    ControlState,
    FrameMetadata,
    InputChange,
    RecordedAcquisition,
    RecordedSession,
)

IMAGE_TYPE = 'sensor_msgs/msg/Image'
_OWN_TYPES = 'miniscope_msgs/msg/'

_KINDS = {'image_raw': IMAGE_TYPE, 'image_raw/metadata': f'{_OWN_TYPES}FrameMetadata',
          'frame_info': f'{_OWN_TYPES}FrameInfo',
          'orientation_rows': f'{_OWN_TYPES}OrientationRow', 'controls': f'{_OWN_TYPES}Controls',
          'control_changes': f'{_OWN_TYPES}ControlChange',
          'digital_inputs': f'{_OWN_TYPES}DigitalInputs'}
_NAME = re.compile(f'(?P<node>.*)/(?P<kind>{"|".join(sorted(_KINDS, key=len, reverse=True))})')


@cache
def split_topic(topic: Topic) -> tuple[str, str]:
    """Return the node and the kind of a topic of ours; ('', '') of any other."""
    match = _NAME.fullmatch(topic.name)
    if match and _KINDS[match['kind']] == topic.msgtype:
        return match['node'], match['kind']
    return '', ''


def read_contents(bag: Bag, progress: Callable[[float], None]) -> list[RecordedAcquisition]:
    """
    Return the acquisitions of our nodes, those of one scope in their order in time.

    Images of other cameras are left out if any topic in the bag is a scope's. What is missing is
    added to the problems of the bag and of the acquisitions.
    """
    return read_session(bag, progress).acquisitions


def read_session(bag: Bag, progress: Callable[[float], None]) -> RecordedSession:
    """Return all that the bag holds but the pixels; problems are added as read_contents says."""
    scopes: dict[str, ScopeMessages] = {}
    ours: set[str] = set()
    unusable: dict[str, int] = {}
    surroundings = Surroundings()
    places = ImagePlaces()

    def leading(topic: Topic) -> int:
        _, kind = split_topic(topic)
        if not kind:
            return surroundings.leading(topic)
        return IMAGE_LEADING if kind == 'image_raw' else WHOLE

    def of_node(node: str) -> ScopeMessages:
        if node not in scopes:
            scopes[node] = ScopeMessages(node)
        return scopes[node]

    for message in bag.messages(leading):
        node, kind = split_topic(message.topic)
        if kind and kind != 'image_raw':
            ours.add(node)
        try:
            stamp = message_stamp(message) if surroundings.has_stamp(message.topic) else 0
            if message.topic.msgtype in IMAGE_TYPES:
                places.add(message, stamp, bag.file)
            if not kind:
                surroundings.add(bag, message, stamp)
            elif kind == 'image_raw':
                of_node(node).add_image(
                    stamp, image_shape(message), suspect=message.suspect)
            elif (decoded := bag.numbers(message)) is not None:
                _add(of_node(node), kind, stamp, decoded)
        except (ValueError, OverflowError, RecursionError):
            unusable[message.topic.name] = unusable.get(message.topic.name, 0) + 1
        progress(bag.progress)
    for topic, count in unusable.items():
        bag.note(f'{topic}: {count} messages have values that cannot be, and are left out')
    for node in [node for node in scopes if ours and node not in ours]:
        surroundings.add_stamps(f'{node}/image_raw', scopes.pop(node).image_stamps())
    names: set[str] = set()
    acquisitions = [acquisition for _, scope in sorted(scopes.items())
                    for acquisition in find_acquisitions(bag, scope, names)]
    cameras, left_out = surroundings.cameras(ours)
    return RecordedSession(
        acquisitions, cameras, surroundings.notes, surroundings.metadata, left_out, places)


def _add(scope: ScopeMessages, kind: str, stamp: int, message: Any) -> None:
    """Take a message of a scope; ValueError where it holds what cannot be."""
    if kind == 'frame_info':
        scope.frames.add(stamp, message)
    elif kind == 'orientation_rows':
        if not all(map(math.isfinite, (message.qw, message.qx, message.qy, message.qz))):
            raise ValueError('a component of the quaternion is no number')
        scope.orientation.add(stamp, message)
    elif kind == 'controls':
        scope.controls.append((stamp, {
            str(name): ControlState(_finite(value), int(raw)) for name, value, raw in zip(
                message.names, message.values, message.raw_values, strict=True)}))
    elif kind == 'control_changes':
        scope.changes.append(ControlChange(
            stamp, str(message.control), _finite(message.value), int(message.raw_value),
            int(message.reason), int(message.first_capture_index)))
    elif kind == 'digital_inputs':
        scope.inputs.append(InputChange(stamp, int(message.levels)))
    elif kind == 'image_raw/metadata':
        scope.metadata.append((stamp, FrameMetadata(
            str(message.device_type), float(message.framerate))))


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError('the value of a control is no number')
    return number
