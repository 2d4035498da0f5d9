# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What a bag holds besides the topics of scopes: cameras of other drivers, notes, the session."""

from __future__ import annotations

from collections.abc import Iterator
import json
from typing import Any

from miniscope_ros.recordings.bag.acquisitions import camera_acquisition
from miniscope_ros.recordings.bag.message import LEADING, Message, Topic, WHOLE
from miniscope_ros.recordings.bag.reader import Bag
from miniscope_ros.recordings.bag.tables import RecordedAcquisition, RecordedNote
import numpy as np
from numpy.typing import NDArray

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
_INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
_NOTE_TYPE = 'miniscope_msgs/msg/Note'
_TEXT_TYPE = 'std_msgs/msg/String'
_COMPRESSED = '/compressed'


class Surroundings:
    """Takes the messages of one pass that are of no scope."""

    def __init__(self) -> None:
        self.notes: list[RecordedNote] = []
        self.metadata: dict[str, Any] = {}
        self._infos: set[str] = set()  # what a camera_info stands beside
        self._stamps: dict[str, bytearray] = {}  # of images, by topic

    def leading(self, topic: Topic) -> int:
        """Return how many bytes of a topic's messages are needed."""
        if topic.msgtype == _INFO_TYPE:
            self._infos.add(topic.name.rpartition('/')[0])
        if topic.msgtype in IMAGE_TYPES:
            return LEADING
        return WHOLE if topic.msgtype == _NOTE_TYPE or _is_metadata(topic) else 0

    @staticmethod
    def has_stamp(topic: Topic) -> bool:
        """Return whether a topic's messages begin with a header."""
        return topic.msgtype != _TEXT_TYPE

    def add(self, bag: Bag, message: Message, stamp: int) -> None:
        """Take a message; ValueError where it holds what cannot be."""
        if message.topic.msgtype in IMAGE_TYPES:
            self._stamps.setdefault(message.topic.name, bytearray()).extend(
                stamp.to_bytes(8, 'little', signed=True))
        elif (decoded := bag.decode(message)) is None:
            return
        elif message.topic.msgtype == _NOTE_TYPE:
            self.notes.append(RecordedNote(stamp, str(decoded.text)))
        else:
            content = json.loads(decoded.data)
            if isinstance(content, dict):
                self.metadata.update(content)

    def add_stamps(self, topic: str, stamps: NDArray[np.int64]) -> None:
        """Take images whose stamps [ns] were collected elsewhere."""
        self._stamps[topic] = bytearray(stamps.astype('<i8').tobytes())

    def cameras(self, ours: set[str]) -> tuple[list[RecordedAcquisition], list[str]]:
        """Return the cameras, and which topics with images are left out and why."""
        found, left_out = [], []
        for topic, stamps in sorted(self._stamps.items()):
            reason = next(self._reasons(topic, ours), '')
            if reason:
                left_out.append(f'{topic}: {reason}')
            else:
                found.append(camera_acquisition(
                    topic, np.frombuffer(bytes(stamps), '<i8').astype(np.int64)))
        return found, left_out

    def _reasons(self, topic: str, ours: set[str]) -> Iterator[str]:
        base = topic.removesuffix(_COMPRESSED)
        node = base.rpartition('/')[0]
        if node in ours:
            yield 'the pictures of a scope as processed for the eye'
        if topic != base and base in self._stamps:
            yield f'{base} has the same pictures, not compressed'
        if node not in self._infos:
            yield f'no camera_info stands beside it ({node}/camera_info)'


def _is_metadata(topic: Topic) -> bool:
    return topic.msgtype == _TEXT_TYPE and topic.name.endswith('session/metadata')
