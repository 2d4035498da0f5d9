# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A camera's frames through OpenCV: files, URLs, and cameras that V4l2Stream does not read."""

from __future__ import annotations

import math
import os
from threading import Event
import time

import cv2
from miniscope_ros.errors import (
    ConfigurationError,
    DeviceError,
    DeviceLost,
    EndOfData,
    Interrupted,
)
from miniscope_ros.model import RawFrame, StampSource
from miniscope_ros.sources.camera_stream import (
    FIRST_FRAME_TRIES,
    OLDEST_STAMP_NS,
    StreamInfo,
)
from miniscope_ros.transports.camera_choice import CameraRequest, same_rate
import numpy as np
from numpy.typing import NDArray

# The names of 8-bit grey in V4L2 and FFmpeg, and the property in which OpenCV reports them.
_GREY = (cv2.VideoWriter.fourcc(*'GREY'), cv2.VideoWriter.fourcc(*'Y800'))
_FORMATS = (cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_CODEC_PIXEL_FORMAT)
_MANUAL_EXPOSURE = 1  # CAP_PROP_AUTO_EXPOSURE has V4L2's numbers
_OPEN_TIMEOUT = 3000  # [ms], of streams from the network
_READ_TIMEOUT = 1000


class OpenCvStream:
    """
    What OpenCV opens: the path of a video file, a URL, a video node.

    It gives no frame numbers and no error flags. A file plays at its own rate.
    """

    def __init__(self, path: str, request: CameraRequest, stop: Event) -> None:
        """Open it and take its first frame; ConfigurationError, DeviceError, Interrupted."""
        self._path = path
        self._stop = stop
        # OpenCV waits 10 s for a frame unless that is changed before its first capture.
        os.environ.setdefault('OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT', '1')
        self._capture = _open_capture(path)
        self._due = 0.0  # when a file's next frame is to be shown
        self._is_file = os.path.isfile(path)
        self._image: NDArray[np.uint8] = np.empty((0, 0), np.uint8)
        try:
            self._begin(request)
        except BaseException:
            self.close()
            raise

    def read(self, timeout: float) -> RawFrame | None:
        """Return the next frame, of a camera within 1 s; see CameraStream."""
        capture = self._capture
        if self._is_file and not self._reached(timeout):
            return None
        if not capture.grab():
            if self._is_file:
                raise EndOfData(f'{self._path} has been played to its end')
            raise DeviceLost(f'camera {self._path} sends no frames any more')
        receive_ns = time.monotonic_ns()
        good, image = capture.retrieve(self._image)
        damaged = not good or image.shape != self._image.shape or image.dtype != np.uint8
        if not damaged:
            self._image = image.view(np.uint8)
        if self._has_stamps:
            stamp_ns, stamp_source = _position_ns(capture), StampSource.BUFFER
        else:
            stamp_ns, stamp_source = receive_ns, StampSource.ARRIVAL
        return RawFrame(self._image, stamp_ns, stamp_source, receive_ns, damaged=damaged)

    def waiting(self) -> bool:
        """Return False: OpenCV does not report it."""
        return False

    def rewind(self) -> None:
        """Begin a file again; see CameraStream."""
        if self._is_file:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)

    def close(self) -> None:
        """Release it; see CameraStream."""
        self._capture.release()

    def _reached(self, timeout: float) -> bool:
        """Wait until a file's next frame is due; False if that takes longer than timeout [s]."""
        wait = self._due - time.monotonic()
        if wait > 0 and self._stop.wait(min(wait, timeout)):
            raise Interrupted(f'stopped while playing {self._path}')
        if wait > timeout:
            return False
        self._due = max(self._due, time.monotonic()) + self._period
        return True

    def _begin(self, request: CameraRequest) -> None:
        """Ask for what is wanted, take the first frame and see what it is."""
        capture, path = self._capture, self._path
        _ask_format(capture, request)
        _ask_exposure(capture, path, request.exposure)
        frame_rate, warnings = _ask_rate(capture, path, request.frame_rate)
        if any(int(capture.get(place)) in _GREY for place in _FORMATS):
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)  # else OpenCV makes three equal channels
        self._await_first_frame()
        self._has_stamps = (
            capture.getBackendName() == 'V4L2'
            and 0 < time.monotonic_ns() - _position_ns(capture) < OLDEST_STAMP_NS)
        good, image = capture.retrieve()
        if not good or image.dtype != np.uint8 or image.ndim != 2 and image.shape[2:] != (3,):
            raise DeviceError(
                f'camera {path} gives images of another kind than 8-bit grey or colour'
                + (f': {image.shape} {image.dtype}' if good else ''))
        self._image = image.view(np.uint8)
        height, width = image.shape[:2]
        _check_format(capture, path, request, width, height)
        self._period = 1 / frame_rate if self._is_file else 0.0  # [s] between a file's frames
        self.info = StreamInfo(
            width, height, 'mono8' if image.ndim == 2 else 'bgr8', frame_rate,
            f'OpenCV {capture.getBackendName()}', warnings)

    def _await_first_frame(self) -> None:
        for _ in range(FIRST_FRAME_TRIES):
            if self._stop.is_set():
                raise Interrupted(f'stopped while opening camera {self._path}')
            if self._capture.grab():
                return
        raise DeviceError(f'camera {self._path} opens but sends no frame: plug it in again')


