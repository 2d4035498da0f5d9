# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The two families of firmware of the DAQ box: how each takes commands and reports its state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
import logging
import math
import time
from typing import Protocol
import uuid

from miniscope_ros.daq.packets import decode_words, encode
from miniscope_ros.errors import DeviceError, DeviceLost
from miniscope_ros.model import RawQuaternion
from miniscope_ros.transports import v4l2_controls as controls
from miniscope_ros.transports.transport import Transport
import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger(__name__)

BLOCK_PIXELS = 16_368 // 2
"""Pixels in a DMA block of the box; YUYV has two bytes for each."""

OPEN_EPHYS_UNIT = uuid.UUID('b33905c0-5500-4fee-9058-2c3efd330bb9').bytes_le

_WRITE_GAP = 128e-6
_BURST = 4  # packets, then a rest: the box's queue has no overflow check
_REST = 0.01
_FULL_RANGE = 65535
_QUESTIONS = 5
_QUESTION_PAUSE = 0.05
_CURRENT_INTERFACE = 2
_HIGHEST_INTERFACE = 15  # a larger value of HUE is no version
_STUCK_READS = 30
_REFUSALS = 3  # refused reads in a row after which reading pauses; one slow one is enough
_LONG_READ_S = 0.1
_SHORTEST_REST_S = 1.0
_REST_PER_READ = 20  # the pause in units of the refused read: 100 s after the kernel's 5 s
_LONGEST_REST_S = 600.0
_TRIES = 3


@dataclass(slots=True)
class Telemetry:
    """What the box reports with one frame."""

    quaternion: RawQuaternion | None = None
    device_count: int | None = None
    device_count_bits: int = 32
    device_time_ms: float = math.nan
    digital_inputs: int = -1


class Firmware(Protocol):
    """A DAQ box's firmware behind a transport."""

    name: str
    warnings: tuple[str, ...]
    embeds_telemetry: bool  # its state is part of each frame; else it is read beside the frame
    longest_period_s: float | None  # the longest time between frames; None: no limit
    inputs: int  # how many digital inputs can be read

    def send(self, packet: bytes) -> None:
        """Queue a packet in the box; it runs when a frame ends. Keeps the pauses it needs."""
        ...

    def set_sync(self, on: bool) -> None:
        """Switch the sync output's toggling on or off."""
        ...

    def telemetry(self, yuyv: NDArray[np.uint8]) -> Telemetry:
        """Return what belongs to the frame just received, its bytes given (1-D)."""
        ...


def recognise(transport: Transport, orientation: bool) -> Firmware:
    """
    Return the firmware that runs in an open box.

    orientation says whether the scope has the sensor. Raises DeviceError for one that is too old.
    """
    unit = transport.find_unit(OPEN_EPHYS_UNIT)
    if unit is not None:
        return OpenEphysFirmware(transport, unit, orientation)
    return UclaFirmware(transport, orientation)


class _Pacer:
    """Keeps writes to the box apart, and lets it rest in a long list of packets."""

    def __init__(self) -> None:
        self._last = -math.inf
        self._run = 0  # packets without a rest

    def write(self, write: Callable[[], None]) -> None:
        """Write one control."""
        self._pause(_WRITE_GAP)
        try:
            write()
        finally:
            self._last = time.monotonic()

    def packet(self, send: Callable[[], None]) -> None:
        """Send one packet."""
        if time.monotonic() - self._last >= _REST:
            self._run = 0
        elif self._run >= _BURST:
            self._pause(_REST)
            self._run = 0
        self._run += 1
        send()

    def _pause(self, seconds: float) -> None:
        rest = self._last + seconds - time.monotonic()
        if rest > 0:
            time.sleep(rest)


def _persist(send: Callable[[], None]) -> None:
    """Send a whole packet again when the bus refused a word: its first word begins it again."""
    for remaining in reversed(range(_TRIES)):
        try:
            return send()
        except DeviceLost:
            raise
        except DeviceError as error:
            if not remaining:
                raise DeviceError(
                    f'{error}, {_TRIES} times: the DAQ box takes no commands; check the USB '
                    'cable, then call hard_reset or plug the box in again') from error


