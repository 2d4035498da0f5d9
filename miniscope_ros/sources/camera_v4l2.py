# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A camera's frames through V4L2: with their numbers, error flags and stamps."""

from __future__ import annotations

import logging
from threading import Event
import time

from miniscope_ros.errors import DeviceError, DeviceLost, Interrupted
from miniscope_ros.model import RawFrame, StampSource
from miniscope_ros.sources.camera_pictures import PictureDecoder
from miniscope_ros.sources.camera_stream import (
    FIRST_FRAME_TRIES,
    OLDEST_STAMP_NS,
    StreamInfo,
)
from miniscope_ros.transports.camera_choice import (
    CameraRequest,
    choose_format,
    describe,
    same_rate,
)
from miniscope_ros.transports.transport import Buffer
from miniscope_ros.transports.v4l2_camera import V4l2Camera
from miniscope_ros.transports.v4l2_formats import CameraFormat, list_formats, own_format

_BUFFERS = 8
_SHORTEST_PATIENCE_S = 1.0  # a camera that sends nothing for so long is lost
_PATIENCE_PERIODS = 3.0  # or for so many periods, if that is longer

_log = logging.getLogger(__name__)


class V4l2Stream:
    """An open V4L2 camera."""

    def __init__(
        self, path: str, chosen: CameraFormat, request: CameraRequest, stop: Event,
    ) -> None:
        """Open it in one of its formats and wait for the first frame; DeviceError."""
        self._stop = stop
        self._camera = camera = V4l2Camera(path, chosen.pixel_format)
        try:
            camera.open(chosen.width, chosen.height)
            self.info, got = self._ask(chosen, request)
            self._decoder = PictureDecoder(
                chosen.pixel_format, chosen.width, chosen.height, camera.row_bytes)
            camera.start(_BUFFERS)
            self._has_stamps = self._await_first_frame()
        except BaseException:
            camera.close()
            raise
        rate = self.info.frame_rate
        # NaN if the camera does not say its rate: then the first of the two is the larger one.
        self._patience_s = max(_SHORTEST_PATIENCE_S, _PATIENCE_PERIODS / rate)
        self._last_frame_s = time.monotonic()
        _log.info('camera %s gives %s', path, got)

    def read(self, timeout: float) -> RawFrame | None:
        """Return the next frame; see CameraStream."""
        buffer = self._camera.dequeue(timeout)
        now_ns = time.monotonic_ns()
        if buffer is None:
            if now_ns / 1e9 - self._last_frame_s > self._patience_s:
                raise DeviceLost(f'camera {self._camera.path} sends no frames any more')
            return None
        self._last_frame_s = now_ns / 1e9
        try:
            good = not buffer.damaged and self._decoder.decode(buffer.data)
        finally:
            self._camera.requeue(buffer)
        stamp_ns, stamp_source = now_ns, StampSource.ARRIVAL
        if self._has_stamps:
            stamp_ns, stamp_source = buffer.stamp_ns or 0, StampSource.BUFFER
        return RawFrame(
            self._decoder.image, stamp_ns, stamp_source, now_ns, sequence=buffer.sequence,
            damaged=not good)

    def waiting(self) -> bool:
        """Return whether another frame is ready; see CameraStream."""
        return self._camera.waiting()

    def rewind(self) -> None:
        """Do nothing; see CameraStream."""

    def close(self) -> None:
        """Release the camera; see CameraStream."""
        self._camera.close()

    def _ask(self, chosen: CameraFormat, request: CameraRequest) -> tuple[StreamInfo, str]:
        """Ask for rate and exposure; return what it is now, once as data and once in words."""
        camera, warnings = self._camera, []
        rate = camera.set_rate(request.frame_rate)
        if request.frame_rate > 0 and not same_rate(rate, request.frame_rate):
            warnings.append(
                f'camera {camera.path} was asked for {request.frame_rate:g} frames/s and answers '
                f'{rate:g}; it offers {chosen}')
        got = f'{chosen.pixel_format} {chosen.width}x{chosen.height} at {rate:g} frames/s'
        if request.exposure > 0:
            exposure = camera.set_exposure(round(request.exposure))
            got += f', exposure {exposure}'
            if exposure != round(request.exposure):
                warnings.append(
                    f'camera {camera.path} was asked for exposure {request.exposure:g} and has '
                    f'{exposure}')
        encoding = 'mono8' if chosen.pixel_format == 'GREY' else 'bgr8'
        return StreamInfo(
            chosen.width, chosen.height, encoding, rate, f'V4L2 {chosen.pixel_format}',
            tuple(warnings)), got

    def _await_first_frame(self) -> bool:
        """Wait for a frame; return whether frames come with stamps of CLOCK_MONOTONIC."""
        for _ in range(FIRST_FRAME_TRIES):
            if self._stop.is_set():
                raise Interrupted(f'stopped while opening camera {self._camera.path}')
            buffer = self._camera.dequeue(1.0)
            if buffer is not None:
                self._camera.requeue(buffer)
                return _is_stamped(buffer)
        raise DeviceError(
            f'camera {self._camera.path} opens but sends no frame: plug it in again')


def open_v4l2(path: str, request: CameraRequest, stop: Event) -> V4l2Stream | None:
    """
    Open a camera at a video node.

    Returns None if it offers no size in a pixel format that is read here: OpenCV may know it.
    Raises ConfigurationError if it does not offer what is asked for, DeviceError if it cannot be
    opened or sends nothing, Interrupted when stop is set meanwhile.
    """
    offers = list_formats(path)
    chosen = choose_format(offers, own_format(path), request) if offers else None
    if chosen is None:
        return None
    _log.info('camera %s offers %s', path, describe(offers))
    return V4l2Stream(path, chosen, request, stop)


def _is_stamped(buffer: Buffer) -> bool:
    return buffer.stamp_ns is not None and (
        0 < time.monotonic_ns() - buffer.stamp_ns < OLDEST_STAMP_NS)
