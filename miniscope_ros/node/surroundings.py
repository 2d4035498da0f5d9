# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the node warns of in its surroundings: its name, its user and its clock."""

from __future__ import annotations

from collections.abc import Callable
import logging
import math
import os
import time

from rclpy.lifecycle import LifecycleNode

_log = logging.getLogger(__name__)

_REPEAT_S = 10.0
_CLOCK_PATIENCE_S = 5.0


class Surroundings:
    """Looks at the ROS graph and the clock; each warning is one line, at most every 10 s."""

    def __init__(self, node: LifecycleNode, follows_clock: Callable[[], bool]) -> None:
        """Begin to look; follows_clock says whether stamps are those of a simulated clock."""
        self._node = node
        self._follows_clock = follows_clock
        self._namesake_said = -math.inf
        self._clock_still_since: float | None = None  # monotonic [s]; None: it goes
        self._clock_said = False
        self._user_checked = False

    def check(self) -> None:
        """Warn of another node of the same name, and of a clock that does not exist."""
        self._check_name()
        self._check_clock()

    def check_user(self) -> None:
        """Warn once if the node runs as root."""
        if self._user_checked:
            return
        self._user_checked = True
        if os.geteuid() == 0:
            _log.warning(
                'the node runs as root: programs of other users get no images from it through '
                'shared memory; run it as the user who looks (the udev rule of config/ gives '
                'access to the box)')

    def _check_name(self) -> None:
        now = time.monotonic()
        if now - self._namesake_said < _REPEAT_S:
            return
        own = self._node.get_name(), self._node.get_namespace()
        count = sum(names == own for names in self._node.get_node_names_and_namespaces())
        if count > 1:
            self._namesake_said = now
            _log.warning(
                'another node has the same name, %s: their topics and recordings get mixed; give '
                'one of them another name or namespace (-r __node:=NAME, in a launch name:=NAME; '
                'a node that was killed is seen for some 20 s more)',
                self._node.get_fully_qualified_name())

    def _check_clock(self) -> None:
        if self._clock_said:
            return
        if not self._follows_clock() or self._node.get_clock().now().nanoseconds:
            self._clock_still_since = None
            return
        now = time.monotonic()
        if self._clock_still_since is None:
            self._clock_still_since = now
        if now - self._clock_still_since >= _CLOCK_PATIENCE_S:
            self._clock_said = True
            _log.warning(
                'use_sim_time is true, but no time has come on /clock: the stamps stand still at '
                '0 (start what publishes /clock, or set use_sim_time to false)')
