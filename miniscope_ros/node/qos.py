# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Quality of service of the node's topics."""

from __future__ import annotations

from collections.abc import Iterable
import time

from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

STREAM_DEPTH = 10
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LOG = QoSProfile(
    depth=100, reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL)

_ACKNOWLEDGE_S = 1.0


def stream_qos() -> QoSProfile:
    """Return the profile of a stream, a new one each time: rclpy writes overrides into it."""
    return QoSProfile(depth=STREAM_DEPTH, reliability=ReliabilityPolicy.RELIABLE)


def wait_for_acknowledgement(publishers: Iterable[Publisher], deadline: float) -> None:
    """
    Wait until what was published has arrived at all reliable subscribers.

    At most 1 s, and not beyond the deadline, a monotonic time [s].
    """
    deadline = min(deadline, time.monotonic() + _ACKNOWLEDGE_S)
    for publisher in publishers:
        left = deadline - time.monotonic()
        if left > 0:
            publisher.wait_for_all_acked(Duration(seconds=left))
