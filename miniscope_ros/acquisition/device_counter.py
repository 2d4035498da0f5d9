# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The frame counter of the device, unwrapped."""

from __future__ import annotations

from dataclasses import dataclass

_TRUSTED_STEPS = 3
"""So many plausible steps in a row make a counter trusted; random values do not have them."""

_AHEAD = 1
"""A counter that is read beside a frame may be ahead of it by this many frames."""

_RECORDED_LEAP = 9
"""
By so much more than time shows a recorded counter may rise between two frames.

A program that grabs late takes its frames from a ring of a few buffers. When the ring is full
frames are lost, and the times of the grabs show nothing of that.
"""


@dataclass(slots=True)
class DeviceCounter:
    """
    The device's frame counter, unwrapped, and used only while it behaves like one.

    A counter that stands still (the kernel's cache) or leaps (one's own command word read back,
    a restarted device) is unknown until it has again risen as time did, several times in a row.

    Only a counter that is part of the frame is exact. One that is read beside it may be the next
    frame's by then, in a recording as well: the program that recorded it read it so. It then
    rises by two, and afterwards once not at all.
    """

    bits: int = 32
    exact: bool = False  # it is this very frame's number
    trusted: bool = False  # from its first value on: a recording's, which was looked at before
    count: int = -1  # of the last frame, unwrapped; -1 unknown
    _last: int | None = None
    _elapsed: int = 0
    _wrapped: int = 0
    _good: int = 0
    _may_rest: bool = False  # the last step was one too long

    def step(self, raw: int | None, elapsed: int) -> int | None:
        """
        Return by how much the counter rose since it was last read; None if it is unknown.

        raw is None where it was not read, elapsed the number of periods since the last frame.
        """
        self.count = -1
        self._elapsed += elapsed
        if raw is None:
            return None
        if self._last is None:
            self._good = _TRUSTED_STEPS * self.trusted
            step = 1
        else:
            step = (raw - self._last) % (1 << self.bits)
            plausible = self._plausible(step)
            if plausible and raw < self._last:
                self._wrapped += 1 << self.bits
            self._good = self._good + 1 if plausible else 0
            self._may_rest = step > 1
        self._last, self._elapsed = raw, 0
        if self._good < _TRUSTED_STEPS:
            return None
        self.count = self._wrapped + raw
        return step

    def _plausible(self, step: int) -> bool:
        if step == 0:
            return self._may_rest
        return step <= self._elapsed + (_RECORDED_LEAP if self.trusted else _AHEAD)

    def restart(self) -> None:
        """Forget all: a new stream begins, and the device may have started again."""
        self.count = -1
        self._last = None
        self._elapsed = self._wrapped = self._good = 0
        self._may_rest = False
