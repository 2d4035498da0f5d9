# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What is looked at in every diagnostics period: /diagnostics, the terminal's lines, the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import time

from diagnostic_msgs.msg import DiagnosticArray
from miniscope_ros.acquisition.events import Status
from miniscope_ros.display.renderer import PictureStatistics
from miniscope_ros.node.diagnostics import Diagnostics
from miniscope_ros.node.optional_part import OptionalPart
from miniscope_ros.node.surroundings import Surroundings
from miniscope_ros.node.terminal import Terminal
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode


@dataclass(frozen=True)
class Observation:
    """What the node knows of itself at one moment."""

    status: Status | None  # None while nothing is configured
    state: str  # of the lifecycle
    error: str  # what the last transition failed with
    statistics: PictureStatistics | None
    display_skipped: int


class Monitor:
    """Publishes /diagnostics in every lifecycle state and reports to the terminal."""

    def __init__(
        self,
        node: LifecycleNode,
        period_s: float,
        observe: Callable[[], Observation],
        terminal: Terminal,
        surroundings: Surroundings,
    ) -> None:
        """Start; observe is called on the executor once in period_s."""
        self._node = node
        self._observe = observe
        self._terminal = terminal
        self._surroundings = surroundings
        self._diagnostics = Diagnostics(f'{node.get_namespace()}/{node.get_name()}'.strip('/'))
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._parts = {name: OptionalPart(name) for name in (
            'diagnostics', 'the terminal', 'the look at the surroundings')}
        # Not on the ROS clock: a simulated one may stand still.
        self._timer = node.create_timer(
            period_s, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def set_period(self, period_s: float) -> None:
        """Look once in so many seconds from now on."""
        self._timer.timer_period_ns = int(period_s * 1e9)
        self._timer.reset()

    def _look(self) -> None:
        self._parts['diagnostics'].run(self._report)
        self._parts['the look at the surroundings'].run(self._surroundings.check)

    def _report(self) -> None:
        seen = self._observe()
        self._parts['the terminal'].run(
            self._terminal.report, seen.status, seen.statistics, seen.display_skipped)
        statuses = self._diagnostics.statuses(
            seen.status, seen.state, seen.error, seen.statistics, seen.display_skipped,
            time.monotonic())
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
