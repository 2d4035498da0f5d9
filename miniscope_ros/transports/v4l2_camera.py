# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Any camera through the kernel's V4L2 interface: format, frame rate, exposure."""

from __future__ import annotations

import math

from miniscope_ros.errors import ConfigurationError, DeviceError, DeviceLost
from miniscope_ros.transports import v4l2_abi as abi
from miniscope_ros.transports import v4l2_controls as controls
from miniscope_ros.transports.v4l2 import V4l2Transport
from miniscope_ros.transports.v4l2_formats import format_name

_PARTS_OF_A_RATE = 1000  # a rate is sent as a fraction with three decimals


class V4l2Camera(V4l2Transport):
    """A camera at a /dev/video* node, in one of the pixel formats that it offers."""

    def __init__(self, path: str, pixel_format: str) -> None:
        """Name the device node and the pixel format [four characters]; opens nothing."""
        super().__init__(path)
        self.pixel_format = pixel_format
        self.row_bytes = 0  # from one row to the next; 0 where frames are compressed
        self._has_fixed_size = pixel_format != 'MJPG'

    def set_rate(self, frame_rate: float) -> float:
        """
        Ask for a frame rate and return the camera's answer.

        Parameters
        ----------
        frame_rate : float
            In frames/s; 0 or NaN only ask which one the camera has.

        Returns
        -------
        float
            In frames/s; NaN if the camera does not say.

        """
        wanted = abi.StreamParameters(type=abi.BUF_TYPE_VIDEO_CAPTURE)
        asks = frame_rate > 0
        if asks:
            wanted.capture.numerator = _PARTS_OF_A_RATE
            wanted.capture.denominator = round(_PARTS_OF_A_RATE * frame_rate)
        try:
            self._call(abi.VIDIOC_S_PARM if asks else abi.VIDIOC_G_PARM, wanted,
                       f'set {frame_rate:g} frames/s')
        except DeviceLost:
            raise
        except DeviceError:
            return math.nan  # drivers may lack the call
        answer = wanted.capture
        if not answer.numerator or not answer.denominator:
            return math.nan
        return float(answer.denominator / answer.numerator)

    def set_exposure(self, exposure: int) -> int:
        """
        Switch automatic exposure off, set an exposure and return what the camera has then.

        The unit is that of V4L2_CID_EXPOSURE_ABSOLUTE: 0.1 ms with UVC cameras. Raises
        ConfigurationError for what the camera does not have.
        """
        limits = self.control_range(controls.EXPOSURE_ABSOLUTE)
        if limits is None:
            raise ConfigurationError(
                f'exposure cannot be set: {self.path} ({self.card}) has no such control; '
                'set exposure to 0')
        if not limits[0] <= exposure <= limits[1]:
            raise ConfigurationError(
                f'exposure cannot be {exposure}: {self.path} ({self.card}) takes {limits[0]} to '
                f'{limits[1]}, in units of 0.1 ms; 0 leaves it as it is')
        if self.control_range(controls.EXPOSURE_AUTO) is not None:
            self.write_control(controls.EXPOSURE_AUTO, abi.EXPOSURE_MANUAL)
        self.write_control(controls.EXPOSURE_ABSOLUTE, exposure)
        return self.read_controls([controls.EXPOSURE_ABSOLUTE])[0]

    def _set_format(self, width: int, height: int) -> None:
        wanted = abi.Format(type=abi.BUF_TYPE_VIDEO_CAPTURE)
        wanted.pix = abi.PixelFormat(
            width=width, height=height, field=abi.FIELD_NONE,
            pixelformat=int.from_bytes(self.pixel_format.encode(), 'little'))
        asked = f'{width}x{height} {self.pixel_format}'
        self._call(abi.VIDIOC_S_FMT, wanted, f'set {asked}')
        answer = wanted.pix
        got = f'{answer.width}x{answer.height} {format_name(answer.pixelformat)}'
        if got != asked:
            raise DeviceError(
                f'{self.path} ({self.card}) was asked for {asked}, which it lists, and gives '
                f'{got}: plug it in again')
        self._frame_bytes = answer.sizeimage
        self.row_bytes = 0
        if self._has_fixed_size:
            self.row_bytes = answer.bytesperline or answer.sizeimage // height
