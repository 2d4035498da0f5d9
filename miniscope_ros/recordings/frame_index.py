# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Which frames a series of messages holds.

frame_index rises by one from message to message and begins anew with each activation.
"""

from __future__ import annotations

from dataclasses import dataclass
import struct

FRAME_INFO = 'miniscope_msgs/msg/FrameInfo'
ORIENTATION_ROW = 'miniscope_msgs/msg/OrientationRow'

_LENGTH = struct.Struct('<I')
_INDEX = struct.Struct('<Q')
_NAME = 16  # where the text frame_id begins: after encapsulation, stamp and its length


def frame_index(data: bytes) -> int:
    """Return frame_index of a serialized FrameInfo or OrientationRow, where it comes first."""
    length, = _LENGTH.unpack_from(data, _NAME - 4)
    # The alignment counts from the end of the encapsulation's 4 bytes.
    place = -(-(_NAME - 4 + length) // 8) * 8 + 4
    index, = _INDEX.unpack_from(data, place)
    return int(index)


@dataclass
class Run:
    """The messages of one activation."""

    first: int
    last: int
    count: int

    @property
    def missing(self) -> int:
        """How many are missing between the first and the last."""
        return self.last - self.first + 1 - self.count


class FrameRuns:
    """All activations, in order."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def add(self, index: int, *, anew: bool = False) -> None:
        """Take the next message's frame_index; anew: it comes from another publisher."""
        if self.runs and index > self.runs[-1].last and not anew:
            self.runs[-1].last = index
            self.runs[-1].count += 1
        else:
            self.runs.append(Run(index, index, 1))

    @property
    def count(self) -> int:
        """How many messages there were."""
        return sum(run.count for run in self.runs)

    def as_list(self) -> list[list[int]]:
        """Return first, last and number of each activation."""
        return [[run.first, run.last, run.count] for run in self.runs]
