# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
A DAQ box with UCLA firmware and a scope on it, neither of which is there.

The driver above it sends real packets, and they act as they do in the real box. Nothing runs in
the background: every call first brings the box up to the present, and a frame is drawn only
when it is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
import math
import time

from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.errors import DeviceError, DeviceLost
from miniscope_ros.simulation.firmware import check_control, CONTROL_RANGES, Firmware
from miniscope_ros.simulation.frame_clock import FrameClock, Losses
from miniscope_ros.simulation.head_motion import HeadPath
from miniscope_ros.simulation.scene import AS_IN_TISSUE, Scene, Strengths
from miniscope_ros.simulation.scope import SimulatedScope
from miniscope_ros.transports.transport import Buffer
import numpy as np
from numpy.typing import NDArray

RESTART_S = 0.5  # from a hard reset until the box is there again


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
        self.head = HeadPath(seed)
        self.scene = Scene(
            device_type.width, device_type.height, seed=seed, head=self.head,
            strengths=strengths)
        self._type = device_type
        self._scope = SimulatedScope(device_type, true_rate)
        self._firmware = Firmware()
        losses = loss_rate if isinstance(loss_rate, tuple) else (loss_rate / 2, loss_rate / 2)
        self._clock = FrameClock(
            device_type, self._scope, self._firmware, Losses(seed, *losses), true_rate)
        self.frames = self._clock.frames
        self.executed = self._clock.executed
        self._opened = False
        self._lost = False
        self._back_ns = 0
        self._memory: list[NDArray[np.uint8]] = []

    @property
    def toggles(self) -> int:
        """Return the number of edges on the sync output."""
        return self._clock.toggles

    @property
    def values(self) -> dict[str, float]:
        """Return the scope's controls as they are."""
        return self._scope.values

    def _advance(self) -> None:
        """Let everything happen that is due; raise if the device is not there."""
        if not self._opened:
            raise DeviceError('the simulated scope is not open; open it first')
        self._clock.run_until(time.monotonic_ns())
        if self._clock.restarted_ns is not None:
            self._restarted(self._clock.restarted_ns)
            self._clock.restarted_ns = None
        if self._lost:
            raise DeviceLost('the simulated scope has restarted; close it and open it again')

    def _restarted(self, now_ns: int) -> None:
        self._lost = self._opened
        self._back_ns = now_ns + round(RESTART_S * 1e9)

    # The transport

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
        if self._clock.streaming:
            raise DeviceError('the simulated stream runs already; stop it first')
        size = 2 * self._type.width * self._type.height
        self._memory = [np.empty(size, np.uint8) for _ in range(buffers)]
        self._clock.start(buffers, time.monotonic_ns())

    def dequeue(self, timeout: float) -> Buffer | None:
        """Take the oldest received frame; None if none arrives within timeout [s]."""
        deadline = time.monotonic_ns() + round(timeout * 1e9)
        while not self.waiting():
            now = time.monotonic_ns()
            if now >= deadline:
                return None
            time.sleep(max(0, min(deadline, self._clock.next_end_ns) - now) / 1e9)
        index, frame = self._clock.ready.popleft()
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
        self._clock.free.append(buffer.index)

    def waiting(self) -> bool:
        """Return whether a received frame is ready to be taken."""
        self._advance()
        if not self._clock.streaming:
            raise DeviceError('the simulated stream does not run; start it first')
        return bool(self._clock.ready)

    def stop(self) -> None:
        """Stop the stream and free its buffers; no error if it does not run."""
        if self._clock.streaming:
            with suppress(DeviceLost):  # in this very moment, by a reset
                self._advance()
        self._clock.streaming = False
        self._memory = []

    def close(self) -> None:
        """Stop, then close; no error if it is closed."""
        self.stop()
        self._opened = False

    def write_control(self, control: int, value: int) -> None:
        """Set one V4L2 control by its id."""
        self._advance()
        self._firmware.write(control, value)

    def read_controls(self, controls: Sequence[int]) -> list[int]:
        """Read V4L2 controls by their ids, all in one call."""
        self._advance()
        for control in controls:
            check_control(control)
        read_at_s = self._clock.read_at_s
        reading = (0, 0, 0, 0) if math.isnan(read_at_s) else self.head.raw(read_at_s)
        answers = self._firmware.answers(reading)
        return [answers.get(control, 0) for control in controls]

    def control_range(self, control: int) -> tuple[int, int] | None:
        """Return a control's minimum and maximum; None if the device has no such control."""
        self._advance()
        return CONTROL_RANGES.get(control)

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
        self._clock.streaming = False
        self._clock.power_up()
        self._restarted(time.monotonic_ns())
