# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Makes the scope on a DAQ box dark, also where nobody says which type it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from threading import Event
import time

from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.errors import DeviceError, NoLink
from miniscope_ros.sources.registry import make_daq
from miniscope_ros.transports.discovery import FoundBox
from miniscope_ros.transports.v4l2 import V4l2Transport

_FIRST_FRAME_S = 2.0
_BUFFERS = 4
_SLICE_S = 0.1
_DAMAGED = 4
"""This many damaged frames in a row show that frames have another size than the set one."""


def darken(box: FoundBox, device_type: DeviceType) -> None:
    """
    Make a scope of a known type dark.

    Nothing is read from the box for that, so its kernel driver is used where there is one.
    Raises MiniscopeError unless LED dark was seen executed.
    """
    values = {name: control.start for name, control in device_type.controls.items()}
    make_daq(
        box.usb_port, device_type, Event(), values, transport='v4l2' if box.video else 'usb',
    ).make_dark(_FIRST_FRAME_S)


def darken_unknown(box: FoundBox, catalogue: Mapping[str, DeviceType]) -> Sequence[DeviceType]:
    """
    Make a scope dark that may be of any type of the catalogue.

    The size of its frames says which types it can be. Each of these is sent its dark commands,
    and no other: to a scope of another size they could mean light. Returns those types. Raises
    MiniscopeError unless the commands of all of them were seen executed.
    """
    if box.video is None:
        raise DeviceError(
            f'the DAQ box at USB port {box.usb_port} has no video node: load its driver (sudo '
            'modprobe uvcvideo), or name the type of the scope with --device-type')
    size = _frame_size(box.video.path, {(kind.width, kind.height) for kind in catalogue.values()})
    possible = [kind for kind in catalogue.values() if (kind.width, kind.height) == size]
    # Of two colours last: what the other types send to a register that they share is undone.
    for family in _families(sorted(possible, key=lambda kind: len(kind.lights))):
        darken(box, family)
    return possible


def _families(types: Iterable[DeviceType]) -> Iterable[DeviceType]:
    """Return one of all types that are set up and made dark by the same packets."""
    families = {}
    for kind in types:
        dark = tuple(packet for light in kind.lights for packet in light.packets(light.darkest))
        families[kind.pixel_clock, kind.init, dark] = kind
    return families.values()


def _frame_size(path: str, sizes: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Return the size in which frames come whole; nothing is sent to find out."""
    silent = True
    for width, height in sorted(sizes):
        transport = V4l2Transport(path)
        transport.open(width, height)
        try:
            transport.start(_BUFFERS)
            damaged = 0
            deadline = time.monotonic() + _FIRST_FRAME_S
            while damaged < _DAMAGED and time.monotonic() < deadline:
                buffer = transport.dequeue(_SLICE_S)
                if buffer is None:
                    continue
                silent = False
                transport.requeue(buffer)
                if not buffer.damaged:
                    return width, height
                damaged += 1
        finally:
            transport.close()
    if silent:
        raise NoLink(
            f'{path} sends no frames: no link to the scope; check the coaxial cable between DAQ '
            'box and scope, and name the type of the scope with --device-type')
    raise DeviceError(
        f'{path} sends frames of no size that a type of the catalogue has: check the cables')
