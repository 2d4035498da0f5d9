# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""When a frame began at the earliest, where the computer may have stamped it late."""

from __future__ import annotations

from collections import deque
import math

_FRAMES = 8
"""
Frames whose stamps bound the next one's begin.

One of them is in time also on a computer that is late with some frames in a row. A frame that the
box never finished makes all bounds too early, until so many others have come after it.
"""


class EarliestBegin:
    """
    Bounds the begin of frames by the stamps of those before.

    A stamp that is an arrival, or is derived from one, may be late by several periods on a busy
    computer, and never early. Frames come at least one period after each other. So a frame
    may have begun as early as the stamp of any frame before it plus the periods in between.
    """

    def __init__(self) -> None:
        self._frames: deque[tuple[int, int]] = deque(maxlen=_FRAMES)  # number, begin [ns]
        self._number = 0
        self._sequence: int | None = None

    def restart(self) -> None:
        """Forget all frames: another stream begins, or another frame rate."""
        self._frames.clear()
        self._sequence = None

    def bound(self, stamp_ns: int, sequence: int | None, period_ns: float) -> int:
        """
        Take in a frame, and return when it began at the earliest [ns].

        Parameters
        ----------
        stamp_ns : int
            The frame's stamp [ns], not before its begin.
        sequence : int, optional
            The transport's number of the frame; None unknown.
        period_ns : float
            The time between frames [ns]. Where it is NaN, a frame may have begun right after the
            stamp of the one before it.

        """
        steps = 1
        if sequence is not None and self._sequence is not None:
            steps = max(1, sequence - self._sequence)
        self._sequence = sequence
        self._number += steps
        if math.isnan(period_ns):
            due = [begin_ns for _, begin_ns in self._frames][-1:]
        else:
            due = [begin_ns + round((self._number - number) * period_ns)
                   for number, begin_ns in self._frames]
        self._frames.append((self._number, stamp_ns))
        return min(stamp_ns, *due) if due else stamp_ns
