# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What serializes the messages of one snapshot of settings."""

from __future__ import annotations

from collections.abc import Callable

from builtin_interfaces.msg import Time
from miniscope_ros.node.cdr import FRAME_INFO, image_packer, IMU, ORIENTATION_ROW, packer
from miniscope_ros.node.settings import TopicSettings
import numpy as np
from numpy.typing import NDArray

_ENCODINGS = ('mono8', 'bgr8')


def to_time(nanoseconds: int) -> Time:
    """Return a time [ns] as a message."""
    sec, nanosec = divmod(nanoseconds, 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)


class Packers:
    """The serializers of the frame's topics; made again when the settings change."""

    def __init__(self, settings: TopicSettings) -> None:
        self.settings = settings
        self.frame_info: Callable[..., bytes] = packer(settings.frame_id, FRAME_INFO)
        self.row: Callable[..., bytes] = packer(settings.imu_frame_id, ORIENTATION_ROW)
        self.imu: Callable[..., bytes] = packer(settings.imu_frame_id, IMU)
        variance = settings.stddev ** 2
        covariance = [variance if i % 4 == 0 else 0.0 for i in range(9)]
        unreported = [0.0] * 3 + [-1.0] + [0.0] * 8  # as REP 145 has it
        self.imu_constants = (*covariance, *unreported, *unreported)
        self._images = {
            encoding: image_packer(settings.frame_id, encoding) for encoding in _ENCODINGS}

    def image(self, stamp: Time, image: NDArray[np.uint8]) -> bytes:
        """Return an Image of (height, width) as mono8, of (height, width, 3) as bgr8."""
        encoding = 'mono8' if image.ndim == 2 else 'bgr8'
        return self._images[encoding](stamp.sec, stamp.nanosec, image)
