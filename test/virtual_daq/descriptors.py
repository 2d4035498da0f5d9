# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The box's USB descriptors, put together from the numbers of the USB and UVC specifications."""

from __future__ import annotations

import uuid

UNIT_GUID = uuid.UUID('b33905c0-5500-4fee-9058-2c3efd330bb9')
SIZES = ((608, 608), (2592, 1944), (1296, 972), (752, 480), (1024, 768), (800, 800), (1000, 1000),
         (1500, 1500), (1800, 1800))
AT_USB_2 = ((640, 480),)

_YUY2 = bytes.fromhex('5955593200001000800000aa00389b71')
_INTERVAL = 333333  # [100 ns]


def device_descriptors(open_ephys: bool = False, product_id: str = '00f9') -> bytes:
    """Return what the sysfs file has: the device's descriptor and its configuration."""
    product = bytes.fromhex(product_id)[::-1]
    super_speed = product_id == '00f9'
    device = bytes((
        18, 1, 0x10 if super_speed else 0, 3 if super_speed else 2, 0xEF, 2, 1,
        9 if super_speed else 64, 0xB4, 4)) + product + bytes((0, 0, 1, 2, 0, 1))
    return device + configuration(open_ephys, super_speed)


def configuration(open_ephys: bool, super_speed: bool = True) -> bytes:
    """Return the configuration's descriptors."""
    body = _association() + _control_interface(open_ephys, super_speed)
    body += _streaming_interface(SIZES if super_speed else AT_USB_2, super_speed)
    return bytes((9, 2)) + _word(9 + len(body)) + bytes((2, 1, 0, 0x80, 50)) + body


def _association() -> bytes:
    return bytes((8, 11, 0, 2, 0x0E, 3, 0, 0))


def _control_interface(open_ephys: bool, super_speed: bool) -> bytes:
    terminal = bytes((18, 0x24, 2, 1)) + _word(0x0201) + bytes((0, 0)) + bytes(6) + bytes(
        (3, 0x08, 0x08, 0x00))  # exposure time, pan and tilt
    unit = bytes((13, 0x24, 5, 2, 1, 0, 0, 3, 0x3F, 0x02, 0, 0, 0))
    guid = UNIT_GUID.bytes_le if open_ephys else bytes(range(16))
    extension = bytes((28, 0x24, 6, 3)) + guid + bytes((3, 1, 2, 3, 7, 0, 0, 0))
    output = bytes((9, 0x24, 3, 4)) + _word(0x0101) + bytes((0, 3, 0))
    entities = terminal + unit + extension + output
    header = bytes((13, 0x24, 1, 0x10, 1)) + _word(13 + len(entities)) + bytes(
        (0x00, 0x6C, 0xDC, 0x02, 1, 1))
    endpoint = bytes((7, 5, 0x82, 3)) + _word(64) + bytes((1,)) + _companion(0, super_speed, 64)
    return (bytes((9, 4, 0, 0, 1, 0x0E, 1, 0, 0)) + header + entities + endpoint
            + bytes((5, 0x25, 3)) + _word(64))


def _streaming_interface(sizes: tuple[tuple[int, int], ...], super_speed: bool) -> bytes:
    form = bytes((27, 0x24, 4, 1, len(sizes))) + _YUY2 + bytes((16, 1, 0, 0, 0, 0))
    frames = b''.join(
        bytes((30, 0x24, 5, index + 1, 0)) + _word(width) + _word(height)
        + _long(width * height * 2 * 8 * 30) * 2 + _long(width * height * 2) + _long(_INTERVAL)
        + bytes((1,)) + _long(_INTERVAL)
        for index, (width, height) in enumerate(sizes))
    color = bytes((6, 0x24, 13, 1, 1, 4))
    body = form + frames + color
    header = bytes((14, 0x24, 1, 1)) + _word(14 + len(body)) + bytes((0x83, 0, 4, 0, 0, 0, 1, 0))
    endpoint = bytes((7, 5, 0x83, 2)) + _word(1024 if super_speed else 512) + bytes((0,))
    return (bytes((9, 4, 1, 0, 1, 0x0E, 2, 0, 0)) + header + body + endpoint
            + _companion(15, super_speed, 0))


def _companion(burst: int, super_speed: bool, interval_bytes: int) -> bytes:
    return bytes((6, 0x30, burst, 0)) + _word(interval_bytes) if super_speed else b''


def _word(value: int) -> bytes:
    return value.to_bytes(2, 'little')


def _long(value: int) -> bytes:
    return (value & 0xFFFFFFFF).to_bytes(4, 'little')
