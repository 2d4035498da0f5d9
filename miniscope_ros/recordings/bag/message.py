# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What both storage formats of rosbag2 yield."""

from __future__ import annotations

from collections.abc import Callable
import sys
from typing import NamedTuple

WHOLE = sys.maxsize
"""All of a message's bytes."""

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


Wanted = Callable[[Topic], int]
"""How many leading bytes of each message of a topic are to be read: 0 none, else 4 or more."""


class Incomplete(Exception):
    """A file ended before its end, or is damaged; all before that has been yielded."""
