# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Every topic of the scope node, and the messages made from a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
import math
from threading import Lock
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
from miniscope_ros.acquisition.events import Change
from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.acquisition.orientation import normalized, unit
from miniscope_ros.display.overlays import FrameState
from miniscope_ros.display.renderer import Display, picture_statistics, PictureStatistics
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.model import Quaternion, ReadingStatus, SourceInfo
from miniscope_ros.node.cdr import FRAME_INFO, image_packer, IMU, ORIENTATION_ROW, packer
from miniscope_ros.node.parameter_specs import display_settings
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

ENCODINGS = ('mono8', 'bgr8')
SIGNALS = ('qw', 'qx', 'qy', 'qz')
STATISTICS_PERIOD_NS = 1_000_000_000
ASK_PERIOD_NS = 100_000_000  # between looks at who listens
EARLY = 0.02  # part of the display's period that a picture may come too early
ACKNOWLEDGE = 1.0


class TransformSender(Protocol):
    """Broadcasts the orientation as a transform."""

    def send(self, stamp: Time, parent: str, child: str, quaternion: Quaternion) -> None:
        """Broadcast one transform."""
        ...


def to_time(nanoseconds: int) -> Time:
    """Return a time [ns] as a message."""
    sec, nanosec = divmod(nanoseconds, 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)


def _encoding(image: NDArray[np.uint8]) -> str:
    return 'mono8' if image.ndim == 2 else 'bgr8'


