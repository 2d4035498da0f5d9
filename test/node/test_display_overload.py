# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The display topic while the computer is too slow, heard by a real subscriber."""
from listening import Listener
from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.acquisition.loss import FrameLoss
from miniscope_ros.model import Content, Evidence, RawFrame, ReadingStatus, SourceInfo, StampSource
from miniscope_ros.node.display_topic import DisplayTopic
from miniscope_ros.node.packers import Packers, to_time
from miniscope_ros.node.parameter_specs import common_specs
from miniscope_ros.node.settings import topic_settings
from miniscope_ros.node.stream_publishers import StreamPublishers
import numpy as np
import rclpy
from rclpy.lifecycle import LifecycleNode

PERIOD_NS = 50_000_000
INFO = SourceInfo(64, 48, 'mono8', 'camera', False, 20.0)
BEGIN_NS = 10**12


def frame(number: int) -> Frame:
    """Return a frame behind which another one waits."""
    stamp_ns = BEGIN_NS + number * PERIOD_NS
    sample = RawFrame(
        np.full((48, 64), number, np.uint8), stamp_ns, StampSource.BUFFER, stamp_ns + 20_000_000)
    return Frame(
        sample, stamp_ns, stamp_ns, number, number, FrameLoss(0, 0, Evidence.NONE), -1, -1,
        ReadingStatus.NONE, 0.0, 20.0, lambda: True, Content.OK)


def test_one_picture_a_second_is_shown_however_slow_it_is() -> None:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = LifecycleNode('miniscope', context=context)
    settings = topic_settings({spec.name: spec.default for spec in common_specs('scope')})
    try:
        with Listener() as ear:
            streams = StreamPublishers(node)
            topic = DisplayTopic(streams, INFO, settings, {})
            shown = ear.listen('image_display', keep=lambda image: image.data[1000])
            ear.wait_for_match(shown)
            packers = Packers(settings)
            ear.wait_until(lambda: _sees(streams), 'the publisher knows the subscriber')
            for number in range(100):  # 5 s
                topic.publish(frame(number), to_time(BEGIN_NS), packers, None)
            ear.wait_for(shown, 5)
            assert [number // 20 for number in shown] == [0, 1, 2, 3, 4]
            assert topic.skipped == 95
            topic.begin()
            assert topic.skipped == 0
            streams.destroy()
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def _sees(streams: StreamPublishers) -> bool:
    streams.forget_subscriptions()
    streams.check_subscriptions(10**15)
    return len(streams.subscribed_topics) == 1
