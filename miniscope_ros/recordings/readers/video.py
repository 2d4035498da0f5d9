# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The images of one video file, in order, decoded by OpenCV.

Decoders yield nothing from a file that cannot be opened, and end where a file cannot be decoded
any further: what is missing then is seen in the time stamps that are left over.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""A grey image (height, width) or a colour image (height, width, 3), BGR."""

Decoder = Callable[[Path], Generator[Image, None, None]]


def opencv_colour(path: Path) -> Generator[Image, None, None]:
    """Decode to BGR; a grey image of a lossless codec has its exact value in every channel."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        while True:
            read, image = capture.read()
            if not read:
                return
            yield image.astype(np.uint8, copy=False)
    finally:
        capture.release()


def opencv_grey(path: Path) -> Generator[Image, None, None]:
    """Decode to grey; a grey image of a lossless codec has its exact value."""
    for image in opencv_colour(path):
        yield cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)


def opencv_decoder(path: Path) -> Decoder:
    """Choose the decoder: grey if all channels of the file's first image are equal."""
    for image in opencv_colour(path):
        blue, green, red = cv2.split(image)
        return opencv_grey if (blue == green).all() and (blue == red).all() else opencv_colour
    return opencv_colour


def opencv_count(path: Path) -> int:
    """Return how many images the file says that it has; 0 or less where it does not say."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()