def wait_for_acknowledgement(publishers: Iterable[Publisher], deadline: float) -> None:
    """
    Wait until what was published has arrived at all reliable subscribers.

    At most 1 s, and not beyond the deadline, a monotonic time [s].
    """
    deadline = min(deadline, time.monotonic() + ACKNOWLEDGE)
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
        self._led_text = ''
        self._light_on = True  # also where there is none
        self.camera_info = CameraInfo()
        # All images of a frame share it, so one stamp is all that they can have.
        self._header = Header()
        self._info: SourceInfo | None = None
        self._sensor_rate = math.nan
        self._display: Display | None = None
        self._resets: list[int] = []
        self._statistics_ns = 0
        self._lost_total = 0
        self._next_display_ns = 0.0
        self._streams: list[Publisher] = []
        self._heard: set[Publisher] = set()  # of the streams those that somebody listens to
        self._asked_ns = 0
        self._telling = Lock()  # metadata are sent by the capture thread, too
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
        self._compressed_message = CompressedImage(format='jpeg', header=self._header)
        self.camera_info.header = self._header
        if self.camera_info.width == 0:
            self.camera_info.width, self.camera_info.height = info.width, info.height
        self._apply()

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

    def _apply(self) -> None:
        assert self._display is not None
        values = self._values
        # Before the first picture of another encoding.
        self._send_metadata()
        self._display.settings = display_settings(values)
        self._skip_repeated = values['orientation.skip_repeated']
        self._header.frame_id = values['frame_id']
        self._pack_image = {
            encoding: image_packer(values['frame_id'], encoding) for encoding in ENCODINGS}
        self._pack_info = packer(values['frame_id'], FRAME_INFO)
        self._pack_row = packer(values['imu_frame_id'], ORIENTATION_ROW)
        self._pack_imu = packer(values['imu_frame_id'], IMU)
        variance = values['orientation.stddev'] ** 2
        covariance = [variance if i % 4 == 0 else 0.0 for i in range(9)]
        unknown = [0.0] * 3 + [-1.0] + [0.0] * 8
        self._imu_constants = (*covariance, *unknown, *unknown)
        self._display_period_ns = (
            1e9 / values['display.max_rate'] if values['display.max_rate'] else 0.0)
        self._next_display_ns = 0

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
        with self._telling:
            values = self._values
            rate = float(values.get('frame_rate', info.frame_rate))
            limit = values['display.max_rate'] or math.inf
            color = info.encoding == 'bgr8'
            self._send_image_metadata(self._raw_metadata, rate, info.encoding)
            self._send_image_metadata(
                self._display_metadata, min(rate, limit),
                info.encoding if color else display_settings(values).encoding)
            if self._imu_metadata is not None and self._row_metadata is not None:
                self._send_changed(self._imu_metadata, SignalMetadata(
                    time_unit='milliseconds', data_unit='au', signal_names=list(SIGNALS)))
                self._send_changed(self._row_metadata, TableMetadata(
                    table_header=list(values['table_header'])))

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

    def on_started(self) -> None:
        """Begin an acquisition; see Listener."""
        self._sensor_rate = math.nan
        self.display_skipped = self._lost_total = self._next_display_ns = 0
        self._asked_ns = 0
        self._resets.clear()
        if self._display is not None:
            self._display.begin()
        self._send_metadata()

    def on_sensor_rate(self, rate: float) -> None:
        """Publish the measured frame rate; see Listener."""
        self._sensor_rate = rate
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
            lights = [
                value for name, (value, _) in self.controls.items() if name.startswith('led')]
            self._led_text = ' '.join(f'{value:g}' for value in lights)
            self._light_on = any(lights) or not lights
            self._controls.publish(Controls(
                header=header, names=list(self.controls),
                values=[value for value, _ in self.controls.values()],
                raw_values=[raw for _, raw in self.controls.values()]))
            self._resets.append(change.first_capture_index)

    def on_frame(self, frame: Frame) -> None:
        """Publish one frame, the raw image first; see Listener."""
        image = frame.sample.image
        stamp = self._header.stamp
        stamp.sec, stamp.nanosec = divmod(frame.stamp_ns, 1_000_000_000)
        if frame.sample.receive_ns - self._asked_ns >= ASK_PERIOD_NS:
            self._asked_ns = frame.sample.receive_ns
            self._heard = {one for one in self._streams if one.get_subscription_count()}
        if self._raw in self._heard:
            self._publish_image(self._raw, image)
        self._publish_info(frame)
        quaternion = self._publish_orientation(frame)
        if frame.sample.receive_ns - self._statistics_ns >= STATISTICS_PERIOD_NS:
            self._statistics_ns = frame.sample.receive_ns
            self.statistics = picture_statistics(image)
        self._lost_total += frame.loss.lost
        self._publish_display(frame, quaternion)

    def _publish_image(self, publisher: Publisher, image: NDArray[np.uint8]) -> None:
        stamp = self._header.stamp
        publisher.publish(self._pack_image[_encoding(image)](stamp.sec, stamp.nanosec, image))

    def _publish_info(self, frame: Frame) -> None:
        if self._camera_info in self._heard:
            self._camera_info.publish(self.camera_info)
        if self._frame_info not in self._heard:
            return
        sample, loss, stamp = frame.sample, frame.loss, self._header.stamp
        reading_status = frame.reading_status
        if reading_status is ReadingStatus.REPEATED and not self._skip_repeated:
            reading_status = ReadingStatus.PUBLISHED
        self._frame_info.publish(self._pack_info(
            stamp.sec, stamp.nanosec, frame.frame_index, frame.capture_index, loss.lost,
            loss.damaged, loss.evidence, frame.device_frame_count, frame.sync_edge, reading_status,
            sample.stamp_source, sample.digital_inputs, frame.time_ms, sample.device_time_ms,
            *divmod(frame.receive_ns, 1_000_000_000), frame.content, loss.uncertainty))

    def _publish_orientation(self, frame: Frame) -> Quaternion | None:
        """
        Publish a reading that may be; return one that may be shown.

        A row has it as it was read, which may be off norm 1 by max_norm_error. What takes
        orientations as rotations expects norm 1, and tf2 refuses others: it gets that.
        """
        if frame.reading_status not in (ReadingStatus.PUBLISHED, ReadingStatus.REPEATED):
            return None
        reading = frame.sample.orientation
        assert reading is not None
        quaternion = unit(reading)
        if frame.reading_status is ReadingStatus.REPEATED and self._skip_repeated:
            return quaternion
        turn = normalized(quaternion)
        stamp = self._header.stamp
        if self._imu in self._heard:
            self._imu.publish(self._pack_imu(
                stamp.sec, stamp.nanosec, *turn[1:], turn[0], *self._imu_constants))
        if self._rows in self._heard:
            self._rows.publish(self._pack_row(
                stamp.sec, stamp.nanosec, frame.frame_index, frame.time_ms, *quaternion))
        if self.transforms is not None:
            self.transforms.send(
                stamp, self._values['world_frame_id'], self._values['imu_frame_id'], turn)
        return quaternion

    def _publish_display(self, frame: Frame, quaternion: Quaternion | None) -> None:
        display = self._display
        if display is None:
            return
        while self._resets and self._resets[0] <= frame.capture_index:
            del self._resets[0]
            display.reset_background()
        plain, compressed = self._shown in self._heard, self._compressed in self._heard
        if not plain and not compressed:
            return
        state = self._state(frame, quaternion)
        stamp_ns, period_ns = frame.sample.stamp_ns, self._display_period_ns
        if stamp_ns < self._next_display_ns - EARLY * period_ns:
            display.learn(frame.sample.image, state)
            return
        # image_raw comes first: what shows it to the eye must never cost a frame.
        if frame.waiting():
            self.display_skipped += 1
            display.learn(frame.sample.image, state)
            return
        # The rate is held on average: frames come when they come.
        self._next_display_ns = max(self._next_display_ns + period_ns, stamp_ns)
        picture = display.render(frame.sample.image, state)
        if plain:
            self._publish_image(self._shown, picture)
        if compressed:
            quality = [cv2.IMWRITE_JPEG_QUALITY, self._values['display.jpeg_quality']]
            jpeg = self._compressed_message
            # Assigning an array checks every byte where checks are on, and on Humble always.
            del jpeg.data[:]
            jpeg.data.frombytes(cv2.imencode('.jpg', picture, quality)[1])
            self._compressed.publish(jpeg)

    def _state(self, frame: Frame, quaternion: Quaternion | None) -> FrameState:
        assert self._info is not None
        return FrameState(
            quaternion=quaternion, has_orientation=self._info.has_orientation,
            frame_rate=frame.rate, lost_total=self._lost_total, lost_before=frame.loss.lost,
            led_text=self._led_text, light_on=self._light_on,
            stamp_s=frame.sample.stamp_ns / 1e9)
