# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The USB device behind a video node, as sysfs shows it."""

from __future__ import annotations

import fcntl
import os

from miniscope_ros.errors import DeviceLost
from miniscope_ros.transports import device_node
from miniscope_ros.transports import v4l2_abi as abi

_CS_INTERFACE = 0x24
_VC_EXTENSION_UNIT = 0x06


def attribute(path: str, name: str) -> str:
    """Return an attribute of the USB device behind a video node; OSError if it has none."""
    with open(_file(path, name), encoding='utf-8', errors='replace') as file:
        return file.read().strip()


def port(path: str) -> str:
    """Return which USB port, as 2-1.3, is behind a video node; OSError if there is none."""
    interface = os.readlink(f'/sys/class/video4linux/{os.path.basename(path)}/device')
    return os.path.basename(interface).partition(':')[0]


def find_unit(path: str, guid: bytes) -> int | None:
    """Return the number of the UVC extension unit with this GUID; None if there is none."""
    try:
        with open(_file(path, 'descriptors'), 'rb') as file:
            rest = file.read()
    except OSError:
        return None
    while len(rest) >= 2 and rest[0] >= 2:
        descriptor, rest = rest[:rest[0]], rest[rest[0]:]
        if (descriptor[1:3] == bytes((_CS_INTERFACE, _VC_EXTENSION_UNIT))
                and descriptor[4:20] == guid):
            return descriptor[3]
    return None


def reset(path: str) -> None:
    """Reset the USB port behind a video node; the device comes back as if plugged in again."""
    try:
        bus, device = int(attribute(path, 'busnum')), int(attribute(path, 'devnum'))
    except OSError as error:
        raise DeviceLost(f'{path} is on no USB port any more: plug the box in again') from error
    usb_path = f'/dev/bus/usb/{bus:03}/{device:03}'
    fd = device_node.open_node(usb_path)
    try:
        fcntl.ioctl(fd, abi.USBDEVFS_RESET, 0)
    except OSError as error:
        raise device_node.explain(usb_path, 'reset the USB port', error) from error
    finally:
        os.close(fd)


def _file(path: str, name: str) -> str:
    # The link leads to the interface; the device is the folder above it.
    return f'/sys/class/video4linux/{os.path.basename(path)}/device/../{name}'
