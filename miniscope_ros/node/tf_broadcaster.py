# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The head's orientation as a transform. The only user of tf2_ros, imported when wanted."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from miniscope_ros.model import Quaternion
from rclpy.node import Node
from tf2_ros import TransformBroadcaster


class Transforms:
    """Broadcasts orientations; see TransformSender."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._broadcaster = TransformBroadcaster(node)

    def send(self, stamp: Time, parent: str, child: str, quaternion: Quaternion) -> None:
        """
        Broadcast one orientation, of norm 1: tf2 refuses what is off by more than 0.001.

        The translation is zero, since nothing measures it.
        """
        message = TransformStamped()
        message.header.stamp = stamp
        message.header.frame_id = parent
        message.child_frame_id = child
        rotation = message.transform.rotation
        rotation.w, rotation.x, rotation.y, rotation.z = quaternion
        self._broadcaster.sendTransform(message)

    def close(self) -> None:
        """Remove the publisher of /tf, which tf2 itself never does."""
        self._node.destroy_publisher(self._broadcaster.pub_tf)
