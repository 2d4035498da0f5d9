# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Which QoS a recorder asks for, and how rosbag2 writes down what was offered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

# rosbag2 has infinity as the largest 32-bit numbers that fit its fields.
_INFINITE = {'sec': 2147483647, 'nsec': 4294967295}
_INFINITE_NS = 2 ** 63 - 1


def adapted(offered: Sequence[QoSProfile], depth: int) -> QoSProfile:
    """Return a profile that all publishers fit: as strong as the weakest of them offers."""
    reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered)
    kept = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered)
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if kept else DurabilityPolicy.VOLATILE)


def as_rosbag2(qos: QoSProfile) -> dict[str, Any]:
    """Return a profile as in metadata.yaml of version 9."""
    return {
        'history': qos.history.name.lower(), 'depth': qos.depth,
        'reliability': qos.reliability.name.lower(), 'durability': qos.durability.name.lower(),
        'deadline': _duration(qos.deadline), 'lifespan': _duration(qos.lifespan),
        'liveliness': qos.liveliness.name.lower(),
        'liveliness_lease_duration': _duration(qos.liveliness_lease_duration),
        'avoid_ros_namespace_conventions': bool(qos.avoid_ros_namespace_conventions)}


def _duration(duration: Duration) -> dict[str, int]:
    nanoseconds = int(duration.nanoseconds)
    if nanoseconds >= _INFINITE_NS:
        return dict(_INFINITE)
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return {'sec': seconds, 'nsec': rest}
