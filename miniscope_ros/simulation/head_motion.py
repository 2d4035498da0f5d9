# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The way a simulated animal holds its head."""

from __future__ import annotations

from functools import lru_cache
import math

import numpy as np

CYCLE_S = 20.0  # a time of movement and a rest
MOVES_S = (9.0, 16.0)  # shortest and longest time of movement within it
BEGIN_S = 3.0  # the path is entered here, in movement
SMOOTHING_S = 0.05  # over which the acceleration is taken: tissue does not follow at once

# Turning to and fro: amplitude [rad] and period [s of movement] of each component.
YAW = ((1.6, 23.0), (0.7, 7.1), (0.25, 2.3))
PITCH = ((0.30, 9.7), (0.18, 3.1), (0.06, 1.3))
ROLL = ((0.20, 11.3), (0.12, 4.3), (0.05, 1.7))


class HeadPath:
    """A smooth path of unit quaternions with rests; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        """Draw the path."""
        self._seed = seed
        self._length_of = lru_cache(maxsize=4)(self._draw_length)
        self._phases = np.random.default_rng([seed, 3]).uniform(
            0, 2 * math.pi, len(YAW) + len(PITCH) + len(ROLL)).tolist()

    def angles(self, time_s: float) -> tuple[float, float, float]:
        """Return yaw, pitch and roll [rad] at a time [s]."""
        moved = self._moved(time_s + BEGIN_S)
        phases = iter(self._phases)
        yaw, pitch, roll = (
            sum(amplitude * math.sin(2 * math.pi * moved / period + next(phases))
                for amplitude, period in angle) for angle in (YAW, PITCH, ROLL))
        return yaw, pitch, roll

    def acceleration(self, time_s: float) -> tuple[float, float]:
        """Return the angular acceleration in yaw and pitch [rad/s^2] at a time [s]."""
        before, now, after = (
            self.angles(time_s + step * SMOOTHING_S)[:2] for step in (-1, 0, 1))
        yaw, pitch = (
            (a - 2 * b + c) / SMOOTHING_S ** 2
            for a, b, c in zip(before, now, after, strict=True))
        return yaw, pitch

    def orientation(self, time_s: float) -> tuple[float, float, float, float]:
        """Return the unit quaternion w, x, y, z at a time [s]."""
        yaw, pitch, roll = self.angles(time_s)
        cy, sy = math.cos(yaw / 2), math.sin(yaw / 2)
        cp, sp = math.cos(pitch / 2), math.sin(pitch / 2)
        cr, sr = math.cos(roll / 2), math.sin(roll / 2)
        return (cr * cp * cy + sr * sp * sy, sr * cp * cy - cr * sp * sy,
                cr * sp * cy + sr * cp * sy, cr * cp * sy - sr * sp * cy)

    def raw(self, time_s: float) -> tuple[int, int, int, int]:
        """Return w, x, y, z at a time [s] as the sensor gives them: int16, 1.0 = 16384."""
        w, x, y, z = self.orientation(time_s)
        return round(w * 16384), round(x * 16384), round(y * 16384), round(z * 16384)

    def _moved(self, time: float) -> float:
        """Return the time spent in movement [s], which stands still exactly in a rest."""
        cycle, since = divmod(time, CYCLE_S)
        done = min(since / self._length_of(int(cycle)), 1.0)
        return (cycle + done * done * (3 - 2 * done)) * MOVES_S[0]

    def _draw_length(self, cycle: int) -> float:
        """Return how long the animal moves in a cycle [s]."""
        return float(np.random.default_rng([self._seed, 4, cycle]).uniform(*MOVES_S))
