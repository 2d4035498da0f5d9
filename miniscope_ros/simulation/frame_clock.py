# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""When the frames of the simulated box begin and end, and what becomes of each."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
import math

from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.daq.packets import HARD_RESET, Packet, START_ORIENTATION
from miniscope_ros.simulation.firmware import Firmware
from miniscope_ros.simulation.scene import Exposure
from miniscope_ros.simulation.scope import SimulatedScope
import numpy as np

READOUT = 22 / 33
"""Length of the read-out, in periods at the type's highest rate: 22 ms on a V4 (hardware.md)."""

REMEMBERED = 10000  # frames and packets kept for those who want to look
LOSS_BLOCK = 4096  # fates of frames are drawn by blocks of this length


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


class Losses:
    """Draws the fate of each frame, always the same one for a seed."""

    def __init__(self, seed: int, on_the_way: float, at_the_source: float) -> None:
        """Take the shares of frames that are lost."""
        self._seed = seed
        self._shares = (on_the_way, at_the_source)
        self._draw_block = lru_cache(maxsize=1)(self._draw)

    def fate(self, number: int) -> Fate:
        """Return the fate of a frame, counted from power-up."""
        return self._draw_block(number // LOSS_BLOCK).get(number, Fate.KEPT)

    def _draw(self, block: int) -> dict[int, Fate]:
        """Return the lost ones among a block of frames."""
        draws = np.random.default_rng([self._seed, 5, block]).random(LOSS_BLOCK)
        on_the_way, at_the_source = self._shares
        return {
            block * LOSS_BLOCK + int(place):
                Fate.LOST_ON_THE_WAY if draws[place] < on_the_way else Fate.LOST_AT_THE_SOURCE
            for place in np.flatnonzero(draws < on_the_way + at_the_source)}


class FrameClock:
    """
    The frames of a box and its scope, one after the other.

    Nothing runs by itself: run_until brings it up to the present. streaming ends with a hard
    reset, which is a packet like any other; restarted_ns is when that was.
    """

    def __init__(
        self, device_type: DeviceType, scope: SimulatedScope, firmware: Firmware, losses: Losses,
        true_rate: float,
    ) -> None:
        """Begin with the time of the scene at 0; frames come at true_rate times the set rate."""
        rate = device_type.controls['frame_rate']
        self.frames: deque[Frame] = deque(maxlen=REMEMBERED)
        self.executed: deque[tuple[int, Packet]] = deque(maxlen=REMEMBERED)
        self.toggles = 0  # edges on the sync output
        self.streaming = False
        self.restarted_ns: int | None = None
        self.free: list[int] = []  # buffers of the ring
        self.ready: deque[tuple[int, Frame]] = deque()  # buffers with a frame
        self.read_at_s = math.nan  # the scene's time of the orientation reading; NaN: none
        self._has_sensor = device_type.orientation
        self._scope = scope
        self._firmware = firmware
        self._losses = losses
        self._readout_ns = round(READOUT * 1e9 / max(rate.choices or (rate.start,)) / true_rate)
        self._time_ns = 0  # of the scene, at the beginning of the next frame
        self._dose_s = 0.0  # light that the tissue has had until then [s of full light]
        self._begun = 0  # frames that were begun since power-up
        self._sequence = -1
        self._next_begin_ns = 0
        self._exposure = scope.exposure()

    @property
    def next_end_ns(self) -> int:
        """Return when the frame under way ends, on CLOCK_MONOTONIC."""
        return self._next_begin_ns + self._readout_ns

    def power_up(self) -> None:
        """Restart box and scope; the scene goes on."""
        self._scope.power_up()
        self._firmware.power_up()
        self._begun = 0
        self.read_at_s = math.nan

    def start(self, buffers: int, now_ns: int) -> None:
        """Start a stream with an empty ring of so many buffers."""
        self.free = list(range(buffers))
        self.ready.clear()
        self._sequence = -1
        self._next_begin_ns = now_ns + self._scope.period_ns
        self._exposure = self._scope.exposure()
        self.restarted_ns = None
        self.streaming = True

    def run_until(self, now_ns: int) -> None:
        """Let all frames end that are due."""
        while self.streaming and self.next_end_ns <= now_ns:
            self._end_frame()

    def _end_frame(self) -> None:
        fate = self._losses.fate(self._begun)
        self._begun += 1
        if fate is not Fate.LOST_AT_THE_SOURCE:
            self._firmware.count += 1
            self._sequence += 1
            self.toggles += self._firmware.toggles_sync
            if fate is Fate.KEPT and not self.free:
                fate = Fate.OVERRUN
        frame = Frame(
            self._firmware.count, self._sequence, self._next_begin_ns, self._exposure, fate,
            self._time_ns / 1e9, self._dose_s)
        self.frames.append(frame)
        if fate is Fate.KEPT:
            self.ready.append((self.free.pop(), frame))
        end_ns = self.next_end_ns
        # The next frame is being exposed already: it keeps its length, but not its light.
        period_ns = self._scope.period_ns
        self._next_begin_ns += period_ns
        self._time_ns += period_ns
        self._dose_s += self._scope.light * period_ns / 1e9
        before = self._scope.exposure()
        if fate is not Fate.LOST_AT_THE_SOURCE:
            if self._firmware.polling and self._has_sensor:
                self.read_at_s = frame.time_s
            self._execute(end_ns)
        self._exposure = before.mixed(self._scope.exposure())

    def _execute(self, now_ns: int) -> None:
        for packet in self._firmware.take_queue():
            self.executed.append((self._firmware.count, packet))
            if packet == START_ORIENTATION:
                self._firmware.polling = True
            elif packet == HARD_RESET:
                self.streaming = False
                self.restarted_ns = now_ns
                self.power_up()
                return
            self._scope.execute(packet)
