# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What a configuration takes from around the node: its clock, tf2, and words for the log."""

from __future__ import annotations

import logging

from miniscope_ros.acquisition.ros_clock import FollowedTime, RosTime
from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.model import SourceInfo
from miniscope_ros.node.frame_topics import TransformSender
from rclpy.lifecycle import LifecycleNode

_log = logging.getLogger(__name__)

LIVE = ('daq', 'camera')  # sources that take place in real time


def follows_clock(node: LifecycleNode, source: str) -> bool:
    """Return whether the stamps of a source are those of a simulated clock."""
    return bool(node.get_parameter('use_sim_time').value and source not in LIVE)


def make_clock(node: LifecycleNode, source: str) -> RosTime:
    """Return the clock for the stamps of a source; warns if use_sim_time cannot be followed."""
    if follows_clock(node, source):
        return FollowedTime(lambda: int(node.get_clock().now().nanoseconds))
    if node.get_parameter('use_sim_time').value:
        _log.warning('use_sim_time is ignored: source %s takes place in real time', source)
    return RosTime()


def make_transforms(node: LifecycleNode) -> TransformSender:
    """Return what broadcasts the orientation; ConfigurationError where tf2_ros is missing."""
    try:
        from miniscope_ros.node.tf_broadcaster import Transforms
    except ImportError as error:
        raise ConfigurationError(
            f'publish_tf needs tf2_ros, which cannot be imported ({error}); install it or '
            'set publish_tf to false') from error
    return Transforms(node)


def describe_darkness(device_type: DeviceType | None) -> str:
    """Return a warning for a type whose light is not known to go out, '' for others."""
    if device_type is None or device_type.dark == 'full':
        return ''
    how = ('its LED keeps a residual glow' if device_type.dark == 'residual'
           else 'no source says how dark it is')
    return f'the light of a {device_type.name} is not known to be dark at 0: {how}'


def describe(info: SourceInfo) -> str:
    """Return in one line what was opened."""
    name = ' '.join(filter(None, (info.device_type, info.card)))
    firmware = f', firmware {info.firmware}' if info.firmware else (
        '' if info.transport == 'replay' or info.device_type == 'camera' else ', firmware unknown')
    return f'{name} at {info.path}, {info.width}x{info.height}{firmware}'
