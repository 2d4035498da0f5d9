# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What other drivers put into a bag: cameras of any encoding, and the data of a session."""
from collections.abc import Iterator
from dataclasses import dataclass, field
import json
from typing import Any

import cv2
import numpy as np
from recorded_bag import EPOCH_NS, Scope
from rosbags.typesys.store import Typestore


@dataclass
class Camera(Scope):
    """A camera of any driver: images, and a camera_info beside them."""

    topic: str = 'image_raw'
    encoding: str = 'rgb8'
    info: bool = True

    def picture(self, number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return a frame as BGR: a gradient, of which JPEG keeps enough."""
        width, height = self.size
        row = np.linspace(0, 200, width) + number
        return np.dstack([np.tile(row * share, (height, 1)) for share in (1, .6, .2)]).astype(
            np.uint8)

    def messages(self, types: Typestore) -> Iterator[tuple[str, int, Any]]:
        width, height = self.size
        for number in range(self.frames):
            stamp = self.stamp(number)
            header = types.types['std_msgs/msg/Header'](
                stamp=types.types['builtin_interfaces/msg/Time'](
                    sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id='camera')
            if self.topic.endswith('/compressed'):
                _, data = cv2.imencode('.png', self.picture(number))
                yield self.topic, stamp, types.types['sensor_msgs/msg/CompressedImage'](
                    header=header, format='bgr8; png compressed bgr8', data=data.ravel())
            else:
                yield self.topic, stamp, types.types['sensor_msgs/msg/Image'](
                    header=header, height=height, width=width, encoding=self.encoding,
                    is_bigendian=0, step=3 * width,
                    data=np.ascontiguousarray(self.picture(number)[:, :, ::-1]).ravel())
            if self.info:
                base = self.topic.removesuffix('/compressed').rpartition('/')[0]
                yield f'{base}/camera_info'.lstrip('/'), stamp, _camera_info(
                    types, header, width, height)


def _camera_info(types: Typestore, header: Any, width: int, height: int) -> Any:
    return types.types['sensor_msgs/msg/CameraInfo'](
        header=header, height=height, width=width, distortion_model='', d=np.zeros(0),
        k=np.zeros(9), r=np.zeros(9), p=np.zeros(12), binning_x=0, binning_y=0,
        roi=types.types['sensor_msgs/msg/RegionOfInterest'](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False))


@dataclass
class Session(Scope):
    """What a session node says of a recording."""

    node: str = '/session'
    content: dict[str, Any] = field(default_factory=dict)

    def messages(self, types: Typestore) -> Iterator[tuple[str, int, Any]]:
        yield 'metadata', EPOCH_NS, types.types['std_msgs/msg/String'](
            data=json.dumps(self.content))
