# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
A DAQ box with UCLA firmware and a scope on it, neither of which is there.

The driver above it sends real packets, and they act as they do in the real box. Nothing runs in
the background: every call first brings the box up to the present, and a frame is drawn only
when it is taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
import math
import time

from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.daq.packets import decode, HARD_RESET, Packet, START_ORIENTATION
from miniscope_ros.errors import DeviceError, DeviceLost
from miniscope_ros.simulation.head_motion import HeadPath
from miniscope_ros.simulation.scene import AS_IN_TISSUE, Exposure, Scene, Strengths
from miniscope_ros.transports import v4l2_controls as controls
from miniscope_ros.transports.transport import Buffer
import numpy as np
from numpy.typing import NDArray

INTERFACE_VERSION = 2
QUEUE = 64  # packets that the box can hold
READOUT = 22 / 33  # length of the read-out, in periods at the type's highest rate
RESTART_S = 0.5  # from a hard reset until the box is there again
REMEMBERED = 10000  # frames and packets kept for those who want to look
LOSS_BLOCK = 4096  # fates of frames are drawn by blocks of this length
CONTROL_RANGES = {
    **dict.fromkeys((
        controls.BRIGHTNESS, controls.CONTRAST, controls.SATURATION, controls.HUE, controls.GAMMA,
        controls.GAIN, controls.SHARPNESS, controls.EXPOSURE_ABSOLUTE), (0, 0xFFFF)),
    **dict.fromkeys(
        (controls.PAN_ABSOLUTE, controls.TILT_ABSOLUTE), (-0x80000000, 0x7FFFFFFF))}


class Fate(Enum):
    """What became of a frame."""

    KEPT = 'put into the ring'
    OVERRUN = 'dropped, for the ring was full'
    LOST_ON_THE_WAY = 'finished by the box, never received'
    LOST_AT_THE_SOURCE = 'never finished by the box'


@dataclass(frozen=True)
class Frame:
    """A frame that the box has sent or failed to send."""

    number: int  # the box's frame counter at its end; a frame without end has the one before
    sequence: int
    stamp_ns: int
    exposure: Exposure
    fate: Fate
    time_s: float  # of the scene
    dose_s: float  # light that the tissue has had before [s of full light]


