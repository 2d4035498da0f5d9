# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Finding DAQ boxes, and other cameras, among the video nodes of this computer."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
from dataclasses import dataclass
import os
import time

from miniscope_ros.errors import DeviceAbsent, DeviceError
from miniscope_ros.transports import device_node, usb

VENDOR = '04b4'
BOX = (VENDOR, '00f9')
"""USB vendor and product of the DAQ box; it has no serial number."""

BOX_AT_USB_2 = '00f8'
BOOT_LOADER = '00f3'

NOTHING_FOUND = (
    'no Miniscope DAQ box (USB 04b4:00f9) found: check cable and power; '
    '`lsusb -d 04b4:00f9` must list the box; if it does and there is no /dev/video*, '
    'load its driver (sudo modprobe uvcvideo) or, in a container, pass the device in')

_UNUSABLE = {
    BOX_AT_USB_2: (
        'the DAQ box at USB port {port} runs at USB 2 speed (04b4:00f8), where it has 640x480 '
        'only and no scope works: plug it into a USB 3 port with a USB 3 cable, without a hub'),
    BOOT_LOADER: (
        'the DAQ box at USB port {port} is in its boot loader (04b4:00f3) and runs no firmware: '
        'unplug it and plug it in again; if that does not help, write its firmware again'),
}

_CONTROL_INTERFACE = 0
_DRIVER_S = 0.5  # time that uvcvideo and udev get to make the nodes of a box given back
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


@dataclass(frozen=True)
class UsbBox:
    """A DAQ box on the USB bus, whatever state it is in."""

    usb_port: str
    product: str  # USB product, four hexadecimal digits
    driver: str  # of its control interface: uvcvideo, usbfs (a program), '' (none)

    @property
    def problem(self) -> str:
        """Return why it cannot be used as it is, with the remedy; empty if it can."""
        if self.product in _UNUSABLE:
            return _UNUSABLE[self.product].format(port=self.usb_port)
        if self.driver == 'usbfs':
            holders = device_node.in_use_by(usb.node_path(self.usb_port))
            return (f'the DAQ box at USB port {self.usb_port} is in use through USB by {holders}: '
                    'end that program')
        return ''


@dataclass(frozen=True)
class FoundBox:
    """A DAQ box to open."""

    usb_port: str
    video: VideoNode | None  # None where uvcvideo has not made one


def usb_boxes() -> list[UsbBox]:
    """Return the DAQ boxes on the USB bus, also those that cannot be used, by port."""
    try:
        ports = sorted(name for name in os.listdir(usb.DEVICES) if ':' not in name)
    except OSError:
        return []
    found = []
    for port in ports:
        with contextlib.suppress(OSError):
            product = usb.attribute_at(port, 'idProduct')
            if (usb.attribute_at(port, 'idVendor') == VENDOR
                    and product in (BOX[1], BOX_AT_USB_2, BOOT_LOADER)):
                found.append(UsbBox(port, product, usb.driver(port, _CONTROL_INTERFACE)))
    return found


def find_box(device: str) -> FoundBox:
    """
    Return the DAQ box that the parameter device names, with or without a video node.

    Empty means the only one there is; else a path, a name in /dev/v4l/by-path, a number or a USB
    port. A box that a killed program has taken from its driver is given back first. Raises
    DeviceError, with what there is instead.
    """
    give_back_orphans()
    nodes = boxes()
    with_node = {node.usb_port for node in nodes}
    bare = [box for box in usb_boxes() if box.usb_port not in with_node]
    for box in bare:
        if device == box.usb_port or (not device and not nodes and len(bare) == 1):
            if box.problem:
                raise DeviceError(box.problem)
            return FoundBox(box.usb_port, None)
    problems = [box.problem for box in bare if box.problem]
    if not nodes and problems:
        raise DeviceError('; '.join(problems))
    for node in nodes:
        if device == node.usb_port:
            return FoundBox(node.usb_port, node)
    found = _choose(device, nodes, 'DAQ box', NOTHING_FOUND)
    return FoundBox(found.usb_port, found)


def find_box_at(usb_port: str) -> FoundBox | None:
    """Return the usable DAQ box at a USB port; None if there is none."""
    node = find_port(usb_port)
    if node is not None:
        return FoundBox(usb_port, node)
    for box in usb_boxes():
        if box.usb_port == usb_port and not box.problem:
            give_back_orphans()
            return FoundBox(usb_port, find_port(usb_port))
    return None


def give_back_orphans() -> None:
    """Give boxes without a driver back to uvcvideo, and wait for their video nodes."""
    given = {
        box.usb_port for box in usb_boxes()
        if not box.driver and box.product == BOX[1]
        and usb.give_to_driver(box.usb_port, _CONTROL_INTERFACE)
        and usb.driver(box.usb_port, _CONTROL_INTERFACE)}
    end = time.monotonic() + _DRIVER_S
    while given - {node.usb_port for node in boxes()} and time.monotonic() < end:
        time.sleep(0.01)


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


def find_camera(device: str) -> VideoNode:
    """
    Return the camera that the parameter device names, like find_box().

    A DAQ box is one only if it is named: opened as a camera, nobody would look after its light.
    """
    there = [found for found in scan() if device or not found.is_box]
    nothing = 'no camera found: check its cable (`lsusb` must list it)'
    if not device and not there and scan():
        nothing += '; the DAQ box is opened with source:=daq'
    return _choose(device, there, 'camera', nothing)


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
        raise DeviceAbsent(nothing)
    listed = '; '.join(map(str, there))
    if not device:
        if len(there) == 1:
            return there[0]
        raise DeviceError(f'more than one {kind}: set device to one of {listed}')
    path = node_path(device)
    for found in there:
        if found.path == path:
            return found
    raise DeviceAbsent(f'{device} is no {kind} that gives images; there is {listed}')


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
