# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The topics that carry each frame unchanged: image, account, camera_info and orientation."""

from __future__ import annotations

from typing import Protocol

from builtin_interfaces.msg import Time
from miniscope_msgs.msg import FrameInfo, OrientationRow
from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.acquisition.orientation import normalized, unit
from miniscope_ros.model import Quaternion, ReadingStatus, SourceInfo
from miniscope_ros.node.packers import Packers
from miniscope_ros.node.stream_publishers import StreamPublishers
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image, Imu


class TransformSender(Protocol):
    """Broadcasts the orientation as a transform."""

    def send(self, stamp: Time, parent: str, child: str, quaternion: Quaternion) -> None:
        """Broadcast one transform."""
        ...

    def close(self) -> None:
        """Remove the publisher."""
        ...


class FrameTopics:
    """Publishes the frames of one configured source; made at configure, dropped at cleanup."""

    def __init__(
        self,
        streams: StreamPublishers,
        info: SourceInfo,
        camera_info: CameraInfo,
        transforms: TransformSender | None,
    ) -> None:
        """Create the topics; those of the orientation only if the source has the sensor."""
        self._streams = streams
        self._camera_info_message = camera_info
        self._transforms = transforms
        self._raw = streams.create(Image, '~/image_raw')
        self._camera_info = streams.create(CameraInfo, '~/camera_info')
        self._frame_info = streams.create(FrameInfo, '~/frame_info')
        self._imu: Publisher | None = None
        self._rows: Publisher | None = None
        if info.has_orientation:
            self._imu = streams.create(Imu, '~/imu/data')
            self._rows = streams.create(OrientationRow, '~/orientation_rows')

    def close(self) -> None:
        """Remove what is not a stream."""
        if self._transforms is not None:
            self._transforms.close()

    def set_camera_info(self, message: CameraInfo) -> None:
        """Publish another calibration from the next frame on."""
        self._camera_info_message = message

    def publish_frame(self, frame: Frame, stamp: Time, packers: Packers) -> None:
        """Publish the raw image and its account."""
        subscribed = self._streams.subscribed_topics
        if self._raw in subscribed:
            self._raw.publish(packers.image(stamp, frame.sample.image))
        if self._frame_info not in subscribed:
            return
        sample, loss = frame.sample, frame.loss
        reading_status = frame.reading_status
        if reading_status is ReadingStatus.REPEATED and not packers.settings.skip_repeated:
            reading_status = ReadingStatus.PUBLISHED
        self._frame_info.publish(packers.frame_info(
            stamp.sec, stamp.nanosec, frame.frame_index, frame.capture_index, loss.lost,
            loss.damaged, loss.evidence, frame.device_frame_count, frame.sync_edge, reading_status,
            sample.stamp_source, sample.digital_inputs, frame.time_ms, sample.device_time_ms,
            *divmod(frame.receive_ns, 1_000_000_000), frame.content, loss.uncertainty))

    def publish_camera_info(self, stamp: Time, packers: Packers) -> None:
        """Publish the calibration with the frame's stamp."""
        if self._camera_info in self._streams.subscribed_topics:
            message = self._camera_info_message
            message.header.stamp = stamp
            message.header.frame_id = packers.settings.frame_id
            self._camera_info.publish(message)

    def publish_orientation(
        self, frame: Frame, stamp: Time, packers: Packers,
    ) -> Quaternion | None:
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
        settings = packers.settings
        if frame.reading_status is ReadingStatus.REPEATED and settings.skip_repeated:
            return quaternion
        turn = normalized(quaternion)
        subscribed = self._streams.subscribed_topics
        if self._imu is not None and self._imu in subscribed:
            self._imu.publish(packers.imu(
                stamp.sec, stamp.nanosec, *turn[1:], turn[0], *packers.imu_constants))
        if self._rows is not None and self._rows in subscribed:
            self._rows.publish(packers.row(
                stamp.sec, stamp.nanosec, frame.frame_index, frame.time_ms, *quaternion))
        if self._transforms is not None:
            self._transforms.send(stamp, settings.world_frame_id, settings.imu_frame_id, turn)
        return quaternion
