# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The UCLA firmware of the simulated box: its control words, packet queue and answers."""

from __future__ import annotations

from miniscope_ros.daq.packets import decode, Packet
from miniscope_ros.errors import DeviceError
from miniscope_ros.model import RawQuaternion
from miniscope_ros.transports import v4l2_controls as controls

INTERFACE_VERSION = 2
"""What the firmware answers to the question for its version (hardware.md, Opening)."""

QUEUE = 64
"""Packets that the box can hold (hardware.md, Commands); it does not look for an overflow."""

CONTROL_RANGES = {
    **dict.fromkeys((
        controls.BRIGHTNESS, controls.CONTRAST, controls.SATURATION, controls.HUE, controls.GAMMA,
        controls.GAIN, controls.SHARPNESS, controls.EXPOSURE_ABSOLUTE), (0, 0xFFFF)),
    **dict.fromkeys(
        (controls.PAN_ABSOLUTE, controls.TILT_ABSOLUTE), (-0x80000000, 0x7FFFFFFF))}
"""Minimum and maximum of the controls, by V4L2 id: 16 bits, PAN and TILT 32 bits with sign."""

_SYNC = 1  # bit of SATURATION: the sync output toggles
_ASK_VERSION = 2  # value of SATURATION: HUE then reads the version


class Firmware:
    """What the box holds besides frames; all of it is gone when it restarts."""

    def __init__(self) -> None:
        self.power_up()

    def power_up(self) -> None:
        """Forget everything."""
        self.count = 0  # frames that were finished since power-up
        self.polling = False  # of the orientation sensor
        self._words: dict[int, int] = {}
        self._queue: list[Packet] = []
        self._flags = 0  # the last SATURATION written

    @property
    def toggles_sync(self) -> bool:
        """Return whether the sync output toggles at the end of a frame."""
        return bool(self._flags & _SYNC)

    def write(self, control: int, value: int) -> None:
        """Take a control word; three of them in their order make a packet."""
        least, greatest = check_control(control)
        if not least <= value <= greatest:
            raise DeviceError(
                f'control {control:#x} cannot be {value}; it is {least} to {greatest}')
        if control == controls.SATURATION:
            self._flags = value
        elif control == controls.CONTRAST:
            self._words = {control: value}
        elif control == controls.GAMMA:
            self._words[control] = value
        elif control == controls.SHARPNESS:
            self._words[control] = value
            self._receive()

    def _receive(self) -> None:
        """Queue the packet that has come in three words."""
        if len(self._words) < 3:
            return
        words = (self._words[controls.CONTRAST], self._words[controls.GAMMA],
                 self._words[controls.SHARPNESS])
        self._words = {}
        if len(self._queue) == QUEUE:
            self._queue = []  # the firmware does not look: its write index meets the read index
        try:
            self._queue.append(decode(words))
        except ValueError:
            self._queue.append(b'')

    def take_queue(self) -> list[Packet]:
        """Return the packets that run now, at the end of a frame."""
        packets, self._queue = self._queue, []
        return packets

    def answers(self, reading: RawQuaternion) -> dict[int, int]:
        """Return what the controls read, by V4L2 id, with this reading of the sensor."""
        w, x, y, z = (component & 0xFFFF for component in reading)
        count = self.count & 0xFFFF
        return {
            controls.PAN_ABSOLUTE: _int32(w | x << 16),
            controls.TILT_ABSOLUTE: _int32(y | z << 16),
            controls.SATURATION: w,
            controls.HUE: INTERFACE_VERSION if self._flags & _ASK_VERSION else x,
            controls.GAIN: y,
            controls.BRIGHTNESS: z,
            controls.CONTRAST: count,
            controls.EXPOSURE_ABSOLUTE: count,
            controls.GAMMA: 0}  # nothing is connected to the trigger input


def check_control(control: int) -> tuple[int, int]:
    """Return a control's minimum and maximum; DeviceError if there is no such control."""
    if control not in CONTROL_RANGES:
        raise DeviceError(f'the simulated scope has no control {control:#x}; ask for another')
    return CONTROL_RANGES[control]


def _int32(value: int) -> int:
    return (value + 0x80000000 & 0xFFFFFFFF) - 0x80000000
