# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
What changes in the background of a one-photon picture: neuropil and cells out of focus.

The neuropil follows the mean activity of the population, a slow common tide and smooth local
patterns. Published one-photon recordings, and simulations by the makers of the Miniscope, have
fluctuations of 3 to 5 % of the mean brightness.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import cv2
from miniscope_ros.simulation.anatomy import Footprint
from miniscope_ros.simulation.calcium import Activity
import numpy as np
from numpy.typing import NDArray

STEP_S = 0.4  # time between two drawings of the background, which changes slowly
PATTERNS = 6
COARSE = 16  # points along a side of a pattern
COMMON = 0.03  # deviation of the common tide, as a part of the brightness
LOCAL = 0.025  # the same of the local patterns together
PERIODS_S = (1.3, 2.9, 5.3, 11.0)  # of the waves that make up a time course


class TimeCourse:
    """Smooth random functions of time, each of mean 0 and deviation 1."""

    def __init__(self, rng: np.random.Generator, count: int) -> None:
        """Draw so many of them."""
        self._phases = rng.uniform(0, 2 * math.pi, (count, len(PERIODS_S)))
        self._pulsations = 2 * math.pi / np.array(PERIODS_S) * rng.uniform(
            0.8, 1.25, (count, len(PERIODS_S)))

    def at(self, time_s: float) -> NDArray[np.float64]:
        """Return the values at a time [s], shape (count,)."""
        values: NDArray[np.float64] = np.sin(
            self._pulsations * time_s + self._phases).sum(axis=1)
        return values / math.sqrt(len(PERIODS_S) / 2)


@dataclass
class Background:
    """The field without the cells in focus, as it changes."""

    strength: float  # 1: as in tissue; 0: it stands still
    hidden: Activity  # of the cells out of focus
    hidden_strength: float

    def __post_init__(self) -> None:
        self._step = -1
        self._field: NDArray[np.float32] = np.empty((0, 0), np.float32)

    def begin(self, seed: int) -> None:
        """Draw the patterns and time courses."""
        rng = np.random.default_rng([seed, 6])
        patterns = rng.standard_normal((PATTERNS, COARSE, COARSE)).astype(np.float32)
        self._patterns = patterns / math.sqrt(PATTERNS)
        self._course = TimeCourse(rng, PATTERNS + 1)

    def common(self, time_s: float) -> float:
        """Return by what factor the whole field is brighter than at rest at a time [s]."""
        return 1 + self.strength * COMMON * float(self._course.at(_grid(time_s))[0])

    def at(self, time_s: float, rest: NDArray[np.float32],
           footprints: list[Footprint]) -> NDArray[np.float32]:
        """Return the field at a time [s], from the field at rest; not to be changed."""
        step = int(time_s // STEP_S)
        if step != self._step or self._field.shape != rest.shape:
            self._step = step
            self._draw(step * STEP_S, rest, footprints)
        return self._field

    def forget(self) -> None:
        """Draw again when next asked: the field at rest has changed."""
        self._step = -1

    def _draw(self, time_s: float, rest: NDArray[np.float32],
              footprints: list[Footprint]) -> None:
        course = self._course.at(time_s)[1:]
        pattern = 1 + self.strength * LOCAL * np.tensordot(course, self._patterns, 1)
        if self._field.shape != rest.shape:
            self._field = np.empty_like(rest)
        field = self._field
        # Written into the old memory: new memory would cost more than all of the drawing.
        cv2.resize(pattern.astype(np.float32), rest.shape[::-1], field)
        cv2.multiply(field, rest, field)
        if self.hidden_strength:
            activity = self.hidden_strength * self.hidden.at(time_s)
            for cell in np.flatnonzero(activity > 0.1):
                footprint = footprints[cell]
                patch = field[footprint.place]
                cv2.scaleAdd(footprint.brightness, float(activity[cell]), patch, patch)


def _grid(time_s: float) -> float:
    return int(time_s // STEP_S) * STEP_S
