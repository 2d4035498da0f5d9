# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Any camera, colour or grey, without a scope's controls."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
from threading import Event

from miniscope_ros.errors import DeviceAbsent, DeviceError, DeviceLost
from miniscope_ros.model import RawFrame, Reason, SourceInfo
from miniscope_ros.sources.camera_opencv import OpenCvStream
from miniscope_ros.sources.camera_stream import CameraStream
from miniscope_ros.sources.camera_v4l2 import open_v4l2
from miniscope_ros.sources.uncontrolled import UncontrolledSource
from miniscope_ros.transports import discovery, usb
from miniscope_ros.transports.camera_choice import CameraRequest

_AS_IT_IS = CameraRequest()


class CameraSource(UncontrolledSource):
    """
    A camera: a number, a path, a URL, or the path of a video file.

    A video node that offers YUYV, GREY or MJPG is read through V4L2: its frames have numbers,
    error flags and the buffers' stamps. It counts as lost when nothing comes for 1 s, or for three
    periods if these are longer. All else is read through OpenCV, without numbers; stamps are the
    buffers' where OpenCV knows them, else the arrival; it counts as lost when nothing comes for
    1 s. A file plays at its own rate.
    """

    is_live = True
    has_constant_rate = False

    def __init__(
        self, stop: Event, device: str, request: CameraRequest = _AS_IT_IS,
    ) -> None:
        """Name the camera and what to ask of it; opens nothing."""
        super().__init__()
        self._stop = stop
        self._device = device
        self._request = request
        self._stream: CameraStream | None = None
        self._usb_port = ''
        self._by_path = ''  # of a camera with several streams, this one; empty where unknown

    def open(self, reason: Reason) -> SourceInfo:
        """
        Open the camera and wait for its first frame.

        Raises DeviceError if that fails, ConfigurationError if the camera does not offer what is
        asked of it.
        """
        self.close()
        path = self._find(reason)
        stream = self._stream = self._open_stream(path)
        card = ''
        with contextlib.suppress(OSError):
            card, self._usb_port = usb.attribute(path, 'product'), usb.port(path)
            self._by_path = next(
                (found.by_path for found in discovery.scan() if found.path == path), '')
        info = stream.info
        return SourceInfo(
            width=info.width, height=info.height, encoding=info.encoding, device_type='camera',
            has_orientation=False, frame_rate=info.frame_rate, card=card,
            location=self._usb_port, path=path, transport=info.transport,
            warnings=info.warnings)

    def activate(self, reason: Reason) -> None:
        """Start a file from its beginning; a camera has no light to wait for."""
        if self._stream is not None:
            self._stream.rewind()

    def read(self, timeout: float) -> RawFrame | None:
        """Return the next frame; None after timeout [s]; DeviceLost, EndOfData."""
        if self._stream is None:
            raise DeviceLost(f'camera {self._device} is not open')
        return self._stream.read(timeout)

    def waiting(self) -> bool:
        """Return whether another frame is known to be ready."""
        return self._stream is not None and self._stream.waiting()

    def deactivate(self) -> None:
        """Do nothing: a camera has no light."""

    def close(self) -> None:
        """Release the camera."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def ros_time_ns(self, sample: RawFrame, at: Callable[[int], int]) -> int:
        """Return the ROS time of the stamp; see Source."""
        return at(sample.stamp_ns)

    def _open_stream(self, path: str) -> CameraStream:
        """Open it through V4L2 where it is a video node of a kind that is read so."""
        try:
            stream: CameraStream | None = None
            if path.startswith('/dev/video'):
                stream = open_v4l2(path, self._request, self._stop)
            return stream or OpenCvStream(path, self._request, self._stop)
        except DeviceLost:
            raise
        except DeviceError as error:
            raise type(error)(f'{error}; cameras found: {_cameras()}') from error

    def _find(self, reason: Reason) -> str:
        """Return what is to be opened: after a loss, what is now at the same USB port."""
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


def _cameras() -> str:
    """Return in words the cameras of this computer; a DAQ box is none."""
    return '; '.join(str(found) for found in discovery.scan() if not found.is_box) or 'none'
