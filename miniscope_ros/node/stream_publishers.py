# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The publishers that exist only while the node is configured."""

from __future__ import annotations

from typing import Any

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.node.qos import stream_qos
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos_overriding_options import QoSOverridingOptions

_CHECK_PERIOD_NS = 100_000_000  # [ns] between two checks of the subscriptions


class StreamPublishers:
    """
    Makes the publishers of streams, knows which of them have subscribers, and destroys them.

    Asking the middleware for subscribers costs more than a small message, so subscribed_topics
    is up to 0.1 s old.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._publishers: list[Publisher] = []
        self.subscribed_topics: set[Publisher] = set()
        self.subscriptions_checked_ns = 0

    def create(self, kind: type[Any], topic: str) -> Publisher:
        """Return a new publisher whose QoS users may override; ConfigurationError if they err."""
        try:
            publisher = self._node.create_publisher(
                kind, topic, stream_qos(),
                qos_overriding_options=QoSOverridingOptions.with_default_policies())
        except RuntimeError as error:
            raise ConfigurationError(f'{topic} cannot be published: {error}') from error
        self._publishers.append(publisher)
        return publisher

    def check_subscriptions(self, now_ns: int) -> None:
        """Look who subscribes, if the last look is older than 0.1 s; now_ns is monotonic."""
        if now_ns - self.subscriptions_checked_ns >= _CHECK_PERIOD_NS:
            self.subscriptions_checked_ns = now_ns
            self.subscribed_topics = {
                one for one in self._publishers if one.get_subscription_count()}

    def forget_subscriptions(self) -> None:
        """Look again at the next check, however soon that is."""
        self.subscriptions_checked_ns = 0

    def destroy(self) -> None:
        """Remove all topics that were made."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)
        self._publishers.clear()
        self.subscribed_topics = set()
