# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Which transport suits a DAQ box: decided from what sysfs shows, without opening anything."""

from __future__ import annotations

from dataclasses import dataclass
import importlib.util
import os
import re

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.transports import device_node, usb, uvc

TRANSPORTS = ('auto', 'v4l2', 'usb')

_INSTALL = 'sudo apt install python3-libusb1 (or, with pip: libusb1, and libusb-1.0-0 from apt)'
_FRESH_UP_TO = (5, 10, 218)
"""
The newest kernel on which PAN and TILT were seen to come from the box with UCLA firmware. 6.1.192
and all later ones that were tried answer from a cache; what lies between is not known.
"""


@dataclass(frozen=True)
class Choice:
    """A transport, and why."""

    kind: str  # v4l2 or usb
    reason: str
    warning: str = ''  # what will be missing, and the remedy


def choose(wanted: str, port: str, has_video_node: bool, unit_guid: bytes, *,
           orientation: bool, trigger: bool) -> Choice:
    """
    Return the transport for the box at a USB port.

    wanted is one of TRANSPORTS, unit_guid the extension unit of firmware that writes its
    readings into the frames; orientation and trigger say what is to be read.
    """
    if wanted not in TRANSPORTS:
        raise ConfigurationError(
            f'transport {wanted} is unknown; there are {", ".join(TRANSPORTS)}')
    if wanted != 'auto':
        return Choice(wanted, 'as set')
    if _has_unit(port, unit_guid):
        return Choice('v4l2', 'this firmware writes its readings into the frames')
    if not (orientation or trigger):
        return Choice('v4l2', 'neither orientation nor a trigger is to be read')
    if not trigger and _kernel() <= _FRESH_UP_TO:
        return Choice('v4l2', f'Linux {os.uname().release} reads orientation from the box')
    if not has_video_node:
        return Choice('usb', 'the kernel has made no video node')
    obstacle = _obstacle(port)
    if not obstacle:
        return Choice(
            'usb', f'Linux {os.uname().release} answers readings from a cache over V4L2')
    what = ' and '.join(
        name for name, needed in (('orientation', orientation), ('the trigger', trigger))
        if needed)
    return Choice(
        'v4l2', obstacle,
        f'transport v4l2: {what} cannot be read on this kernel, and transport usb, which could, '
        f'{obstacle}')


def _has_unit(port: str, guid: bytes) -> bool:
    try:
        return guid in uvc.parse(usb.descriptors(port)).extension_units
    except OSError:
        return False


def _kernel() -> tuple[int, ...]:
    numbers = re.match(r'(\d+)\.(\d+)\.?(\d*)', os.uname().release)
    return tuple(int(number or 0) for number in numbers.groups()) if numbers else (99,)


def _obstacle(port: str) -> str:
    """Return why libusb cannot be used, and the remedy; empty if it can."""
    if importlib.util.find_spec('usb1') is None:
        return f'needs libusb1: {_INSTALL}'
    path = usb.node_path(port)
    if not os.access(path, os.R_OK | os.W_OK):
        return (f'has no permission to open {path}: install the udev rule (in the folder of '
                f'miniscope_ros: {device_node.INSTALL_RULE}), then plug the box in again')
    return ''