def _open_capture(path: str) -> cv2.VideoCapture:
    """Open what OpenCV is to read; DeviceError if it cannot."""
    if path.startswith('/dev/video'):
        capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
    elif '://' in path:
        capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT])
    else:
        capture = cv2.VideoCapture(path)
    if not capture.isOpened():
        raise DeviceError(f'OpenCV cannot open camera {path}: no such camera, or in use')
    return capture


def _ask_format(capture: cv2.VideoCapture, request: CameraRequest) -> None:
    """Ask for pixel format and size; the first frame shows what became of it."""
    if len(request.pixel_format) == 4:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*request.pixel_format))
    if request.width:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, request.width)
    if request.height:
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, request.height)


def _check_format(
    capture: cv2.VideoCapture, path: str, request: CameraRequest, width: int, height: int,
) -> None:
    """Raise ConfigurationError if it gives something else than was asked for."""
    got = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, 'little').decode(errors='replace')
    if (request.width not in (0, width) or request.height not in (0, height)
            or request.pixel_format not in ('', got)):
        raise ConfigurationError(
            f'image_width, image_height, pixel_format: {path} does not give {request}, only '
            f'{got} {width}x{height}')


def _ask_exposure(capture: cv2.VideoCapture, path: str, exposure: float) -> None:
    if exposure <= 0:
        return
    capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL_EXPOSURE)
    if not capture.set(cv2.CAP_PROP_EXPOSURE, exposure):
        raise ConfigurationError(
            f'exposure cannot be {exposure:g}: {path} does not take it; set exposure to 0')


def _ask_rate(
    capture: cv2.VideoCapture, path: str, asked: float,
) -> tuple[float, tuple[str, ...]]:
    """Ask for the set rate; return what the camera answers, and a warning if it differs."""
    if asked > 0:
        capture.set(cv2.CAP_PROP_FPS, asked)
    answer = capture.get(cv2.CAP_PROP_FPS)
    answer = answer if answer > 0 else math.nan
    if asked > 0 and not same_rate(answer, asked):
        return answer, (
            f'camera {path} was asked for {asked:g} frames/s and answers {answer:g}',)
    return answer, ()


def _position_ns(capture: cv2.VideoCapture) -> int:
    """Return the frame's position; with V4L2 that is the buffer's stamp, in microseconds."""
    return 1000 * round(1000 * capture.get(cv2.CAP_PROP_POS_MSEC))
