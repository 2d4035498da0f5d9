# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Finding DAQ boxes, and other cameras, among the video nodes of this computer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import os

from miniscope_ros.errors import DeviceError
from miniscope_ros.transports import usb

BOX = ('04b4', '00f9')
"""USB vendor and product of the DAQ box; it has no serial number."""

NOTHING_FOUND = (
    'no Miniscope DAQ box (USB 04b4:00f9) found: check cable and power; '
    '`lsusb -d 04b4:00f9` must list the box; if it does and there is no /dev/video*, '
    'load its driver (sudo modprobe uvcvideo) or, in a container, pass the device in')

_SYSFS = '/sys/class/video4linux'
_BY_PATH = '/dev/v4l/by-path'


@dataclass(frozen=True)
class VideoNode:
    """A video node that gives images."""

    path: str  # as /dev/video0; another one after each plugging in
    usb_port: str  # as 2-1.3: the same for the same socket
    name: str  # what the kernel calls the card
    by_path: str  # the link that names the socket; empty where there is none
    vendor: str  # USB vendor and product, four hexadecimal digits each
    product: str

    @property
    def is_box(self) -> bool:
        """Return whether it is a DAQ box."""
        return (self.vendor, self.product) == BOX

    def __str__(self) -> str:
        """Return it in words, for lists in messages."""
        return f'{self.path} at USB port {self.usb_port}, "{self.name}" ({self.by_path})'


def scan() -> list[VideoNode]:
    """Return every USB camera's capture node, by number of the node."""
    try:
        with os.scandir(_SYSFS) as entries:
            names = [entry.name for entry in entries if entry.name.startswith('video')]
    except OSError:
        return []
    names.sort(key=lambda name: (len(name), name))
    return [found for name in names if (found := _look_at(name))]


def boxes() -> list[VideoNode]:
    """Return all DAQ boxes, by number of the node."""
    return [found for found in scan() if found.is_box]


def find(device: str) -> VideoNode:
    """
    Return the DAQ box that the parameter device names.

    Empty means the only one there is; else a path, a name in /dev/v4l/by-path or a number. Raises
    DeviceError, with what there is instead.
    """
    return _choose(device, boxes(), 'DAQ box', NOTHING_FOUND)


def find_camera(device: str) -> VideoNode:
    """Return the camera that the parameter device names, like find()."""
    return _choose(
        device, scan(), 'camera', 'no camera found: check its cable (`lsusb` must list it)')


def find_port(usb_port: str) -> VideoNode | None:
    """Return the DAQ box at a USB port, whatever its number is now; None if there is none."""
    return next((found for found in boxes() if found.usb_port == usb_port), None)


def node_path(device: str) -> str:
    """Return the device node that a path, a link, a by-path name or a number stands for."""
    if device.isdecimal():
        return f'/dev/video{device}'
    path = device if '/' in device else f'{_BY_PATH}/{device}'
    try:
        return os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    except OSError:
        return path


def _choose(device: str, there: Sequence[VideoNode], kind: str, nothing: str) -> VideoNode:
    if not there:
        raise DeviceError(nothing)
    listed = '; '.join(map(str, there))
    if not device:
        if len(there) == 1:
            return there[0]
        raise DeviceError(f'more than one {kind}: set device to one of {listed}')
    path = node_path(device)
    for found in there:
        if found.path == path:
            return found
    raise DeviceError(f'{device} is no {kind} that gives images; there is {listed}')


def _look_at(name: str) -> VideoNode | None:
    path = f'/dev/{name}'
    try:
        if _read(f'{_SYSFS}/{name}/index') != '0':
            return None  # a camera's further nodes carry metadata
        return VideoNode(
            path, usb.port(path), _read(f'{_SYSFS}/{name}/name'), _by_path(name),
            usb.attribute(path, 'idVendor'), usb.attribute(path, 'idProduct'))
    except OSError:
        return None  # not on USB, or unplugged at this moment


def _by_path(name: str) -> str:
    try:
        with os.scandir(_BY_PATH) as entries:
            return min((
                entry.path for entry in entries
                if os.path.basename(os.readlink(entry.path)) == name), default='')
    except OSError:
        return ''


def _read(path: str) -> str:
    with open(path, encoding='utf-8', errors='replace') as file:
        return file.read().strip()
