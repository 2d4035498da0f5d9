# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What both storage formats of rosbag2 yield."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
import struct
import sys
from typing import NamedTuple

WHOLE = sys.maxsize
"""All of a message's bytes."""

LARGEST = 1 << 27
"""
The most bytes that one message or one chunk may have, unpacked.

The largest image of any scope (2592x1944 BGR) has 15 MB, and a chunk ends with the message that
fills it. A file that declares more is damaged, or is made to take all memory.
"""

_STAMP = struct.Struct('<4xiI')  # stamp of a message that starts with a header, little endian
_STAMP_BIG = struct.Struct('>4xiI')
LEADING = _STAMP.size
"""The stamp of a message's header lies within this many bytes."""

IMAGE_LEADING = 512
"""The shape of an image, too, lies within this many bytes, unless its frame_id is very long."""

ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'


class Topic(NamedTuple):
    """A topic of a bag, and what the bag itself says of its message type."""

    name: str
    msgtype: str  # as in 'sensor_msgs/msg/Image'
    definition: str = ''  # empty: the bag has none
    definition_format: str = ''  # ros2msg or ros2idl


class Message(NamedTuple):
    """One message, serialized (CDR); possibly its first bytes only, possibly compressed."""

    topic: Topic
    data: bytes
    suspect: bool = False  # it stands among bytes that are not those that were written
    place: int = -1  # of its bytes in the file, where they can be read alone


def message_stamp(message: Message) -> int:
    """Return the stamp in a message's header [ns]; ValueError where it is too short."""
    try:
        layout = _STAMP if message.data[1] & 1 else _STAMP_BIG
        seconds, nanoseconds = layout.unpack_from(message.data)
    except (IndexError, struct.error) as error:
        raise ValueError('the message is too short') from error
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def image_shape(message: Message) -> tuple[int, int] | None:
    """Return height and width in an Image's first bytes; None where they are not there."""
    try:
        order = '<' if message.data[1] & 1 else '>'
        length, = struct.unpack_from(f'{order}I', message.data, LEADING)
        place = -(-(LEADING + 4 + length) // 4) * 4  # aligned to 4 bytes
        height, width = struct.unpack_from(f'{order}II', message.data, place)
    except (IndexError, struct.error, OverflowError):
        return None
    return int(height), int(width)


Wanted = Callable[[Topic], int]
"""How many leading bytes of each message of a topic are to be read: 0 none, else 4 or more."""


@dataclass
class FileCheck:
    """How thoroughly a file is read, and what was found damaged in it, kept between passes."""

    verify: bool = False  # read everything and compare checksums, as far as the file has any
    damaged: set[int] = field(default_factory=set)  # chunks, by their place, or rows of a table


class Incomplete(Exception):
    """A file ended before its end, or is damaged; all that is whole has been yielded."""