class _ReadingRests:
    """
    Lets reading rest where it is refused.

    A refused transfer may block for 5 s in the kernel, and frames and commands with it.
    """

    def __init__(self) -> None:
        self._refusals = 0  # in a row
        self._again = 0.0  # when reading is due [s]
        self._factor = 1
        self._said = False

    @property
    def due(self) -> bool:
        """Return whether reading may be tried."""
        return time.monotonic() >= self._again

    def answered(self) -> None:
        """Note that reading worked."""
        self._refusals, self._factor = 0, 1

    def refused(self, seconds: float, error: DeviceError) -> None:
        """Note that reading was refused, after so many seconds."""
        self._refusals += 1
        if not self._said:
            self._said = True
            _log.warning('a frame came without orientation or counter: %s', str(error))
        if self._refusals < _REFUSALS and seconds < _LONG_READ_S:
            return
        rest = max(_SHORTEST_REST_S, _REST_PER_READ * seconds) * self._factor
        self._again = time.monotonic() + min(rest, _LONGEST_REST_S)
        self._factor *= 2


class UclaFirmware:
    """Commands as three control writes, state as control reads."""

    embeds_telemetry = False
    # It restarts its transfer when no data came for 400 ms (30 times, then it gives up), and the
    # kernel then takes no frame but the first of a stream: seen with firmware 1694a6f.
    longest_period_s: float | None = 0.390

    def __init__(self, transport: Transport, orientation: bool) -> None:
        self._transport = transport
        self._orientation = orientation
        self._pacer = _Pacer()
        for control, title in ((controls.CONTRAST, 'CONTRAST'), (controls.GAMMA, 'GAMMA'),
                               (controls.SHARPNESS, 'SHARPNESS')):
            limits = transport.control_range(control)
            if limits is None or limits[1] < _FULL_RANGE:
                raise DeviceError(
                    f'{transport.path}: the firmware of this DAQ box is too old to be used: its '
                    f'{title} control reaches {"nothing" if limits is None else limits[1]}, '
                    f'not {_FULL_RANGE}; update the firmware of the box')
        self.name = 'UCLA'
        self.warnings: tuple[str, ...] = ()
        version = self._version()
        if version is not None:
            self.name += f' interface {version}'
            if version < _CURRENT_INTERFACE:
                self.warnings = (
                    f'the firmware of the DAQ box has interface {version}, where '
                    f'{_CURRENT_INTERFACE} is current: functions may be missing; update it',)
        if orientation and transport.control_range(controls.PAN_ABSOLUTE) is None:
            self._orientation = False
            self.warnings += (
                'the firmware of the DAQ box is too old to give the orientation (it has no '
                'control PAN, as before July 2023): update it',)
        self._counting = transport.control_range(controls.EXPOSURE_ABSOLUTE) is not None
        self._count = -1
        self._unchanged = 0
        self._rests = _ReadingRests()
        # Over V4L2 the kernel answers GAMMA with one's own last command word.
        self.inputs = int(transport.fresh_reads)

    def _version(self) -> int | None:
        """Ask for the interface version; the question switches the sync output off."""
        self._set_saturation(2)
        answer = self._answer()
        self.set_sync(False)
        return answer if 1 <= answer <= _HIGHEST_INTERFACE else None

    def _answer(self) -> int:
        answer = 0
        for question in range(_QUESTIONS):
            if question:
                time.sleep(_QUESTION_PAUSE)
            try:
                answer = self._transport.read_controls([controls.HUE])[0]
            except DeviceLost:
                raise
            except DeviceError as error:
                _log.debug('the firmware interface cannot be asked for: %s', error)
                break
            if 1 <= answer <= _HIGHEST_INTERFACE:
                break
        return answer

    def send(self, packet: bytes) -> None:
        """Queue a packet; see Firmware."""
        _persist(partial(self._pacer.packet, partial(self._send, *encode(packet))))

    def _send(self, contrast: int, gamma: int, sharpness: int) -> None:
        for control, word in ((controls.CONTRAST, contrast), (controls.GAMMA, gamma),
                              (controls.SHARPNESS, sharpness)):
            self._write(control, word)

    def set_sync(self, on: bool) -> None:
        """Switch the sync output; see Firmware."""
        self._set_saturation(int(on))

    def _set_saturation(self, value: int) -> None:
        _persist(partial(self._write, controls.SATURATION, value))

    def _write(self, control: int, value: int) -> None:
        self._pacer.write(partial(self._transport.write_control, control, value))

    def telemetry(self, yuyv: NDArray[np.uint8]) -> Telemetry:
        """Read the state; both quaternion words in one call, so that they belong together."""
        wanted = [controls.PAN_ABSOLUTE, controls.TILT_ABSOLUTE] if self._orientation else []
        if self._counting:
            wanted.append(controls.EXPOSURE_ABSOLUTE)
        if self.inputs:
            wanted.append(controls.GAMMA)
        if not wanted or not self._rests.due:
            return Telemetry()
        asked = time.monotonic()
        try:
            values = iter(self._transport.read_controls(wanted))
        except DeviceLost:
            raise
        except DeviceError as error:
            self._rests.refused(time.monotonic() - asked, error)
            return Telemetry()
        self._rests.answered()
        result = Telemetry(device_count_bits=16)
        if self._orientation:
            result.quaternion = decode_words(next(values), next(values))
        if self._counting:
            result.device_count = next(values) & 0xFFFF
            self._drop_stuck_counter(result.device_count)
        if self.inputs:
            result.digital_inputs = next(values) & 1
        return result

    def _drop_stuck_counter(self, count: int) -> None:
        """Stop asking for a counter that stands still: every question costs a bus transfer."""
        self._unchanged = self._unchanged + 1 if count == self._count else 0
        self._count = count
        self._counting = self._unchanged < _STUCK_READS


