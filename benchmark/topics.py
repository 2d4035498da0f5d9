# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The topics whose subscribers are part of the measurements."""
from miniscope_msgs.msg import FrameInfo, OrientationRow
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, Imu

TYPES = {
    'image_raw': Image,
    'image_display': Image,
    'imu/data': Imu,
    'orientation_rows': OrientationRow,
    'frame_info': FrameInfo,
}
ALL = tuple(TYPES)
IMAGES = ('image_raw', 'image_display')

PUBLISHED = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)  # as the node does
SUBSCRIBED = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)  # as a recorder does
