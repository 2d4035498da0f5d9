# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The subscriptions of the built-in recorder.

They are asked in turn, not waited for: with 30 topics of two scopes at 60 frames/s, preparing a
wait for each message costs more than taking it (2 microseconds where there is none).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
import time
from types import TracebackType
from typing import Any

from miniscope_ros.recordings.frame_index import (
    FRAME_INFO,
    FrameRuns,
    index_and_stamp,
    ORIENTATION_ROW,
)
from miniscope_ros.session.bag_writer import Arrival, Channel
from miniscope_ros.session.definitions import definition, message_class
from miniscope_ros.session.message_queue import MessageQueue
from miniscope_ros.session.offered_qos import adapted, as_rosbag2
from miniscope_ros.watch.middleware import must_start
import rclpy
from rclpy.qos import DurabilityPolicy
from rclpy.signals import SignalHandlerOptions

# Messages that a subscription holds until they are taken, which happens every 4 ms. 120 images
# are two seconds at 60 frames/s.
_DEPTH = 1000
_IMAGE_DEPTH = 120
_IMAGES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
_LOGS = ('miniscope_msgs/msg/ControlChange', 'miniscope_msgs/msg/Note', 'rcl_interfaces/msg/Log')
"""Each message of these counts: repeated in a new file, one would be there twice."""
_MOST_AT_ONCE = 50  # messages of one topic that are taken before the others get their turn


class _Source:
    """One subscription."""

    def __init__(self, topic: str, type_name: str, subscription: Any) -> None:
        self.topic = topic
        self.kind = subscription.msg_type
        self.subscription = subscription
        self.runs = FrameRuns() if type_name in (FRAME_INFO, ORIENTATION_ROW) else None
        self.sequence = 0


class Intake:
    """Takes messages of topics as they appear; what was lost on the way is counted in lost."""

    def __init__(self, name: str, topics: Sequence[str], queue: MessageQueue) -> None:
        """Make the node; nothing is subscribed to yet."""
        self._name = name
        self._waiting = list(dict.fromkeys(topics))
        self._queue = queue
        self._sources: list[_Source] = []
        self._taken: list[tuple[_Source, Arrival]] = []
        self._last_ns = 0
        self.lost: Counter[str] = Counter()
        self.error = ''

    def __enter__(self) -> Intake:
        with must_start('recorder'):
            rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
            self._node = rclpy.create_node(
                self._name, enable_rosout=False, start_parameter_services=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._node.destroy_node()
        rclpy.try_shutdown()

    def look_for_topics(self) -> None:
        """Subscribe to topics that are published by now. Raises ConfigurationError for a type."""
        for topic in list(self._waiting):
            publishers = self._node.get_publishers_info_by_topic(topic)
            if publishers:
                self._waiting.remove(topic)
                self._subscribe(topic, publishers)

    def _subscribe(self, topic: str, publishers: Sequence[Any]) -> None:
        type_name = publishers[0].topic_type
        kind = message_class(type_name)
        profiles = [publisher.qos_profile for publisher in publishers]
        qos = adapted(profiles, _IMAGE_DEPTH if type_name in _IMAGES else _DEPTH)
        latched = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL and type_name not in _LOGS
        text = definition(type_name)
        self._queue.put(('channel', Channel(
            topic, type_name, text.encoding, text.text,
            str(getattr(publishers[0], 'topic_type_hash', '')),
            [as_rosbag2(profile) for profile in profiles], len(publishers) if latched else 0)), 0)
        self._sources.append(_Source(topic, type_name, self._node.create_subscription(
            kind, topic, _nothing, qos, raw=True)))

    def take(self) -> bool:
        """
        Take what has arrived; return whether there was anything.

        It is queued in the order of its reception: readers of files without an index, as after a
        crash, rely on it. So what was received since the first topic was asked waits.
        """
        begin = time.time_ns()
        found = False
        for source in self._sources:
            handle = source.subscription.handle
            for _ in range(_MOST_AT_ONCE):
                with handle:
                    taken = handle.take_message(source.kind, True)
                if taken is None:
                    break
                found = True
                self._note(source, *taken)
        self._taken.sort(key=lambda pair: pair[1].received_ns)
        ready = bisect_right(self._taken, begin, key=lambda pair: pair[1].received_ns)
        for source, arrival in self._taken[:ready]:
            self._put(source, arrival)
        del self._taken[:ready]
        return found

    def _note(self, source: _Source, data: bytes, info: dict[str, Any]) -> None:
        sequence = info.get('publication_sequence_number') or 0
        # One that is not larger comes from another publisher, or from one that began again.
        if source.sequence and sequence > source.sequence + 1 and self._is_alone(source):
            self.lost[source.topic] += sequence - source.sequence - 1
        source.sequence = sequence
        received = info.get('received_timestamp') or time.time_ns()
        self._taken.append((source, Arrival(
            source.topic, data, received, info.get('source_timestamp') or received,
            sequence & 0xffffffff)))

    def _put(self, source: _Source, arrival: Arrival) -> None:
        self._last_ns = max(self._last_ns, arrival.received_ns)
        arrival = arrival._replace(received_ns=self._last_ns)
        if not self._queue.put(('message', arrival), len(arrival.data)):
            self.lost[source.topic] += 1
        elif source.runs is not None:
            source.runs.add(*index_and_stamp(arrival.data))

    def finish(self) -> None:
        """Put what was received, but not yet queued, into the queue."""
        for source, arrival in self._taken:
            self._put(source, arrival)
        self._taken.clear()

    def _is_alone(self, source: _Source) -> bool:
        """Return whether a topic has one publisher, so that its numbers are one series."""
        return int(self._node.count_publishers(source.topic)) == 1

    def runs(self) -> dict[str, list[list[int]]]:
        """Return first, last and number of the frames of each topic that has a frame_index."""
        return {source.topic: source.runs.as_list()
                for source in self._sources if source.runs is not None}


def _nothing(message: Any) -> None:
    """Do nothing. A subscription needs a callback, but nobody spins this node."""