class SimulatedTransport:
    """
    The transport (see Transport) to a simulated box.

    What there is to know of the truth: scene (the tissue), head (its orientation), both by the
    time of the scene: the sum of the periods of all frames begun, those lost included. A frame's
    number is the box's counter and starts at 1 with every power-up. Further frames and
    executed, the latest frames and the latest packets, each with the number of the frame at
    whose end it ran; toggles, the number of edges on the sync output; values, the scope's
    controls as they are.
    """

    kind = 'simulated'
    fresh_reads = True

    def __init__(
            self, device_type: DeviceType, *, seed: int = 1,
            loss_rate: float | tuple[float, float] = 1e-4, true_rate: float = 1.0,
            strengths: Strengths = AS_IN_TISSUE) -> None:
        """
        Make the box; it has power from now on.

        Of loss_rate's frames half are lost on the way and half at the source; a pair gives the
        two rates. The frames come at true_rate times the rate that is set.
        """
        self.card = 'MINISCOPE (simulated)'
        self.location = 'simulated'
        self.path = 'simulated'
        self._type = device_type
        self._true_rate = true_rate
        self._seed = seed
        self._losses = (
            loss_rate if isinstance(loss_rate, tuple) else (loss_rate / 2, loss_rate / 2))
        self._draw_block = lru_cache(maxsize=1)(self._draw_losses)
        rate = device_type.controls['frame_rate']
        self.head = HeadPath(seed)
        self.scene = Scene(
            device_type.width, device_type.height, seed=seed, head=self.head,
            strengths=strengths)
        self._time_ns = 0  # of the scene, at the beginning of the next frame
        self._dose_s = 0.0  # light that the tissue has had until then [s of full light]
        self._readout_ns = round(READOUT * 1e9 / max(rate.choices or (rate.start,)) / true_rate)
        self.frames: deque[Frame] = deque(maxlen=REMEMBERED)
        self.executed: deque[tuple[int, Packet]] = deque(maxlen=REMEMBERED)
        self.toggles = 0
        self._opened = False
        self._lost = False
        self._back_ns = 0
        self._streaming = False
        self._memory: list[NDArray[np.uint8]] = []
        self._free: list[int] = []
        self._ready: deque[tuple[int, Frame]] = deque()
        self._sequence = -1
        self._next_begin_ns = 0
        self._power_up()
        self._exposure = self._under_way()

    # The box's life

    def _power_up(self) -> None:
        self.values = {
            name: control.darkest if control in self._type.lights else control.start
            for name, control in self._type.controls.items()}
        self._raw = {
            name: control.raw(self.values[name])
            for name, control in self._type.controls.items()}
        self._words: dict[int, int] = {}
        self._queue: list[Packet] = []
        self._count = 0
        self._begun = 0  # frames that were begun since power-up
        self._flags = 0  # the last SATURATION written
        self._polling = False  # of the orientation sensor
        self._read_at_s = math.nan  # the scene's time of the orientation reading; NaN: none

    def _advance(self) -> None:
        """Let everything happen that is due; raise if the device is not there."""
        if not self._opened:
            raise DeviceError('the simulated scope is not open; open it first')
        now = time.monotonic_ns()
        while self._streaming and self._next_end_ns <= now:
            self._end_frame()
        if self._lost:
            raise DeviceLost('the simulated scope has restarted; close it and open it again')

    @property
    def _next_end_ns(self) -> int:
        return self._next_begin_ns + self._readout_ns

    def _end_frame(self) -> None:
        fate = self._draw_block(self._begun // LOSS_BLOCK).get(self._begun, Fate.KEPT)
        self._begun += 1
        if fate is not Fate.LOST_AT_THE_SOURCE:
            self._count += 1
            self._sequence += 1
            self.toggles += self._flags & 1
            if fate is Fate.KEPT and not self._free:
                fate = Fate.OVERRUN
        frame = Frame(
            self._count, self._sequence, self._next_begin_ns, self._exposure, fate,
            self._time_ns / 1e9, self._dose_s)
        self.frames.append(frame)
        if fate is Fate.KEPT:
            self._ready.append((self._free.pop(), frame))
        end_ns = self._next_end_ns
        # The next frame is being exposed already: it keeps its length, but not its light.
        self._next_begin_ns += self._period_ns
        self._time_ns += self._period_ns
        self._dose_s += self._light * self._period_ns / 1e9
        before = self._under_way()
        if fate is not Fate.LOST_AT_THE_SOURCE:
            if self._polling and self._type.orientation:
                self._read_at_s = frame.time_s
            self._execute(end_ns)
        self._exposure = before.mixed(self._under_way())

    def _execute(self, now_ns: int) -> None:
        packets, self._queue = self._queue, []
        for packet in packets:
            self.executed.append((self._count, packet))
            if packet == START_ORIENTATION:
                self._polling = True
            elif packet == HARD_RESET:
                self._restart(now_ns)
                return
            for name, control in self._type.controls.items():
                raw = control.after(self._raw[name], packet)
                if raw is not None:
                    self._raw[name] = raw
                    # Between the two packets of one control there may be no value.
                    value = control.value_of_raw(raw)
                    self.values[name] = self.values[name] if value is None else value

    def _restart(self, now_ns: int) -> None:
        self._streaming = False
        self._lost = self._opened
        self._back_ns = now_ns + round(RESTART_S * 1e9)
        self._power_up()

    @property
    def _period_ns(self) -> int:
        return round(1e9 / self.values['frame_rate'] / self._true_rate)

    @property
    def _light(self) -> float:
        """Return the power of all lights; 1: one at its maximum."""
        return sum(
            self.values[control.name] / control.maximum
            for control in self._type.lights if control.maximum)

    def _under_way(self) -> Exposure:
        """Return the exposure under the controls as they are."""
        light = self._light
        gain = self.values.get('gain', 1.0)
        # The best focus is where the type starts.
        focus = self._type.controls.get('focus')
        defocus = self.values['focus'] - focus.start if focus else 0.0
        lasting = self._type.controls['frame_rate'].start / self.values['frame_rate']
        return Exposure(light * gain * lasting, gain, defocus)

    def _draw_losses(self, block: int) -> dict[int, Fate]:
        """Return the lost ones among a block of frames, counted from power-up."""
        draws = np.random.default_rng([self._seed, 5, block]).random(LOSS_BLOCK)
        on_the_way, at_the_source = self._losses
        return {
            block * LOSS_BLOCK + int(place):
                Fate.LOST_ON_THE_WAY if draws[place] < on_the_way else Fate.LOST_AT_THE_SOURCE
            for place in np.flatnonzero(draws < on_the_way + at_the_source)}

    # What a transport can do

    def open(self, width: int, height: int) -> None:
        """Open the device; DeviceError for a size that is not the type's."""
        if self._opened:
            raise DeviceError('the simulated scope is open already; close it first')
        if time.monotonic_ns() < self._back_ns:
            raise DeviceError('the simulated scope is restarting; try again in a moment')
        if (width, height) != (self._type.width, self._type.height):
            raise DeviceError(
                f'the simulated {self._type.name} has {self._type.width}x{self._type.height} '
                f'pixels, not {width}x{height}; ask for its own size')
        self._opened = True
        self._lost = False

    def start(self, buffers: int) -> None:
        """Start the stream with that many buffers in the ring."""
        self._advance()
        if self._streaming:
            raise DeviceError('the simulated stream runs already; stop it first')
        size = 2 * self._type.width * self._type.height
        self._memory = [np.empty(size, np.uint8) for _ in range(buffers)]
        self._free = list(range(buffers))
        self._ready.clear()
        self._sequence = -1
        self._next_begin_ns = time.monotonic_ns() + self._period_ns
        self._exposure = self._under_way()
        self._streaming = True

    def dequeue(self, timeout: float) -> Buffer | None:
        """Take the oldest received frame; None if none arrives within timeout [s]."""
        deadline = time.monotonic_ns() + round(timeout * 1e9)
        while not self.waiting():
            now = time.monotonic_ns()
            if now >= deadline:
                return None
            time.sleep(max(0, min(deadline, self._next_end_ns) - now) / 1e9)
        index, frame = self._ready.popleft()
        data = self._memory[index]
        self.scene.render(
            frame.time_s, frame.exposure,
            data.reshape(self._type.height, self._type.width, 2), frame.dose_s)
        return Buffer(
            data, frame.sequence, frame.stamp_ns, False, index,
            device_time_ms=1e3 * frame.time_s)

    def requeue(self, buffer: Buffer) -> None:
        """Give a buffer back; its data must not be used any more."""
        self._advance()
        self._free.append(buffer.index)

    def waiting(self) -> bool:
        """Return whether a received frame is ready to be taken."""
        self._advance()
        if not self._streaming:
            raise DeviceError('the simulated stream does not run; start it first')
        return bool(self._ready)

    def stop(self) -> None:
        """Stop the stream and free its buffers; no error if it does not run."""
        if self._streaming:
            with suppress(DeviceLost):  # in this very moment, by a reset
                self._advance()
        self._streaming = False
        self._memory = []

    def close(self) -> None:
        """Stop, then close; no error if it is closed."""
        self.stop()
        self._opened = False

    def write_control(self, control: int, value: int) -> None:
        """Set one V4L2 control by its id."""
        self._advance()
        least, greatest = self._range(control)
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

    def read_controls(self, controls: Sequence[int]) -> list[int]:
        """Read V4L2 controls by their ids, all in one call."""
        self._advance()
        answers = self._answers()
        for control in controls:
            self._range(control)
        return [answers.get(control, 0) for control in controls]

    def _answers(self) -> dict[int, int]:
        none = math.isnan(self._read_at_s)
        reading = (0, 0, 0, 0) if none else self.head.raw(self._read_at_s)
        w, x, y, z = (component & 0xFFFF for component in reading)
        count = self._count & 0xFFFF
        return {
            controls.PAN_ABSOLUTE: _int32(w | x << 16),
            controls.TILT_ABSOLUTE: _int32(y | z << 16),
            controls.SATURATION: w,
            controls.HUE: INTERFACE_VERSION if self._flags & 2 else x,
            controls.GAIN: y,
            controls.BRIGHTNESS: z,
            controls.CONTRAST: count,
            controls.EXPOSURE_ABSOLUTE: count,
            controls.GAMMA: 0}  # nothing is connected to the trigger input

    def control_range(self, control: int) -> tuple[int, int] | None:
        """Return a control's minimum and maximum; None if the device has no such control."""
        self._advance()
        return CONTROL_RANGES.get(control)

    def _range(self, control: int) -> tuple[int, int]:
        if control not in CONTROL_RANGES:
            raise DeviceError(f'the simulated scope has no control {control:#x}; ask for another')
        return CONTROL_RANGES[control]

    def find_unit(self, guid: bytes) -> int | None:
        """Return None: UCLA firmware has no extension unit."""
        self._advance()
        return None

    def read_unit(self, unit: int, selector: int, size: int) -> bytes:
        """Raise DeviceError: UCLA firmware has no extension unit."""
        self._advance()
        raise DeviceError(f'the simulated scope has no extension unit {unit}; use controls')

    def write_unit(self, unit: int, selector: int, data: bytes) -> None:
        """Raise DeviceError: UCLA firmware has no extension unit."""
        self._advance()
        raise DeviceError(f'the simulated scope has no extension unit {unit}; use controls')

    def reset_port(self) -> None:
        """Reset the USB port, which restarts the box."""
        self._restart(time.monotonic_ns())


def _int32(value: int) -> int:
    return (value + 0x80000000 & 0xFFFFFFFF) - 0x80000000
