# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Every topic of the scope node, and the messages made from a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
import math
import time
from typing import Any, Protocol

from builtin_interfaces.msg import Time
import cv2
from miniscope_msgs.msg import (
    ControlChange,
    Controls,
    DigitalInputs,
    FrameInfo,
    FrameMetadata,
    OrientationRow,
    SignalMetadata,
    TableMetadata,
)
from miniscope_ros.display import Display, picture_statistics, PictureStatistics
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.indicators import FrameState
from miniscope_ros.ledger import Frame
from miniscope_ros.orientation import Quaternion, unit, Verdict
from miniscope_ros.scope_parameters import display_settings
from miniscope_ros.sources.sample import SourceInfo
from miniscope_ros.telling import Change
import numpy as np
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu
from std_msgs.msg import Header

STREAM_DEPTH = 10
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LOG = QoSProfile(
    depth=100, reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL)

SIGNALS = ('qw', 'qx', 'qy', 'qz')
STATISTICS_PERIOD_NS = 1_000_000_000
ACKNOWLEDGE = 1.0


class TransformSender(Protocol):
    """Broadcasts the orientation as a transform."""

    def send(self, stamp: Time, parent: str, child: str, quaternion: Quaternion) -> None:
        """Broadcast one transform."""
        ...


def to_time(nanoseconds: int) -> Time:
    """Return a time [ns] as a message."""
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def fill_image(message: Image | CompressedImage, data: NDArray[np.uint8]) -> None:
    """
    Put bytes into a message's data.

    Assigning an array checks every byte in Python where checks are on, and on Humble always.
    """
    content = message.data
    del content[:]
    content.frombytes(data)


def wait_for_acknowledgement(publishers: Iterable[Publisher]) -> None:
    """Wait until what was published has arrived at all reliable subscribers, at most 1 s."""
    deadline = time.monotonic() + ACKNOWLEDGE
    for publisher in publishers:
        left = deadline - time.monotonic()
        if left > 0:
            publisher.wait_for_all_acked(Duration(seconds=left))