class OpenEphysFirmware:
    """Commands through an extension unit, state in the chroma bytes of the first pixels."""

    embeds_telemetry = True
    longest_period_s: float | None = None
    inputs = 2

    _VERSION, _PACKETS, _FLAGS = 1, 2, 3

    def __init__(self, transport: Transport, unit: int, orientation: bool) -> None:
        self._transport = transport
        self._unit = unit
        self._orientation = orientation
        self._pacer = _Pacer()
        version = '.'.join(str(b) for b in transport.read_unit(unit, self._VERSION, 3))
        self.name = f'Open Ephys {version}'
        self.warnings: tuple[str, ...] = ()
        # Five words, each in every second byte from 8k + 1 on.
        self._places = np.arange(1, 41, 2)
        self.set_sync(False)

    def send(self, packet: bytes) -> None:
        """Queue a packet; see Firmware."""
        words = encode(packet)
        body = b''.join(word.to_bytes(2, 'little') for word in words)
        data = (bytes([1]) + body).ljust(25, b'\0')
        _persist(partial(self._pacer.packet, partial(self._write, self._PACKETS, data)))

    def set_sync(self, on: bool) -> None:
        """Switch the TTL output; see Firmware."""
        _persist(partial(self._write, self._FLAGS, bytes([int(on), 0])))

    def _write(self, selector: int, data: bytes) -> None:
        self._pacer.write(partial(self._transport.write_unit, self._unit, selector, data))

    def telemetry(self, yuyv: NDArray[np.uint8]) -> Telemetry:
        """Take the five words out of the frame's own bytes."""
        count, time_ms, state, wx, yz = yuyv[self._places].view('<u4').tolist()
        return Telemetry(
            quaternion=decode_words(wx, yz) if self._orientation else None,
            device_count=count, device_time_ms=float(time_ms), digital_inputs=state & 3)
