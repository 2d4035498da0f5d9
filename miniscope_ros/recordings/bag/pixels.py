# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""From an image message to an array of bytes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(height, width), or (height, width, 3) BGR."""

_CHANNELS = {'mono8': 1, 'bgr8': 3}
# The first two letters of a Bayer encoding of ROS are the first two pixels; OpenCV's names are of
# the second row.
_CONVERTED = {
    '8UC1': (1, None), '8UC3': (3, None), 'rgb8': (3, cv2.COLOR_RGB2BGR),
    'bgra8': (4, cv2.COLOR_BGRA2BGR), 'rgba8': (4, cv2.COLOR_RGBA2BGR),
    'yuv422_yuy2': (2, cv2.COLOR_YUV2BGR_YUY2), 'yuv422': (2, cv2.COLOR_YUV2BGR_UYVY),
    'bayer_rggb8': (1, cv2.COLOR_BayerRGGB2BGR), 'bayer_bggr8': (1, cv2.COLOR_BayerBGGR2BGR),
    'bayer_gbrg8': (1, cv2.COLOR_BayerGBRG2BGR), 'bayer_grbg8': (1, cv2.COLOR_BayerGRBG2BGR)}
_LARGEST = 1 << 27  # pixels of a picture that is unpacked


def scope_pixels(message: Any) -> Image | None:
    """Return the pixels of an Image of ours; None where it cannot be used."""
    channels = _CHANNELS.get(message.encoding, 0)
    return _rows(message, channels) if channels else None


def camera_pixels(message: Any) -> Image | None:
    """Return the pixels of an Image or CompressedImage of any driver; None where unusable."""
    if not hasattr(message, 'encoding'):
        return _unpacked(np.asarray(message.data, np.uint8))
    if message.encoding in _CHANNELS:
        return scope_pixels(message)
    channels, conversion = _CONVERTED.get(message.encoding, (0, None))
    rows = _rows(message, channels) if channels else None
    if rows is None or conversion is None:
        return rows
    try:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(rows), conversion), np.uint8)
    except cv2.error:  # an odd width of a format that has pairs of pixels
        return None


def _rows(image: Any, channels: int) -> Image | None:
    used = image.width * channels
    if (not 0 < used <= image.step or not image.height
            or len(image.data) != image.step * image.height):
        return None
    rows = np.asarray(image.data, np.uint8).reshape(image.height, image.step)[:, :used]
    return rows if channels == 1 else rows.reshape(image.height, image.width, channels)


def _unpacked(data: Image) -> Image | None:
    try:
        picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except cv2.error:
        return None
    if picture is None or picture.dtype != np.uint8 or picture.size > _LARGEST:
        return None
    if picture.ndim == 3 and picture.shape[2] == 4:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGRA2BGR)
    return np.asarray(picture, np.uint8)
