# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
USB Video Class 1.1: what a camera's descriptors say, and the numbers of its requests.

From the USB-IF documents "Universal Serial Bus Device Class Definition for Video Devices"
(UVC 1.1: chapter 3 descriptors, 4 requests, appendix A codes) and "USB Payload Uncompressed".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from miniscope_ros.transports import v4l2_controls as controls

SET_CUR = 0x01
GET_CUR = 0x81
GET_MIN = 0x82
GET_MAX = 0x83

REQUEST_SET = 0x21  # host to device, class, interface
REQUEST_GET = 0xA1

PROBE_CONTROL = 0x01
COMMIT_CONTROL = 0x02
PROBE_BYTES = 34  # length of the probe control (UVC 1.1, section 4.3.1.1)

PAYLOAD_FRAME_ID = 0x01  # bits of a payload header's second byte
PAYLOAD_END_OF_FRAME = 0x02
PAYLOAD_ERROR = 0x40

YUY2 = bytes.fromhex('5955593200001000800000aa00389b71')

_DEVICE, _INTERFACE, _ENDPOINT, _CS_INTERFACE = 0x01, 0x04, 0x05, 0x24
_VIDEO, _VIDEO_CONTROL, _VIDEO_STREAMING = 0x0E, 1, 2
_VC_INPUT_TERMINAL, _VC_PROCESSING_UNIT, _VC_EXTENSION_UNIT = 0x02, 0x05, 0x06
_VS_FORMAT_UNCOMPRESSED, _VS_FRAME_UNCOMPRESSED = 0x04, 0x05
_CAMERA_TERMINAL = 0x0201
_BULK = 2


@dataclass(frozen=True)
class ControlPlace:
    """Where a V4L2 control is found in the device."""

    in_terminal: bool  # of the camera terminal; else of the processing unit
    selector: int
    size: int  # bytes of the whole control
    offset: int  # of the value in it
    length: int  # bytes of the value
    signed: bool
    bit: int  # of bmControls, which says that the device has it


PLACES = {
    controls.BRIGHTNESS: ControlPlace(False, 0x02, 2, 0, 2, True, 0),
    controls.CONTRAST: ControlPlace(False, 0x03, 2, 0, 2, False, 1),
    controls.GAIN: ControlPlace(False, 0x04, 2, 0, 2, False, 9),
    controls.HUE: ControlPlace(False, 0x06, 2, 0, 2, True, 2),
    controls.SATURATION: ControlPlace(False, 0x07, 2, 0, 2, False, 3),
    controls.SHARPNESS: ControlPlace(False, 0x08, 2, 0, 2, False, 4),
    controls.GAMMA: ControlPlace(False, 0x09, 2, 0, 2, False, 5),
    controls.EXPOSURE_ABSOLUTE: ControlPlace(True, 0x04, 4, 0, 4, False, 3),
    controls.PAN_ABSOLUTE: ControlPlace(True, 0x0D, 8, 0, 4, True, 11),
    controls.TILT_ABSOLUTE: ControlPlace(True, 0x0D, 8, 4, 4, True, 11),
}
"""The controls that the DAQ box gives a meaning of its own, by V4L2 id."""


@dataclass
class Camera:
    """A camera function as its descriptors say it."""

    control_interface: int = -1
    streaming_interface: int = -1
    endpoint: int = 0  # address of the bulk endpoint
    packet_bytes: int = 0  # the most in one packet of it
    terminal: int = 0  # entity of the camera terminal
    terminal_controls: int = 0  # bmControls
    unit: int = 0  # entity of the processing unit
    unit_controls: int = 0
    extension_units: dict[bytes, int] = field(default_factory=dict)  # GUID -> entity
    # (width, height) [px] of YUY2 -> format index, frame index, interval [100 ns]
    sizes: dict[tuple[int, int], tuple[int, int, int]] = field(default_factory=dict)

    def has(self, control: int) -> bool:
        """Return whether the device has a V4L2 control."""
        place = PLACES.get(control)
        if place is None:
            return False
        mask = self.terminal_controls if place.in_terminal else self.unit_controls
        return bool(mask >> place.bit & 1)

    def entity(self, place: ControlPlace) -> int:
        """Return the number of the entity that has a control."""
        return self.terminal if place.in_terminal else self.unit


def parse(descriptors: bytes) -> Camera:
    """Return the first camera in a device's descriptors, as its sysfs file has them."""
    camera = Camera()
    subclass = number = format_index = 0
    for one in _split(descriptors):
        kind = one[1]
        if kind == _INTERFACE and len(one) >= 9:
            subclass, number = one[6] if one[5] == _VIDEO else 0, one[2]
            if subclass == _VIDEO_CONTROL and camera.control_interface < 0:
                camera.control_interface = number
            elif subclass == _VIDEO_STREAMING and camera.streaming_interface < 0:
                camera.streaming_interface = number
        elif kind == _ENDPOINT and number == camera.streaming_interface and len(one) >= 7:
            if one[3] & 3 == _BULK:
                camera.endpoint, camera.packet_bytes = one[2], int.from_bytes(one[4:6], 'little')
        elif kind == _CS_INTERFACE and subclass == _VIDEO_CONTROL:
            _add_entity(camera, one)
        elif kind == _CS_INTERFACE and subclass == _VIDEO_STREAMING:
            if one[2] == _VS_FORMAT_UNCOMPRESSED and len(one) >= 21:
                format_index = one[3] if one[5:21] == YUY2 else 0
            elif one[2] == _VS_FRAME_UNCOMPRESSED and len(one) >= 26 and format_index:
                width, height = _number(one, 5, 2), _number(one, 7, 2)
                camera.sizes[width, height] = format_index, one[3], _number(one, 21, 4)
    return camera


def _add_entity(camera: Camera, one: bytes) -> None:
    if one[2] == _VC_INPUT_TERMINAL and len(one) >= 15 and _number(one, 4, 2) == _CAMERA_TERMINAL:
        camera.terminal = one[3]
        camera.terminal_controls = _number(one, 15, one[14])
    elif one[2] == _VC_PROCESSING_UNIT and len(one) >= 8:
        camera.unit = one[3]
        camera.unit_controls = _number(one, 8, one[7])
    elif one[2] == _VC_EXTENSION_UNIT and len(one) >= 20:
        camera.extension_units[one[4:20]] = one[3]


def _split(descriptors: bytes) -> Iterator[bytes]:
    rest = descriptors
    while len(rest) >= 3 and rest[0] >= 2:
        yield rest[:rest[0]].ljust(3, b'\0')
        rest = rest[rest[0]:]


def _number(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset:offset + size], 'little')
