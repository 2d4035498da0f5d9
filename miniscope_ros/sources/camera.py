# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Any camera that OpenCV opens, colour or grey, without a scope's controls."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import math
import os
from threading import Event
import time

import cv2
from miniscope_ros.errors import (
    DeviceAbsent,
    DeviceError,
    DeviceLost,
    EndOfData,
    Interrupted,
)
from miniscope_ros.model import (
    RawFrame,
    Reason,
    SourceInfo,
    StampSource,
)
from miniscope_ros.sources.uncontrolled import UncontrolledSource
from miniscope_ros.transports import device_node, discovery, usb
import numpy as np
from numpy.typing import NDArray

# The names of 8-bit grey in V4L2 and FFmpeg, and the property in which OpenCV reports them.
_GREY = (cv2.VideoWriter.fourcc(*'GREY'), cv2.VideoWriter.fourcc(*'Y800'))
_FORMATS = (cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_CODEC_PIXEL_FORMAT)
_OPEN_TIMEOUT = 3000  # [ms], of streams from the network
_READ_TIMEOUT = 1000
_FIRST_FRAME_TRIES = 3  # tries of 1 s each: some cameras start slowly
_OLDEST_STAMP = 5_000_000_000  # [ns] before now; further away it is no stamp of CLOCK_MONOTONIC


