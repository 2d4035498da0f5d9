# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Video files as the Miniscope-DAQ software names them: 0.avi, 1.avi, .."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
from miniscope_ros.errors import ConfigurationError, DeviceError
import numpy as np
from numpy.typing import NDArray

CODECS = {'ffv1': 'FFV1', 'grey': 'GREY', 'mjpg': 'MJPG'}
"""Codec names and what the format calls them; all but MJPG keep every bit."""

_RATE = 60.0  # the format's files all say so, whatever the rate was


class VideoFiles:
    """The videos of one folder, all of one image size."""

    def __init__(self, folder: Path, codec: str, frames_per_file: int) -> None:
        """Write nothing yet; codec is one of CODECS, the folder exists."""
        self._folder = folder
        self._codec = codec
        self._frames_per_file = frames_per_file
        self._count = 0
        self._shape: tuple[int, ...] = ()
        self._video: _Video | None = None

    def add(self, image: NDArray[np.uint8]) -> None:
        """
        Append an image, shape (height, width) or (height, width, 3) as BGR.

        ConfigurationError for one that the files cannot hold; DeviceError if a file that is full
        is not what was written.
        """
        if not self._shape:
            self._check(image)
            self._shape = image.shape
        if image.shape != self._shape:
            raise ConfigurationError(f'the image size changes from {self._shape} to '
                                     f'{image.shape} at frame {self._count}')
        number, place = divmod(self._count, self._frames_per_file)
        if place == 0:
            self.finish()
            self._video = _Video(self._folder / f'{number}.avi', self._codec, image.shape)
        assert self._video is not None
        self._video.add(image)
        self._count += 1

    def finish(self) -> None:
        """Complete the file under way; DeviceError if it is not what was written."""
        video, self._video = self._video, None
        if video is not None:
            video.finish()

    def release(self) -> None:
        """Close the file under way as it is."""
        if self._video is not None:
            self._video.release()

    def _check(self, image: NDArray[np.uint8]) -> None:
        if self._codec == 'grey' and image.ndim == 3:
            raise ConfigurationError('GREY holds no colour; use --codec ffv1 or mjpg')
        height, width = image.shape[:2]
        if height % 2 or width % 2:  # OpenCV's writer would crop them without a word
            raise ConfigurationError(
                f'frames of {width}x{height} have an odd size, which OpenCV cannot write '
                'into a video; export them whole with --format nwb')


class _Video:
    """One file. OpenCV reports no error while writing, so the file is read back at the end."""

    def __init__(self, path: Path, codec: str, shape: tuple[int, ...]) -> None:
        self._path = path
        self._lossless = codec != 'mjpg'
        self._count = 0
        self._first: NDArray[np.uint8] | None = None
        self._last: NDArray[np.uint8] | None = None
        fourcc = cv2.VideoWriter.fourcc(*CODECS[codec])
        self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, _RATE,
                                       (shape[1], shape[0]), len(shape) == 3)
        if not self._writer.isOpened():
            raise DeviceError(f'{path}: OpenCV cannot write {CODECS[codec]}; is there space, and '
                              'was this OpenCV built with FFmpeg?')

    def add(self, image: NDArray[np.uint8]) -> None:
        self._first = image if self._first is None else self._first
        self._last = image
        self._writer.write(np.ascontiguousarray(image))
        self._count += 1

    def release(self) -> None:
        self._writer.release()

    def finish(self) -> None:
        self.release()
        reader = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        try:
            count = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
            read_first, first = reader.read()
            read_last, last = read_first, first
            if self._count > 1:  # there is no seeking in a file of one frame
                reader.set(cv2.CAP_PROP_POS_FRAMES, self._count - 1)
                read_last, last = reader.read()
        finally:
            reader.release()
        if count != self._count or not read_first or not read_last:
            raise DeviceError(f'{self._path} holds {count} of {self._count} frames; is the disk '
                              'full?')
        if self._lossless and not (_equal(first, self._first) and _equal(last, self._last)):
            raise DeviceError(f'{self._path}: this OpenCV does not keep every bit; try '
                              '--codec grey, or another OpenCV')


def _equal(read: NDArray[Any], written: NDArray[np.uint8] | None) -> bool:
    assert written is not None
    return np.array_equal(read[:, :, 0] if written.ndim == 2 else read, written)
