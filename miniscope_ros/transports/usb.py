# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""USB devices as sysfs shows them: at a port, and behind a video node."""

from __future__ import annotations

import contextlib
import fcntl
import os

from miniscope_ros.errors import DeviceError, DeviceLost
from miniscope_ros.transports import device_node, uvc
from miniscope_ros.transports import v4l2_abi as abi

DEVICES = '/sys/bus/usb/devices'


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
        return uvc.parse(descriptors(port(path))).extension_units.get(guid)
    except OSError:
        return None


def reset(path: str) -> None:
    """Reset the USB port behind a video node; the device comes back as if plugged in again."""
    try:
        at = port(path)
    except OSError as error:
        raise DeviceLost(f'{path} is on no USB port any more: plug the box in again') from error
    reset_at(at)


def attribute_at(port: str, name: str) -> str:
    """Return an attribute of the device at a USB port; OSError if it has none."""
    with open(f'{DEVICES}/{port}/{name}', encoding='utf-8', errors='replace') as file:
        return file.read().strip()


def descriptors(port: str) -> bytes:
    """Return the descriptors of the device at a USB port; OSError if there is none."""
    with open(f'{DEVICES}/{port}/descriptors', 'rb') as file:
        return file.read()


def node_path(port: str) -> str:
    """Return the USB device node of the device at a port; DeviceLost if there is none."""
    try:
        bus, number = int(attribute_at(port, 'busnum')), int(attribute_at(port, 'devnum'))
    except (OSError, ValueError) as error:
        raise DeviceLost(
            f'nothing is on USB port {port} any more: plug the box in again') from error
    return f'/dev/bus/usb/{bus:03}/{number:03}'


def reset_at(port: str) -> None:
    """Reset a USB port; the device comes back as if plugged in again."""
    path = node_path(port)
    fd = device_node.open_node(path)
    try:
        fcntl.ioctl(fd, abi.USBDEVFS_RESET, 0)
    except OSError as error:
        raise device_node.explain(path, 'reset the USB port', error) from error
    finally:
        os.close(fd)


def driver(port: str, interface: int) -> str:
    """Return which driver has an interface: uvcvideo, usbfs (a program), '' (none)."""
    # Only one configuration of a camera is ever in use.
    try:
        return os.path.basename(os.readlink(f'{DEVICES}/{port}:1.{interface}/driver'))
    except OSError:
        return ''


def give_to_driver(port: str, interface: int) -> bool:
    """
    Let the kernel find a driver for an interface that has none; return whether it did.

    A program that was killed while it used the interface through usbfs leaves it like that.
    """
    request = abi.UsbIoctl(interface=interface, ioctl_code=abi.USBDEVFS_CONNECT)
    with contextlib.suppress(OSError, DeviceError):
        fd = device_node.open_node(node_path(port))
        try:
            fcntl.ioctl(fd, abi.USBDEVFS_IOCTL, request)
        finally:
            os.close(fd)
        return True
    return False


def _file(path: str, name: str) -> str:
    # The link leads to the interface; the device is the folder above it.
    return f'/sys/class/video4linux/{os.path.basename(path)}/device/../{name}'
