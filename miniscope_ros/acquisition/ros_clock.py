# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The offset from the monotonic clock to the ROS clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import time

STEP_NS = 1_000_000
"""A jump of the system clock that is reported [ns]."""

_BRACKETS = 8


@dataclass(frozen=True)
class ClockState:
    """What diagnostics report of the two clocks."""

    offset_ns: int  # system minus monotonic, as the running acquisition uses it
    drift_ns: int  # what the system clock would say now, minus that
    steps: int  # of the system clock since the acquisition began


class RosTime:
    """
    The offset from the monotonic clock to the ROS (system) clock.

    It is taken when an acquisition starts and kept until the next one, so that stamps neither
    jump nor run backwards when somebody sets the computer's clock.
    """

    def __init__(
        self,
        system_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._system_ns = system_ns
        self._monotonic_ns = monotonic_ns
        self._offset_ns = self._last_ns = self._measure()
        self._steps = 0

    def _measure(self) -> int:
        """Return system minus monotonic [ns], of several bracketed reads the tightest one."""
        best_width, best_offset = None, 0
        for _ in range(_BRACKETS):
            before = self._monotonic_ns()
            system = self._system_ns()
            after = self._monotonic_ns()
            if best_width is None or after - before < best_width:
                best_width, best_offset = after - before, system - (before + after) // 2
        return best_offset

    def start(self) -> None:
        """Measure the offset again: an acquisition begins."""
        self._offset_ns = self._last_ns = self._measure()
        self._steps = 0

    def check(self) -> int:
        """Return by how much the system clock was stepped since the last check [ns], or 0."""
        now = self._measure()
        step, self._last_ns = now - self._last_ns, now
        if abs(step) <= STEP_NS:
            return 0
        self._steps += 1
        return step

    def at(self, monotonic_ns: int) -> int:
        """Return the ROS time of a monotonic one [ns]."""
        return monotonic_ns + self._offset_ns

    def afresh(self, monotonic_ns: int) -> int:
        """Return the ROS time of a monotonic one [ns], with the offset as it is now."""
        return monotonic_ns + self._measure()

    @property
    def state(self) -> ClockState:
        """Return the offset in use and what became of the system clock since."""
        return ClockState(self._offset_ns, self._last_ns - self._offset_ns, self._steps)


class FollowedTime(RosTime):
    """A ROS clock that runs at a pace of its own (use_sim_time): now is all that can be asked."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        super().__init__()
        self._now_ns = now_ns
        self._tick_ns = self._asked = 0

    def check(self) -> int:
        """Return 0: such a clock may be set at any time."""
        return 0

    def at(self, monotonic_ns: int) -> int:
        """
        Return the ROS time now [ns]: that of what has just happened.

        No two answers are equal, even if the clock ticks more slowly than frames come.
        """
        now_ns = self._now_ns()
        self._asked = self._asked + 1 if now_ns == self._tick_ns else 0
        self._tick_ns = now_ns
        return now_ns + self._asked

    def afresh(self, monotonic_ns: int) -> int:
        """Return the ROS time now [ns]; see at."""
        return self.at(monotonic_ns)
