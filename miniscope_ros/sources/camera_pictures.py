# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A camera's bytes become an image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_START_OF_SCAN = b'\xff\xda'
_END_OF_IMAGE = b'\xff\xd9'


class PictureDecoder:
    """Turns frames of YUYV, GREY or MJPG into BGR or grey, always in the same array."""

    def __init__(self, pixel_format: str, width: int, height: int, row_bytes: int) -> None:
        """Take the pixel format, the size [px], and the bytes from one row to the next."""
        colour = () if pixel_format == 'GREY' else (3,)
        self.image: NDArray[np.uint8] = np.zeros((height, width, *colour), np.uint8)
        self._format = pixel_format
        self._row_bytes = row_bytes

    def decode(self, data: NDArray[np.uint8]) -> bool:
        """
        Write the frame in data into image.

        Parameters
        ----------
        data : NDArray[np.uint8]
            One dimension, as received.

        Returns
        -------
        bool
            Whether that was possible; if not, the image is that of the frame before.

        """
        if self._format == 'MJPG':
            return self._decode_jpeg(data)
        height, width = self.image.shape[:2]
        if len(data) < height * self._row_bytes:
            return False
        rows = data[:height * self._row_bytes].reshape(height, self._row_bytes)
        if self._format == 'GREY':
            np.copyto(self.image, rows[:, :width])
        else:
            pairs = rows[:, :2 * width].reshape(height, width, 2)
            cv2.cvtColor(pairs, cv2.COLOR_YUV2BGR_YUYV, dst=self.image)
        return True

    def _decode_jpeg(self, data: NDArray[np.uint8]) -> bool:
        if not _is_whole_jpeg(data.tobytes()):
            return False
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None or image.shape != self.image.shape:
            return False
        np.copyto(self.image, image)
        return True


def _is_whole_jpeg(data: bytes) -> bool:
    """
    Return whether a JPEG picture has its end.

    Decoders may show one without its end as if nothing were amiss, the rest in grey. Within the
    picture's own data these two bytes do not occur.
    """
    return data.rfind(_END_OF_IMAGE) > data.find(_START_OF_SCAN) >= 0
