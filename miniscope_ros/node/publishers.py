# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The listener of the acquisition: hands each event to the topics it concerns."""

from __future__ import annotations

from collections.abc import Callable
import math

from builtin_interfaces.msg import Time
from miniscope_ros.acquisition.events import Change
from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.acquisition.sweep import Sweep
from miniscope_ros.display.renderer import picture_statistics, PictureStatistics
from miniscope_ros.model import SourceInfo
from miniscope_ros.node.display_topic import DisplayTopic
from miniscope_ros.node.frame_topics import FrameTopics, TransformSender
from miniscope_ros.node.image_saver import ImageSaver
from miniscope_ros.node.latched_topics import LatchedTopics
from miniscope_ros.node.optional_part import OptionalPart
from miniscope_ros.node.packers import Packers
from miniscope_ros.node.settings import TopicSettings
from miniscope_ros.node.stream_publishers import StreamPublishers
from miniscope_ros.node.terminal import Terminal
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo

_STATISTICS_PERIOD_NS = 1_000_000_000


class ConfiguredTopics:
    """The topics of one configured source; made at configure, dropped at cleanup."""

    def __init__(
        self,
        node: LifecycleNode,
        info: SourceInfo,
        settings: TopicSettings,
        latched: LatchedTopics,
        camera_info: CameraInfo,
        transforms: TransformSender | None,
    ) -> None:
        """Create the topics; none is left if that fails."""
        self.streams = StreamPublishers(node)
        try:
            self.frames = FrameTopics(self.streams, info, camera_info, transforms)
            self.display = DisplayTopic(self.streams, info, settings, latched.controls)
        except BaseException:
            self.streams.destroy()
            raise
        if info.has_orientation:
            latched.create_orientation_metadata()

    def close(self) -> None:
        """Remove the topics."""
        self.frames.close()
        self.streams.destroy()


