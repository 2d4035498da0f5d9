# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
A field of neurons as a one-photon miniscope sees it.

All that happens in it is a function of time. At a time a seed always gives the same picture under
the same exposure, whenever it is asked for and whatever the frame rate.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

from miniscope_ros.simulation.anatomy import footprints, place_cells
from miniscope_ros.simulation.background import Background
from miniscope_ros.simulation.calcium import Activity, Events
from miniscope_ros.simulation.head_motion import HeadPath
from miniscope_ros.simulation.optics import Optics, SHARPEST
from miniscope_ros.simulation.sensor import Sensor
import numpy as np
from numpy.typing import NDArray

CELLS = 100
HIDDEN_CELLS = 160  # above and below the focal plane
HIDDEN_GLOW = 0.5  # brightness of these at activity 1, compared with cells in focus
FULL = 425.0  # mean grey value above black at brightness 1.0
NEUROPIL = 0.25  # what the population's mean activity adds to the whole field's brightness
# Drift of the brain: amplitude [px in a field of 608 px] and period [s] of each component.
DRIFT = ((1.3, 41.0), (0.9, 17.3), (0.5, 6.1), (0.2, 1.9))
# The brain lags behind a head that speeds up: px in a field of 608 px per rad/s^2, at most JOLT.
LAG = 0.5
JOLT = 4.0
BLEACHING_S = 1800.0  # time of full light until 1/e of what can bleach is left
BLEACHING_PART = 0.5  # share of the brightness that can bleach


@dataclass(frozen=True)
class Strengths:
    """How strong each effect is that makes a picture harder to analyse; 1: as in tissue."""

    background: float = 1.0  # fluctuation of neuropil, in common and locally
    out_of_focus: float = 1.0  # activity of cells out of focus
    motion: float = 1.0  # of the brain when the head accelerates
    bleaching: float = 1.0  # under light


AS_IN_TISSUE = Strengths()


@dataclass(frozen=True)
class Exposure:
    """What decides how a frame looks, apart from the tissue."""

    brightness: float  # light x exposure time x gain; 1.0: full light, the type's rate, gain 1
    gain: float
    defocus: float  # distance from the best focus, in units of the control

    def mixed(self, other: Exposure) -> Exposure:
        """Return an exposure that was half under this and half under the other setting."""
        return Exposure(
            (self.brightness + other.brightness) / 2, (self.gain + other.gain) / 2,
            (self.defocus + other.defocus) / 2)


class Scene:
    """The tissue under the scope; it renders frames and knows the truth behind them."""

    def __init__(
        self, width: int, height: int, *, seed: int, head: HeadPath | None = None,
        strengths: Strengths = AS_IN_TISSUE,
    ) -> None:
        """Draw the tissue for an image size [px]; it moves with the head, if that is given."""
        rng = np.random.default_rng([seed, 1])
        self.width, self.height = width, height
        self._strengths = strengths
        self._head = head
        side = min(width, height)
        self._unit = side / 608
        self._cells = place_cells(rng, CELLS, width / side, height / side, 0.055)
        hidden = place_cells(
            np.random.default_rng([seed, 7]), HIDDEN_CELLS, width / side, height / side, 0.0)
        self._activity = Activity(seed, CELLS)
        self._background = Background(
            strengths.background, Activity(seed + 1, HIDDEN_CELLS),
            HIDDEN_GLOW * strengths.out_of_focus)
        self._background.begin(seed)
        self._optics = Optics(rng, self._cells, hidden, width, height, self._background)
        self._sensor = Sensor(width, height, seed)
        self._phases = rng.uniform(0, 2 * math.pi, (2, len(DRIFT)))
        self._exposure: Exposure | None = None

    @property
    def cell_positions(self) -> NDArray[np.float64]:
        """Return the cells' centres at rest, shape (cells, 2): x, y [px] in the image."""
        return np.column_stack((self._cells.x, self._cells.y)) * min(self.width, self.height)

    def activity(self, time_s: float) -> NDArray[np.float32]:
        """Return the activity of every cell at a time [s], shape (cells,): 0 at rest."""
        return self._activity.at(time_s)

    def events(self, begin_s: float, end_s: float) -> Events:
        """Return the firing of the cells in a span of time [s]."""
        return self._activity.events(begin_s, end_s)

    def cell_footprint(self, cell: int) -> NDArray[np.float32]:
        """Return where a cell in focus shines at rest, shape (height, width), 1 at its peak."""
        image = np.zeros((self.height, self.width), np.float32)
        side = min(self.width, self.height)
        footprint = footprints(self._cells, image.shape, side, 0.0, SHARPEST * self._unit)[cell]
        image[footprint.place] = footprint.brightness / footprint.brightness.max()
        return image

    def motion(self, time_s: float) -> tuple[float, float]:
        """Return how far the tissue lies from rest at a time [s]: x, y [px]."""
        drift = (
            sum(amplitude * math.sin(2 * math.pi * time_s / period + phase)
                for (amplitude, period), phase in zip(DRIFT, phases, strict=True))
            for phases in self._phases)
        lag = self._head.acceleration(time_s) if self._head else (0.0, 0.0)
        x, y = (
            self._unit * (slow + self._strengths.motion * JOLT * math.tanh(LAG / JOLT * fast))
            for slow, fast in zip(drift, lag, strict=True))
        return x, y

    def bleached(self, dose_s: float) -> float:
        """Return what is left of the brightness after a dose [s of full light]."""
        gone = BLEACHING_PART * (1 - math.exp(-dose_s / BLEACHING_S))
        return 1 - min(1.0, self._strengths.bleaching * gone)

    def render(
        self, time_s: float, exposure: Exposure, out: NDArray[np.uint8], dose_s: float = 0.0,
    ) -> None:
        """
        Draw the picture at a time [s] after a dose of light [s of full light].

        out has shape (height, width, 2): grey value and chroma, as YUYV.
        """
        self._expose(exposure)
        activity = self.activity(time_s)
        light = self._optics.light(time_s, activity, self.motion(time_s))
        left = self.bleached(dose_s)
        level = left * self._background.common(time_s) * FULL * exposure.brightness * (
            1 + NEUROPIL * float(activity.mean()))
        self._sensor.expose(light, level, math.sqrt(left), max(0, round(time_s * 1e6)), out)

    def _expose(self, exposure: Exposure) -> None:
        """Prepare what stays the same as long as the exposure does."""
        before, self._exposure = self._exposure, exposure
        if exposure == before:
            return
        if before is None or exposure.defocus != before.defocus:
            self._optics.focus(exposure.defocus)
        self._sensor.expect(self._optics.rest * (FULL * exposure.brightness), exposure.gain)
