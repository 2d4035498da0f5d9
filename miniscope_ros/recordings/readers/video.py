# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The images of one video file, in order, decoded by OpenCV.

Decoders yield nothing from a file that cannot be opened, and end where a file cannot be decoded
any further: what is missing then is seen in the time stamps that are left over.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
from miniscope_ros.errors import DeviceError
from miniscope_ros.regular import check_regular
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""A grey image (height, width) or a colour image (height, width, 3), BGR."""

Decoder = Callable[[Path], Generator[Image, None, None]]

LARGEST_IMAGE = 1 << 26
"""Pixels; the largest sensor of any scope has 5 million. A header that says more is damaged."""

_LOOKS = 16  # the most images of a file that are looked at for colour
_FILES = 8  # the most files of a recording that are looked at
# What OpenCV calls pixel formats of one channel, as the numbers of their four letters.
_GREY = {int.from_bytes(name, 'little') for name in (b'Y800', b'GREY', b'Y8  ', b'Y8\0\0')}


def check_size(path: Path, width: int, height: int) -> None:
    """Raise DeviceError for an image size that would take all memory."""
    if width * height > LARGEST_IMAGE:
        raise DeviceError(f'{path} says that its images have {width}x{height} pixels, which no '
                          'scope or camera has')


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    """Open a video; what is no file, or cannot be opened, has no images."""
    capture = cv2.VideoCapture()
    try:
        try:
            check_regular(path)
        except OSError:
            yield capture
            return
        capture.open(str(path), cv2.CAP_FFMPEG)
        check_size(path, int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
                   int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        yield capture
    finally:
        capture.release()


def opencv_colour(path: Path) -> Generator[Image, None, None]:
    """Decode to BGR; a grey image of a lossless codec has its exact value in every channel."""
    with _opened(path) as capture:
        while True:
            read, image = capture.read()
            if not read:
                return
            yield image.astype(np.uint8, copy=False)


def opencv_grey(path: Path) -> Generator[Image, None, None]:
    """Decode to grey; a grey image of a lossless codec has its exact value."""
    for image in opencv_colour(path):
        yield cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)


def opencv_decoder(paths: Sequence[Path]) -> Decoder:
    """
    Choose the decoder of a recording: grey where nothing in its files has colour.

    A file says so itself by its pixel format. Where that has colours, images from its beginning
    to its end are looked at: grey sensors are recorded so, too, and cameras begin with black.
    """
    chosen = np.unique(np.linspace(0, len(paths) - 1, _FILES).astype(int)).tolist()
    colour = any(_has_colour(paths[number]) for number in chosen)
    return opencv_colour if colour else opencv_grey


def _has_colour(path: Path) -> bool:
    with _opened(path) as capture:
        if int(capture.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) in _GREY:
            return False
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        read, image = capture.read()
        if read and not _is_grey(image):
            return True
        for place in np.unique(np.linspace(1, max(1, count - 1), _LOOKS).astype(int)).tolist():
            capture.set(cv2.CAP_PROP_POS_FRAMES, place)
            read, image = capture.read()
            if read and not _is_grey(image):
                return True
    return False


def _is_grey(image: Any) -> bool:
    blue, green, red = cv2.split(image)
    return bool((blue == green).all() and (blue == red).all())


def opencv_count(path: Path) -> int:
    """Return how many images the file says that it has; 0 or less where it does not say."""
    with _opened(path) as capture:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
