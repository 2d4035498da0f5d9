# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The newest picture of a scope, subscribed to only while somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import json
import struct
from typing import Any

from miniscope_ros.panel.ros_link import RosLink
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage

TOPIC = 'image_display/compressed'
# Never an old picture: what the panel cannot take at once is replaced by the next one.
_NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@dataclass(frozen=True)
class Picture:
    """One JPEG."""

    number: int  # rises by 1 with each picture that the panel received
    stamp_ns: int
    jpeg: bytes

    def packed(self, scope: str) -> bytes:
        """Return it as the page takes it: the length of a header (uint32 LE), header, JPEG."""
        header = json.dumps({
            'scope': scope, 'number': self.number, 'stampMs': self.stamp_ns / 1e6}).encode()
        return struct.pack('<I', len(header)) + header + self.jpeg


class Pictures:
    """The pictures of one scope; to be used in the event loop."""

    def __init__(self, link: RosLink, scope: str) -> None:
        self._link = link
        self._topic = f'{scope}/{TOPIC}'
        self._viewers: set[Callable[[], None]] = set()
        self._subscription: Subscription | None = None
        self._count = 0
        self.newest: Picture | None = None

    @property
    def viewed(self) -> bool:
        """Whether anybody looks."""
        return bool(self._viewers)

    def watch(self, on_picture: Callable[[], None]) -> None:
        """Call on_picture at every new picture; the first viewer makes the subscription."""
        self._viewers.add(on_picture)
        if self._subscription is None:
            self._subscription = self._link.subscribe(
                CompressedImage, self._topic, self._on_message, _NEWEST)

    def leave(self, on_picture: Callable[[], None]) -> None:
        """Look no more; the last viewer ends the subscription."""
        self._viewers.discard(on_picture)
        if not self._viewers and self._subscription is not None:
            self._link.remove(self._subscription)
            self._subscription = None
            self.newest = None

    def close(self) -> None:
        """End the subscription, whoever looks."""
        for viewer in list(self._viewers):
            self.leave(viewer)

    def _on_message(self, message: Any) -> None:
        if self._subscription is None:
            return
        self._count += 1
        stamp = message.header.stamp
        self.newest = Picture(
            self._count, stamp.sec * 1_000_000_000 + stamp.nanosec, bytes(message.data))
        for viewer in list(self._viewers):
            viewer()
