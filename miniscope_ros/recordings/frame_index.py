# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Which frames a series of messages holds.

frame_index rises by one from message to message and begins again at 0 with each activation.
"""

from __future__ import annotations

from dataclasses import dataclass
import struct

FRAME_INFO = 'miniscope_msgs/msg/FrameInfo'
ORIENTATION_ROW = 'miniscope_msgs/msg/OrientationRow'

_LENGTH = struct.Struct('<I')
_STAMP = struct.Struct('<iI')
_INDEX = struct.Struct('<Q')
_BEGIN = 4  # [bytes] of encapsulation before the message; the stamp comes first
_NAME = 16  # where the text frame_id begins: after stamp and its length


def index_and_stamp(data: bytes) -> tuple[int, int]:
    """Return frame_index and stamp [ns] of a serialized FrameInfo or OrientationRow."""
    sec, nanosec = _STAMP.unpack_from(data, _BEGIN)
    length, = _LENGTH.unpack_from(data, _NAME - 4)
    # The alignment counts from the end of the encapsulation.
    place = -(-(_NAME - _BEGIN + length) // 8) * 8 + _BEGIN
    index, = _INDEX.unpack_from(data, place)
    return int(index), sec * 1_000_000_000 + nanosec


@dataclass
class Run:
    """The messages of one activation."""

    first: int
    last: int
    count: int
    last_stamp_ns: int

    @property
    def missing(self) -> int:
        """How many are missing between the first and the last."""
        return self.last - self.first + 1 - self.count


class FrameRuns:
    """All activations, in order."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def add(self, index: int, stamp_ns: int, *, anew: bool = False) -> None:
        """
        Take the next message's frame_index and stamp; anew: from another publisher than before.

        DDS may deliver what a subscriber missed after what came later. Such a message has an
        earlier stamp, which the first ones of another activation have not.
        """
        last = self.runs[-1] if self.runs and not anew else None
        if last is not None and index > last.last:
            last.last, last.last_stamp_ns = index, stamp_ns
            last.count += 1
        elif last is not None and stamp_ns < last.last_stamp_ns and last.first < index < last.last:
            last.count += 1
        else:
            self.runs.append(Run(index, index, 1, stamp_ns))

    @property
    def count(self) -> int:
        """How many messages there were."""
        return sum(run.count for run in self.runs)

    def as_list(self) -> list[list[int]]:
        """Return first, last and number of each activation."""
        return [[run.first, run.last, run.count] for run in self.runs]