class Publishers:
    """
    Publishes what the acquisition reports; the one place that knows its Listener protocol.

    apply may be called in any thread. The image, its account and the control changes are
    published whatever else fails; the rest is switched off when it raises, and tried again.
    """

    def __init__(
        self,
        node: LifecycleNode,
        settings: TopicSettings,
        on_stopped: Callable[[], None],
        terminal: Terminal,
    ) -> None:
        """Create the latched topics; on_stopped is called when an acquisition ends by itself."""
        self.on_stopped = on_stopped
        self.latched = LatchedTopics(node)
        self.saver = ImageSaver()
        self.sweep: Sweep | None = None  # that runs
        self.statistics: PictureStatistics | None = None  # of a frame of this acquisition
        self._node = node
        self._terminal = terminal
        self._packers = Packers(settings)
        self._topics: ConfiguredTopics | None = None
        self._info: SourceInfo | None = None
        self._sensor_rate = math.nan  # measured [frames/s]
        self._statistics_ns = 0
        self._begins = False  # no frame of this acquisition has come yet
        self._parts = {name: OptionalPart(name) for name in (
            'camera_info', 'orientation', 'the display', 'the picture statistics',
            'saving an image', 'metadata', 'digital_inputs', 'the terminal')}

    @property
    def display_skipped(self) -> int:
        """Return how many pictures of this acquisition the display has skipped."""
        return self._topics.display.skipped if self._topics is not None else 0

    @property
    def settings(self) -> TopicSettings:
        """Return the settings in force."""
        return self._packers.settings

    # Configuration

    def open(
        self, info: SourceInfo, camera_info: CameraInfo, transforms: TransformSender | None,
    ) -> None:
        """Create the topics of an open source and publish what they will carry."""
        self._info = info
        self._topics = ConfiguredTopics(
            self._node, info, self.settings, self.latched, camera_info, transforms)
        self._publish_metadata()

    def close(self) -> None:
        """Remove the topics of the source; inverse of open."""
        topics, self._topics = self._topics, None
        self._info = None
        if topics is not None:
            topics.close()

    def apply(self, settings: TopicSettings) -> None:
        """Take settings; they hold from the next frame on."""
        if settings == self.settings:
            return
        topics = self._topics
        display_changed = topics is not None and (
            (settings.display, settings.display_max_rate)
            != (self.settings.display, self.settings.display_max_rate))
        self._packers = Packers(settings)
        self._publish_metadata()  # before the first picture of another encoding
        if topics is not None and display_changed:
            topics.display.apply(settings)

    def set_camera_info(self, message: CameraInfo) -> None:
        """Publish another calibration from the next frame on."""
        if self._topics is not None:
            self._topics.frames.set_camera_info(message)

    def reset_background(self) -> None:
        """Begin the display's background again; in any thread."""
        if self._topics is not None:
            self._topics.display.reset_background()

    def _publish_metadata(self) -> None:
        if self._info is not None and self._topics is not None:
            self._parts['metadata'].run(
                self.latched.publish_metadata, self._info, self.settings, self._sensor_rate)

    # What the acquisition reports, in the capture thread

    def on_info(self, info: SourceInfo) -> None:
        """Take what is known of a source that was opened; see Listener."""
        self._info = info
        self._publish_metadata()

    def on_sensor_rate(self, rate: float) -> None:
        """Publish the measured frame rate; see Listener."""
        self._sensor_rate = rate
        self._publish_metadata()

    def on_started(self) -> None:
        """Begin an acquisition; see Listener."""
        self._sensor_rate = math.nan
        self.statistics = None
        self._statistics_ns = 0
        self._begins = True
        if self._topics is not None:
            self._topics.streams.forget_subscriptions()
            self._topics.display.begin()
        self._publish_metadata()

    def on_inputs(self, levels: int, stamp_ns: int) -> None:
        """Publish new levels of the digital inputs; see Listener."""
        if levels >= 0:
            self._parts['digital_inputs'].run(self.latched.publish_inputs, levels, stamp_ns)

    def on_change(self, change: Change) -> None:
        """Publish a control value that was sent, and all that are in force; see Listener."""
        changed = self.latched.publish_change(change, self.settings.frame_id)
        if changed and self._topics is not None:
            self._topics.display.set_controls(self.latched.controls)
            self._topics.display.reset_background_at(change.first_capture_index)
        sweep = self.sweep
        if sweep is not None:
            sweep.on_change(change)

    def on_interrupted(self, reason: str) -> None:
        """End a sweep; see Listener."""
        sweep = self.sweep
        if sweep is not None:
            sweep.on_interrupted(reason)

    def on_frame(self, frame: Frame) -> None:
        """Publish one frame, the raw image first; see Listener."""
        topics, packers, parts = self._topics, self._packers, self._parts
        if topics is None:
            return
        topics.streams.check_subscriptions(frame.sample.receive_ns)
        # All messages of a frame share it, so one stamp is all that they can have.
        sec, nanosec = divmod(frame.stamp_ns, 1_000_000_000)
        stamp = Time(sec=sec, nanosec=nanosec)
        topics.frames.publish_frame(frame, stamp, packers)
        parts['camera_info'].run(topics.frames.publish_camera_info, stamp, packers)
        quaternion = parts['orientation'].run(
            topics.frames.publish_orientation, frame, stamp, packers)
        if frame.sample.receive_ns - self._statistics_ns >= _STATISTICS_PERIOD_NS:
            self._statistics_ns = frame.sample.receive_ns
            self.statistics = parts['the picture statistics'].run(
                picture_statistics, frame.sample.image)
        sweep = self.sweep
        if sweep is not None:
            sweep.on_frame(frame)
        if self.saver.is_wanted:
            parts['saving an image'].run(self.saver.take, frame, packers.settings.frame_id)
        parts['the display'].run(topics.display.publish, frame, stamp, packers, quaternion)
        if self._begins:
            self._begins = False
            parts['the terminal'].run(
                self._terminal.streaming_began, self._info, self.settings, frame,
                self.latched.controls)
