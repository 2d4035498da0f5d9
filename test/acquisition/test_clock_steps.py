# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The system clock is set while an acquisition runs, and before it."""
from __future__ import annotations

from pathlib import Path
import time

from capturing import capture, check_account
from miniscope_ros.acquisition.ros_clock import RosTime
import pytest

HOUR = 3600 * 10**9  # [ns]


class Clocks(RosTime):
    """A ROS clock whose system clock can be set."""

    def __init__(self) -> None:
        self.offset_ns = 0
        super().__init__(lambda: time.time_ns() + self.offset_ns)


def test_a_system_clock_that_is_set_moves_no_stamp_until_the_next_acquisition(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clocks()
    with capture(tmp_path, clock=clock) as scope:
        scope.start()
        scope.ear.wait_frames(5)
        offset = clock.state.offset_ns
        for step in (HOUR, -2 * HOUR):
            clock.offset_ns += step
            scope.box.wait(lambda step=step: f'was set by {step / 1e9:+.3f} s' in caplog.text)
        assert scope.status.clock.steps == 2
        scope.ear.wait_frames(5)
        scope.acquisition.deactivate()
        told = scope.ear.frames
        # A busy computer may lose frames of its own.
        assert check_account(told, scope.box) == scope.status.losses.lost
        assert {one.frame.stamp_ns - one.stamp_ns for one in told} == {offset}
        assert scope.status.clock.drift_ns == pytest.approx(-HOUR, abs=1e6)
        scope.acquisition.activate()
        scope.ear.wait_frames(2)
        one = scope.ear.frames[0]
        assert one.frame.stamp_ns - one.stamp_ns == pytest.approx(offset - HOUR, abs=1e6)
        assert (one.frame.time_ms, scope.status.clock.steps) == (0.0, 0)


def test_what_is_sent_before_the_first_acquisition_has_the_time_of_its_sending(
        tmp_path: Path) -> None:
    clock = Clocks()
    with capture(tmp_path, clock=clock) as scope:
        clock.offset_ns += HOUR  # between the start of the program and that of the scope
        scope.acquisition.open()
        assert scope.ear.changes
        for change in scope.ear.changes:
            sent_ns = time.time_ns() - (time.monotonic_ns() - change.event.sent_ns)
            assert change.stamp_ns - sent_ns == pytest.approx(HOUR, abs=1e8)