class Publishers:
    """
    What the node says; the Listener of its acquisition.

    Values of parameters are taken with apply(), which may be called in any thread.
    """

    def __init__(
        self,
        node: LifecycleNode,
        values: Mapping[str, Any],
        on_stopped: Callable[[], None],
    ) -> None:
        self._node = node
        self._values = dict(values)
        self.transforms: TransformSender | None = None
        self.on_stopped = on_stopped
        self.display_skipped = 0
        self.statistics: PictureStatistics | None = None
        self.controls: dict[str, tuple[float, int]] = {}
        self.camera_info = CameraInfo()
        self._info: SourceInfo | None = None
        self._sensor_rate = math.nan
        self._display: Display | None = None
        self._display_encoding = ''
        self._resets: list[int] = []
        self._statistics_ns = 0
        self._lost_total = 0
        self._next_display_ns = 0
        self._streams: list[Publisher] = []
        self._told: dict[Publisher, str] = {}
        self._controls = self._latched(Controls, '~/controls')
        self._changes = node.create_publisher(ControlChange, '~/control_changes', LOG)
        self._inputs = self._latched(DigitalInputs, '~/digital_inputs')
        self._raw_metadata = self._latched(FrameMetadata, '~/image_raw/metadata')
        self._display_metadata = self._latched(FrameMetadata, '~/image_display/metadata')
        self._imu_metadata: Publisher | None = None
        self._row_metadata: Publisher | None = None

    def _latched(self, kind: type, topic: str) -> Publisher:
        return self._node.create_publisher(kind, topic, LATCHED)

    def _stream(self, kind: type, topic: str) -> Publisher:
        # One of its own: rclpy writes what is overridden into it.
        qos = QoSProfile(depth=STREAM_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        try:
            publisher = self._node.create_publisher(
                kind, topic, qos,
                qos_overriding_options=QoSOverridingOptions.with_default_policies())
        except RuntimeError as error:
            raise ConfigurationError(f'{topic} cannot be published: {error}') from error
        self._streams.append(publisher)
        return publisher

    # Configuration

    def open(self, info: SourceInfo) -> None:
        """Create the topics of an open source and tell what they will carry."""
        self._info = info
        self._raw = self._stream(Image, '~/image_raw')
        self._shown = self._stream(Image, '~/image_display')
        self._compressed = self._stream(CompressedImage, '~/image_display/compressed')
        self._camera_info = self._stream(CameraInfo, '~/camera_info')
        self._frame_info = self._stream(FrameInfo, '~/frame_info')
        if info.has_orientation:
            self._imu = self._stream(Imu, '~/imu/data')
            self._rows = self._stream(OrientationRow, '~/orientation_rows')
            if self._imu_metadata is None or self._row_metadata is None:
                self._imu_metadata = self._latched(SignalMetadata, '~/imu/metadata')
                self._row_metadata = self._latched(TableMetadata, '~/orientation_rows/metadata')
        color = info.encoding == 'bgr8'
        self._display = Display(info.width, info.height, color)
        self._raw_message = Image(
            height=info.height, width=info.width, encoding=info.encoding,
            step=info.width * (3 if color else 1))
        self._shown_message = Image(height=info.height, width=info.width)
        self._compressed_message = CompressedImage(format='jpeg')
        self._imu_message = Imu()
        self._imu_message.angular_velocity_covariance[0] = -1.0
        self._imu_message.linear_acceleration_covariance[0] = -1.0
        if self.camera_info.width == 0:
            self.camera_info.width, self.camera_info.height = info.width, info.height
        self._apply()
        self._display_encoding = self._display.encoding
        self._send_metadata()

    def close(self) -> None:
        """Remove the topics of the source; inverse of open."""
        self._display = None
        for publisher in self._streams:
            self._node.destroy_publisher(publisher)
        self._streams.clear()

    def apply(self, values: Mapping[str, Any]) -> None:
        """Take parameter values; they hold from the next frame on."""
        self._values = dict(values)
        if self._display is not None:
            self._apply()
            self._send_metadata()

    def _apply(self) -> None:
        values = self._values
        if self._display is not None:
            self._display.settings = display_settings(values)
        self._skip_repeated = values['orientation.skip_repeated']
        self._frame_id = values['frame_id']
        self._imu_frame_id = values['imu_frame_id']
        variance = values['orientation.stddev'] ** 2
        self._covariance = [variance if i % 4 == 0 else 0.0 for i in range(9)]
        self._display_period_ns = (
            1e9 / values['display.max_rate'] if values['display.max_rate'] else 0.0)

    def reset_background(self) -> None:
        """Begin the display's background anew; in any thread."""
        if self._display is not None:
            self._display.reset_background()

    # Latched topics

    def _send_metadata(self) -> None:
        """Send what has changed of the metadata."""
        info = self._info
        if info is None or self._display is None:
            return
        rate = float(self._values.get('frame_rate', info.frame_rate))
        limit = self._values['display.max_rate'] or math.inf
        self._send_image_metadata(self._raw_metadata, rate, info.encoding)
        self._send_image_metadata(
            self._display_metadata, min(rate, limit), self._display_encoding)
        if self._imu_metadata is not None and self._row_metadata is not None:
            self._send_changed(self._imu_metadata, SignalMetadata(
                time_unit='milliseconds', data_unit='au', signal_names=list(SIGNALS)))
            self._send_changed(self._row_metadata, TableMetadata(
                table_header=list(self._values['table_header'])))

    def _send_image_metadata(self, publisher: Publisher, rate: float, encoding: str) -> None:
        assert self._info is not None
        self._send_changed(publisher, FrameMetadata(
            framerate=rate, sensor_framerate=self._sensor_rate, has_color=encoding != 'mono8',
            encoding=encoding, width=self._info.width, height=self._info.height,
            device_type=self._info.device_type))

    def _send_changed(self, publisher: Publisher, message: Any) -> None:
        """Publish a latched message if it differs from the last one, the header apart."""
        content = repr(message)  # compares NaN as equal, which == does not
        if self._told.get(publisher) == content:
            return
        self._told[publisher] = content
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.header.frame_id = self._values['frame_id']
        publisher.publish(message)

    # What the acquisition tells

    def on_info(self, info: SourceInfo) -> None:
        """Take what is known of a source that was opened; see Listener."""
        self._info = info
        self._send_metadata()

    def on_sensor_rate(self, rate: float) -> None:
        """Publish the measured frame rate; see Listener."""
        self._sensor_rate = rate
        if math.isnan(rate):
            self.display_skipped = self._lost_total = self._next_display_ns = 0
            self._resets.clear()
            self.reset_background()
        self._send_metadata()

    def on_inputs(self, levels: int, stamp_ns: int) -> None:
        """Publish new levels of the digital inputs; see Listener."""
        if levels >= 0:
            message = DigitalInputs(levels=levels)
            message.header.stamp = to_time(stamp_ns)
            self._inputs.publish(message)

    def on_change(self, change: Change) -> None:
        """Publish a control value that was sent, and all that are in force; see Listener."""
        event = change.event
        header = Header(stamp=to_time(change.stamp_ns), frame_id=self._values['frame_id'])
        self._changes.publish(ControlChange(
            header=header, control=event.control, value=float(event.value), raw_value=event.raw,
            reason=int(event.reason), first_capture_index=change.first_capture_index))
        value = (float(event.value), event.raw)
        if self.controls.get(event.control) != value:
            # A new one each time: diagnostics read it in another thread.
            self.controls = {**self.controls, event.control: value}
            self._controls.publish(Controls(
                header=header, names=list(self.controls),
                values=[value for value, _ in self.controls.values()],
                raw_values=[raw for _, raw in self.controls.values()]))
            self._resets.append(change.first_capture_index)

    def on_frame(self, frame: Frame) -> None:
        """Publish one frame, the raw image first; see Listener."""
        stamp = to_time(frame.stamp_ns)
        image = frame.sample.image
        self._publish_raw(image, stamp)
        self._publish_info(frame, stamp)
        quaternion = self._publish_orientation(frame, stamp)
        if frame.sample.receive_ns - self._statistics_ns >= STATISTICS_PERIOD_NS:
            self._statistics_ns = frame.sample.receive_ns
            self.statistics = picture_statistics(image)
        self._lost_total += frame.loss.lost
        self._publish_display(frame, stamp, quaternion)

    def _publish_raw(self, image: NDArray[np.uint8], stamp: Time) -> None:
        if self._raw.get_subscription_count():
            message = self._raw_message
            message.header.stamp = stamp
            message.header.frame_id = self._frame_id
            fill_image(message, image)
            self._raw.publish(message)

    def _publish_info(self, frame: Frame, stamp: Time) -> None:
        header = self.camera_info.header
        header.stamp = stamp
        header.frame_id = self._frame_id
        if self._camera_info.get_subscription_count():
            self._camera_info.publish(self.camera_info)
        if not self._frame_info.get_subscription_count():
            return
        sample, loss = frame.sample, frame.loss
        verdict = frame.verdict
        if verdict is Verdict.REPEATED and not self._skip_repeated:
            verdict = Verdict.PUBLISHED
        self._frame_info.publish(FrameInfo(
            header=header, frame_index=frame.frame_index,
            capture_index=frame.capture_index, lost_before=loss.lost,
            damaged_before=loss.damaged, loss_evidence=int(loss.evidence),
            device_frame_count=frame.device_frame_count, sync_edge=frame.sync_edge,
            orientation=int(verdict), stamp_source=int(sample.stamp_source),
            digital_inputs=sample.digital_inputs, time_ms=frame.time_ms,
            device_time_ms=sample.device_time_ms, receive_time=to_time(frame.receive_ns)))

    def _publish_orientation(self, frame: Frame, stamp: Time) -> Quaternion | None:
        """Publish a reading that may be; return one that may be shown."""
        if frame.verdict not in (Verdict.PUBLISHED, Verdict.REPEATED):
            return None
        reading = frame.sample.orientation or frame.sample.quaternion
        assert reading is not None
        quaternion = unit(reading)
        if frame.verdict is Verdict.REPEATED and self._skip_repeated:
            return quaternion
        w, x, y, z = quaternion
        header = self._imu_message.header
        header.stamp = stamp
        header.frame_id = self._imu_frame_id
        if self._imu.get_subscription_count():
            message = self._imu_message
            message.orientation.w, message.orientation.x = w, x
            message.orientation.y, message.orientation.z = y, z
            message.orientation_covariance[:] = self._covariance
            self._imu.publish(message)
        if self._rows.get_subscription_count():
            self._rows.publish(OrientationRow(
                header=header, frame_index=frame.frame_index, time_ms=frame.time_ms,
                qw=w, qx=x, qy=y, qz=z))
        if self.transforms is not None:
            self.transforms.send(
                stamp, self._values['world_frame_id'], self._imu_frame_id, quaternion)
        return quaternion

    def _publish_display(
        self, frame: Frame, stamp: Time, quaternion: Quaternion | None,
    ) -> None:
        display = self._display
        if display is None:
            return
        while self._resets and self._resets[0] <= frame.capture_index:
            del self._resets[0]
            display.reset_background()
        plain = self._shown.get_subscription_count() > 0
        compressed = self._compressed.get_subscription_count() > 0
        if not plain and not compressed:
            return
        state = self._state(frame, quaternion)
        # image_raw comes first: what shows it to the eye must never cost a frame.
        if frame.waiting():
            self.display_skipped += 1
            display.learn(frame.sample.image, state)
            return
        if frame.sample.stamp_ns < self._next_display_ns:
            display.learn(frame.sample.image, state)
            return
        self._next_display_ns = frame.sample.stamp_ns + int(self._display_period_ns * 0.98)
        picture = display.render(frame.sample.image, state)
        # Settings may have changed meanwhile; the picture itself tells what it is.
        encoding = 'mono8' if picture.ndim == 2 else 'bgr8'
        if encoding != self._display_encoding:
            self._display_encoding = encoding
            self._send_metadata()
        if plain:
            message = self._shown_message
            message.header.stamp = stamp
            message.header.frame_id = self._frame_id
            message.encoding = encoding
            message.step = picture.strides[0]
            fill_image(message, picture)
            self._shown.publish(message)
        if compressed:
            quality = [cv2.IMWRITE_JPEG_QUALITY, self._values['display.jpeg_quality']]
            jpeg = self._compressed_message
            jpeg.header.stamp = stamp
            jpeg.header.frame_id = self._frame_id
            fill_image(jpeg, cv2.imencode('.jpg', picture, quality)[1])
            self._compressed.publish(jpeg)

    def _state(self, frame: Frame, quaternion: Quaternion | None) -> FrameState:
        assert self._info is not None
        lights = [value for name, (value, _) in self.controls.items() if name.startswith('led')]
        return FrameState(
            quaternion=quaternion, has_orientation=self._info.has_orientation,
            frame_rate=frame.rate, lost_total=self._lost_total, lost_before=frame.loss.lost,
            led_text=' '.join(f'{value:g}' for value in lights),
            light_on=any(lights) or not lights, stamp_s=frame.sample.stamp_ns / 1e9)
