# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The topics that do not depend on the lifecycle state: controls, inputs and metadata."""

from __future__ import annotations

import math
from threading import Lock
from typing import Any

from miniscope_msgs.msg import (
    ControlChange,
    Controls,
    DigitalInputs,
    FrameMetadata,
    SignalMetadata,
    TableMetadata,
)
from miniscope_ros.acquisition.events import Change
from miniscope_ros.model import SourceInfo
from miniscope_ros.node.packers import to_time
from miniscope_ros.node.qos import LATCHED, LOG
from miniscope_ros.node.settings import TopicSettings
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from std_msgs.msg import Header

_SIGNALS = ('qw', 'qx', 'qy', 'qz')


class LatchedTopics:
    """
    Publishes what late subscribers must know.

    Metadata are sent by the capture thread and by the executor, so they are locked.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self.controls: dict[str, tuple[float, int]] = {}  # value and raw value in force
        self._lock = Lock()
        self._last_latched: dict[Publisher, str] = {}
        self._controls = self._create(Controls, '~/controls')
        self._changes = node.create_publisher(ControlChange, '~/control_changes', LOG)
        self._inputs = self._create(DigitalInputs, '~/digital_inputs')
        self._raw_metadata = self._create(FrameMetadata, '~/image_raw/metadata')
        self._display_metadata = self._create(FrameMetadata, '~/image_display/metadata')
        # Made once a device with the sensor is configured: others have no such topics.
        self._orientation_metadata: tuple[Publisher, Publisher] | None = None

    def _create(self, kind: type[Any], topic: str) -> Publisher:
        return self._node.create_publisher(kind, topic, LATCHED)

    def create_orientation_metadata(self) -> None:
        """Create the metadata topics of the orientation, unless they exist."""
        if self._orientation_metadata is None:
            self._orientation_metadata = (
                self._create(SignalMetadata, '~/imu/metadata'),
                self._create(TableMetadata, '~/orientation_rows/metadata'))

    def publish_change(self, change: Change, frame_id: str) -> bool:
        """Publish a control value that was sent; return whether another value is in force now."""
        event = change.event
        header = Header(stamp=to_time(change.stamp_ns), frame_id=frame_id)
        self._changes.publish(ControlChange(
            header=header, control=event.control, value=float(event.value), raw_value=event.raw,
            reason=int(event.reason), first_capture_index=change.first_capture_index))
        value = (float(event.value), event.raw)
        if self.controls.get(event.control) == value:
            return False
        # A new one each time: other threads read it.
        self.controls = {**self.controls, event.control: value}
        self._controls.publish(Controls(
            header=header, names=list(self.controls),
            values=[value for value, _ in self.controls.values()],
            raw_values=[raw for _, raw in self.controls.values()]))
        return True

    def publish_inputs(self, levels: int, stamp_ns: int) -> None:
        """Publish the levels of the digital inputs, a bit mask, at a time of the ROS clock."""
        message = DigitalInputs(levels=levels)
        message.header.stamp = to_time(stamp_ns)
        self._inputs.publish(message)

    def publish_metadata(
        self, info: SourceInfo, settings: TopicSettings, sensor_rate: float,
    ) -> None:
        """Publish what has changed of the metadata; sensor_rate is measured [frames/s] or NaN."""
        rate = info.frame_rate if settings.frame_rate is None else settings.frame_rate
        display_rate = min(rate, settings.display_max_rate or math.inf)
        color = info.encoding == 'bgr8'
        display_encoding = info.encoding if color else settings.display.encoding
        with self._lock:
            for publisher, encoding, framerate in (
                    (self._raw_metadata, info.encoding, rate),
                    (self._display_metadata, display_encoding, display_rate)):
                self._publish_changed(publisher, settings, FrameMetadata(
                    framerate=framerate, sensor_framerate=sensor_rate,
                    has_color=encoding != 'mono8', encoding=encoding, width=info.width,
                    height=info.height, device_type=info.device_type))
            if self._orientation_metadata is not None:
                signals, table = self._orientation_metadata
                self._publish_changed(signals, settings, SignalMetadata(
                    time_unit='milliseconds', data_unit='au', signal_names=list(_SIGNALS)))
                self._publish_changed(table, settings, TableMetadata(
                    table_header=list(settings.table_header)))

    def _publish_changed(
        self, publisher: Publisher, settings: TopicSettings, message: Any,
    ) -> None:
        """Publish a latched message if it differs from the last one, the header apart."""
        content = repr(message)  # compares NaN as equal, which == does not
        if self._last_latched.get(publisher) == content:
            return
        self._last_latched[publisher] = content
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.header.frame_id = settings.frame_id
        publisher.publish(message)
