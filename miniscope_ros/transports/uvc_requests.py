# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""UVC control requests to an opened device: each asks the device itself, never a cache."""

from __future__ import annotations

from collections.abc import Sequence
import time

from miniscope_ros.errors import DeviceError
from miniscope_ros.transports import uvc
from miniscope_ros.transports.usb_device import UsbDevice
import usb1

_READ_S = 0.1  # the longest time for all reads of one frame; the box answers in under 1 ms
_REQUEST_S = 1.0


class UvcRequests:
    """The controls of a camera, by V4L2 id, of its extension units and of its stream."""

    def __init__(self, device: UsbDevice, camera: uvc.Camera) -> None:
        self._device = device
        self._camera = camera

    def write(self, control: int, value: int) -> None:
        """Set one control."""
        place = self._place(control)
        doing = f'set control {control:#010x} to {value}'
        data = (value & (1 << 8 * place.length) - 1).to_bytes(place.length, 'little')
        if place.length != place.size:
            before = self._get(self._index(place), place.selector, place.size, doing)
            data = before[:place.offset] + data + before[place.offset + place.length:]
        self._set(self._index(place), place.selector, data, doing)

    def read(self, controls: Sequence[int]) -> list[int]:
        """Read controls, with one transfer where they share a selector, in 0.1 s at most."""
        end = time.monotonic() + _READ_S
        answers: dict[tuple[bool, int], bytes] = {}
        values = []
        for control in controls:
            place = self._place(control)
            key = place.in_terminal, place.selector
            if key not in answers:
                answers[key] = self._get(
                    self._index(place), place.selector, place.size, 'read controls',
                    seconds=end - time.monotonic())
            values.append(_value(answers[key], place))
        return values

    def limits(self, control: int) -> tuple[int, int] | None:
        """Return a control's minimum and maximum; None if the device has no such control."""
        if not self._camera.has(control):
            return None
        place = self._place(control)
        low, high = (
            _value(self._get(
                self._index(place), place.selector, place.size,
                f'ask for control {control:#010x}', request=request), place)
            for request in (uvc.GET_MIN, uvc.GET_MAX))
        return low, high

    def read_unit(self, unit: int, selector: int, size: int) -> bytes:
        """Read a control of an extension unit."""
        return self._get(
            self._unit_index(unit), selector, size,
            f'use selector {selector} of extension unit {unit}')

    def write_unit(self, unit: int, selector: int, data: bytes) -> None:
        """Write a control of an extension unit."""
        self._set(
            self._unit_index(unit), selector, data,
            f'use selector {selector} of extension unit {unit}')

    def get_streaming(self, selector: int, size: int) -> bytes:
        """Read a control of the streaming interface."""
        return self._get(self._camera.streaming_interface, selector, size, 'ask for the stream')

    def set_streaming(self, selector: int, data: bytes) -> None:
        """Write a control of the streaming interface."""
        self._set(self._camera.streaming_interface, selector, data, 'set up the stream')

    def _place(self, control: int) -> uvc.ControlPlace:
        place = uvc.PLACES.get(control)
        if place is None:
            raise DeviceError(f'{self._device.path} has no control {control:#010x}')
        return place

    def _index(self, place: uvc.ControlPlace) -> int:
        return self._unit_index(self._camera.entity(place))

    def _unit_index(self, unit: int) -> int:
        return unit << 8 | self._camera.control_interface

    def _set(self, index: int, selector: int, data: bytes, doing: str) -> None:
        try:
            self._device.handle.controlWrite(
                uvc.REQUEST_SET, uvc.SET_CUR, selector << 8, index, data,
                round(_REQUEST_S * 1000))
        except usb1.USBError as error:
            raise self._device.explain(doing, error) from error

    def _get(self, index: int, selector: int, size: int, doing: str, *,
             request: int = uvc.GET_CUR, seconds: float = _REQUEST_S) -> bytes:
        try:
            # A time-out of 0 would mean to wait for ever.
            answer = self._device.handle.controlRead(
                uvc.REQUEST_GET, request, selector << 8, index, size,
                max(1, round(seconds * 1000)))
        except usb1.USBError as error:
            raise self._device.explain(doing, error) from error
        if len(answer) != size:
            raise DeviceError(
                f'{self._device.path}: cannot {doing}: {len(answer)} bytes came, not {size}')
        return bytes(answer)


def _value(data: bytes, place: uvc.ControlPlace) -> int:
    return int.from_bytes(
        data[place.offset:place.offset + place.length], 'little', signed=place.signed)
