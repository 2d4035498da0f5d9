# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Readings of the orientation that turn the head by more than it can turn."""

from __future__ import annotations

from dataclasses import dataclass
import math

from miniscope_ros.model import Quaternion

_NOISE_RAD = 0.01
"""Angle by which readings of a head at rest may differ: 40 steps of the sensor's 1/16384."""


def angle_between(one: Quaternion, other: Quaternion) -> float:
    """
    Return the angle of the turn from one orientation to another [rad], 0 to pi.

    The quaternions need not have norm 1, but not norm 0; q and -q are the same orientation.
    """
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    norms = math.hypot(*one) * math.hypot(*other)
    return 2 * math.acos(min(1.0, abs(dot) / norms))


@dataclass(frozen=True, slots=True)
class _Reading:
    quaternion: Quaternion
    taken_ns: int  # the earliest time at which it can have been taken

    def reaches(self, quaternion: Quaternion, time_ns: int, max_rate: float) -> bool:
        """Return whether a head can turn from here to a quaternion until a time [ns]."""
        possible = max_rate * (time_ns - self.taken_ns) / 1e9 + _NOISE_RAD
        return angle_between(self.quaternion, quaternion) <= possible


class TurnCheck:
    """
    Finds single readings whose components are in wrong places or of two readings.

    Such a reading has norm 1. It shows as a turn that is too fast for a head, and that the next
    reading takes back. Where the next reading stays with it, the head has been turned, or the
    sensor has set its heading again by the magnetic field: that reading is possible again.
    """

    def __init__(self) -> None:
        self._last: _Reading | None = None  # the last possible one
        self._last_ns = 0  # the last time at which it was read
        self._refused: _Reading | None = None

    def possible(self, quaternion: Quaternion, time_ns: int, max_rate: float) -> bool:
        """
        Judge one reading, of any norm but 0, and remember it.

        Parameters
        ----------
        quaternion
            w, x, y, z.
        time_ns
            When it was taken [ns], on any clock.
        max_rate
            How fast a head can turn [rad/s]; infinite allows every turn.

        """
        starts = [one for one in (self._last, self._refused) if one is not None]
        if starts and math.isfinite(max_rate) and not any(
                one.reaches(quaternion, time_ns, max_rate) for one in starts):
            self._refused = _Reading(quaternion, time_ns)
            return False
        # A reading that repeats may be of the frame before: it was taken too early.
        repeated = self._last is not None and quaternion == self._last.quaternion
        self._last = _Reading(quaternion, self._last_ns if repeated else time_ns)
        self._last_ns = time_ns
        self._refused = None
        return True