class CameraSource(UncontrolledSource):
    """
    A camera through OpenCV: a number, a path, a URL, or the path of a video file.

    Stamps are those of the V4L2 buffers where these are on CLOCK_MONOTONIC, else the arrival.
    A camera that sends nothing for 1 s is taken for lost. A file plays at its own rate.
    """

    is_live = True
    has_constant_rate = False

    def __init__(self, stop: Event, device: str, frame_rate: float = math.nan) -> None:
        """Name the camera and the rate to ask for [frames/s], NaN to leave it; opens nothing."""
        super().__init__()
        self._stop = stop
        self._device = device
        self._frame_rate = frame_rate
        self._capture: cv2.VideoCapture | None = None
        self._usb_port = ''
        self._by_path = ''  # of a camera with several streams, this one; empty where unknown
        self._image: NDArray[np.uint8] = np.empty((0, 0), np.uint8)
        self._buffer_stamps = False
        self._is_file = False
        self._period = 0.0  # [s] between a file's frames
        self._due = 0.0  # when a file's next frame is to be shown

    def open(self, reason: Reason) -> SourceInfo:
        """Open the camera and take its first frame; DeviceError if that fails."""
        self.close()
        # OpenCV waits 10 s for a frame unless that is changed before its first capture.
        os.environ.setdefault('OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT', '1')
        path = self._find(reason)
        capture = self._capture = _open_capture(path)
        try:
            return self._begin(capture, path)
        except BaseException:
            self.close()
            raise

    def activate(self, reason: Reason) -> None:
        """Start a file from its beginning; a camera has no light to wait for."""
        if self._capture is not None and self._is_file:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)

    def read(self, timeout: float) -> RawFrame | None:
        """Return the next frame within 1 s, whatever the timeout; DeviceLost, EndOfData."""
        capture = self._capture
        if capture is None:
            raise DeviceLost(f'camera {self._device} is not open')
        if self._is_file and not self._reached(timeout):
            return None
        if not capture.grab():
            if self._is_file:
                raise EndOfData(f'{self._device} has been played to its end')
            raise DeviceLost(f'camera {self._device} sends no frames any more')
        receive_ns = time.monotonic_ns()
        good, image = capture.retrieve(self._image)
        damaged = not good or image.shape != self._image.shape or image.dtype != np.uint8
        if not damaged:
            self._image = image.view(np.uint8)
        if self._buffer_stamps:
            stamp_ns, stamp_source = _position_ns(capture), StampSource.BUFFER
        else:
            stamp_ns, stamp_source = receive_ns, StampSource.ARRIVAL
        return RawFrame(self._image, stamp_ns, stamp_source, receive_ns, damaged=damaged)

    def waiting(self) -> bool:
        """Return False: OpenCV does not report it."""
        return False

    def deactivate(self) -> None:
        """Do nothing: a camera has no light."""

    def close(self) -> None:
        """Release the camera."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def ros_time_ns(self, sample: RawFrame, at: Callable[[int], int]) -> int:
        """Return the ROS time of the stamp; see Source."""
        return at(sample.stamp_ns)

    def _reached(self, timeout: float) -> bool:
        """Wait until a file's next frame is due; False if that takes longer than timeout [s]."""
        wait = self._due - time.monotonic()
        if wait > 0 and self._stop.wait(min(wait, timeout)):
            raise Interrupted(f'stopped while playing {self._device}')
        if wait > timeout:
            return False
        self._due = max(self._due, time.monotonic()) + self._period
        return True

    def _find(self, reason: Reason) -> str:
        """Return what OpenCV is to open: after a loss, what is now at the same USB port."""
        if reason is Reason.RESUME and self._usb_port:
            for found in discovery.scan():
                # A camera with several streams has as many nodes at its port.
                if (found.usb_port == self._usb_port
                        and self._by_path in ('', found.by_path)):
                    return found.path
            raise DeviceAbsent(f'no camera at USB port {self._usb_port}: plug it in again')
        path = discovery.node_path(self._device) if self._device else (
            discovery.find_camera('').path)
        return path if path.startswith('/dev/video') else self._device

    def _begin(self, capture: cv2.VideoCapture, path: str) -> SourceInfo:
        """Ask for the frame rate, take the first frame and see what it is."""
        frame_rate, warnings = self._ask_rate(capture)
        if any(int(capture.get(place)) in _GREY for place in _FORMATS):
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)  # else OpenCV makes three equal channels
        self._await_first_frame(capture, path)
        self._buffer_stamps = (
            capture.getBackendName() == 'V4L2'
            and 0 < time.monotonic_ns() - _position_ns(capture) < _OLDEST_STAMP)
        good, image = capture.retrieve()
        if not good or image.dtype != np.uint8 or image.ndim != 2 and image.shape[2:] != (3,):
            raise DeviceError(
                f'camera {path} gives images of another kind than 8-bit grey or colour'
                + (f': {image.shape} {image.dtype}' if good else ''))
        self._image = image.view(np.uint8)
        self._is_file = os.path.isfile(path)
        self._period = 1 / frame_rate if self._is_file else 0.0
        self._due = 0.0
        card = ''
        with contextlib.suppress(OSError):
            card, self._usb_port = usb.attribute(path, 'product'), usb.port(path)
            self._by_path = next(
                (found.by_path for found in discovery.scan() if found.path == path), '')
        return SourceInfo(
            width=image.shape[1], height=image.shape[0],
            encoding='mono8' if image.ndim == 2 else 'bgr8', device_type='camera',
            has_orientation=False, frame_rate=frame_rate, card=card, location=self._usb_port,
            path=path, transport=f'OpenCV {capture.getBackendName()}', warnings=warnings)

    def _await_first_frame(self, capture: cv2.VideoCapture, path: str) -> None:
        for _ in range(_FIRST_FRAME_TRIES):
            if self._stop.is_set():
                raise Interrupted(f'stopped while opening camera {path}')
            if capture.grab():
                return
        raise DeviceError(f'camera {path} opens but sends no frame: plug it in again')

    def _ask_rate(self, capture: cv2.VideoCapture) -> tuple[float, tuple[str, ...]]:
        """Ask for the set rate; return what the camera answers, and a warning if it differs."""
        asked = self._frame_rate
        if asked > 0:
            capture.set(cv2.CAP_PROP_FPS, asked)
        answer = capture.get(cv2.CAP_PROP_FPS)
        answer = answer if answer > 0 else math.nan
        if asked > 0 and not math.isclose(answer, asked, rel_tol=0.01):
            return answer, (
                f'camera {self._device} was asked for {asked:g} frames/s and answers {answer:g}',)
        return answer, ()


def _open_capture(path: str) -> cv2.VideoCapture:
    """Open what OpenCV is to read; DeviceError if it cannot."""
    if path.startswith('/dev/video'):
        try:
            os.close(device_node.open_node(path))  # says why it cannot be opened; OpenCV does not
        except DeviceError as error:
            raise type(error)(f'{error}; cameras found: {_cameras()}') from error
        capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
    elif '://' in path:
        capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT])
    else:
        capture = cv2.VideoCapture(path)
    if not capture.isOpened():
        raise DeviceError(
            f'OpenCV cannot open camera {path}: no such camera, or in use; cameras found: '
            f'{_cameras()}')
    return capture


def _cameras() -> str:
    """Return in words the cameras of this computer; a DAQ box is none."""
    return '; '.join(str(found) for found in discovery.scan() if not found.is_box) or 'none'


def _position_ns(capture: cv2.VideoCapture) -> int:
    """Return the frame's position; with V4L2 that is the buffer's stamp, in microseconds."""
    return 1000 * round(1000 * capture.get(cv2.CAP_PROP_POS_MSEC))
