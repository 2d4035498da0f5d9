# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
What lies in the simulated field of view: cells, vessels, neuropil and the fall of the light.

All images are float32 and relative: 1.0 is the mean brightness of the field.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

MOST_VESSELS = 40
HIDDEN_BLUR = 0.006  # blur of cells out of focus, in units of the field's shorter side
REACH = 2.6  # a cell's light ends at this distance, in units of its radius


@dataclass(frozen=True)
class Cells:
    """Positions and shapes of cells; lengths in units of the field's shorter side."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    radius: NDArray[np.float64]
    stretch: NDArray[np.float64]  # long axis / short axis
    angle: NDArray[np.float64]  # [rad]
    peak: NDArray[np.float64]  # brightness at the centre at activity 1


def place_cells(
        rng: np.random.Generator, count: int, width: float, height: float,
        distance: float) -> Cells:
    """Place cells at random in a field, if possible at least a distance from one another."""
    places = np.empty((0, 2))
    for _ in range(count):
        # Of some candidates the one farthest from the others, once one is far enough.
        candidates = rng.uniform((0.02, 0.02), (width - 0.02, height - 0.02), (20, 2))
        gaps = np.full(20, np.inf) if not len(places) else np.hypot(
            *(candidates[:, None] - places[None]).transpose(2, 0, 1)).min(axis=1)
        far = np.flatnonzero(gaps >= distance)
        places = np.vstack((places, candidates[far[0] if len(far) else gaps.argmax()]))
    return Cells(
        places[:, 0], places[:, 1], rng.uniform(0.009, 0.0135, count),
        rng.uniform(1.0, 1.35, count), rng.uniform(0, math.pi, count),
        rng.uniform(0.12, 0.40, count))


@dataclass(frozen=True)
class Footprint:
    """Where a cell shines and how brightly at activity 1."""

    rows: slice
    columns: slice
    brightness: Image

    @property
    def place(self) -> tuple[slice, slice]:
        """Return the place as an index into the field's image."""
        return self.rows, self.columns


def footprints(
        cells: Cells, shape: tuple[int, int], scale: float, border: float, blur: float
) -> list[Footprint]:
    """
    Return every cell's footprint in an image of a shape (height, width), blurred by blur [px].

    A length is multiplied by scale [px]; border [px] is the place of the field's corner.
    """
    found = []
    for cell in range(len(cells.x)):
        x, y = cells.x[cell] * scale + border, cells.y[cell] * scale + border
        reach = REACH * cells.radius[cell] * cells.stretch[cell] * scale + 3 * blur
        rows = slice(max(0, int(y - reach)), min(shape[0], int(y + reach) + 2))
        columns = slice(max(0, int(x - reach)), min(shape[1], int(x + reach) + 2))
        distance = _distance(
            np.arange(columns.start, columns.stop)[None] - x,
            np.arange(rows.start, rows.stop)[:, None] - y, cells, cell, scale)
        # A soma of even brightness with a soft edge, in the halo of its own scattered light.
        soma = 0.8 * np.exp(-distance ** 4) + 0.2 * np.exp(-distance ** 2 / 2.5)
        soma[distance > REACH] = 0
        brightness = (cells.peak[cell] * soma).astype(np.float32)
        if blur > 0:
            brightness = cv2.GaussianBlur(brightness, (0, 0), blur)
        found.append(Footprint(rows, columns, brightness))
    return found


def _distance(
        x: NDArray[np.float64], y: NDArray[np.float64], cells: Cells, cell: int, scale: float
) -> NDArray[np.float64]:
    """Return the distance from a cell's centre, 1.0 at its rim."""
    cos, sin = math.cos(cells.angle[cell]), math.sin(cells.angle[cell])
    along, across = x * cos + y * sin, y * cos - x * sin
    radius = cells.radius[cell] * scale
    distance: NDArray[np.float64] = np.hypot(
        along / (radius * cells.stretch[cell]), across / radius)
    return distance


def texture(
        rng: np.random.Generator, shape: tuple[int, int], finest: float, octaves: int) -> Image:
    """Return smooth random structure of mean 0 and deviation 1; finest is a length [px]."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        length = finest * 2 ** octave
        coarse = (max(2, round(shape[1] / length)), max(2, round(shape[0] / length)))
        grains = rng.standard_normal((coarse[1], coarse[0]), dtype=np.float32)
        # Coarse structure is the stronger one, as in scattered light.
        total += 1.35 ** octave * cv2.resize(
            grains, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    total -= total.mean()
    total /= total.std()
    return total


def vessels(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Image:
    """Return the share of light that blood vessels let through, scale as in footprints."""
    height, width = shape
    shade = np.zeros(shape, np.uint8)
    # Trunks come in from the edge towards the middle; branches leave them and get thinner.
    paths = []
    for turn in rng.uniform(0, 2 * math.pi) + np.arange(4) * math.pi / 2:
        heading = turn + math.pi + rng.normal(0, 0.35)
        paths.append((
            width * (0.5 + 0.75 * math.cos(turn)), height * (0.5 + 0.75 * math.sin(turn)),
            heading, rng.uniform(0.012, 0.028)))
    step = 0.012 * scale
    for _ in range(MOST_VESSELS):
        if not paths:
            break
        x, y, heading, thickness = paths.pop(0)
        bend, course = 0.0, heading
        line = np.zeros(shape, np.uint8)
        while thickness > 0.003:
            bend = 0.8 * bend + rng.normal(0, 0.06)
            heading += bend - 0.03 * math.sin(heading - course)  # no loops
            begin = round(16 * x), round(16 * y)
            x, y = x + step * math.cos(heading), y + step * math.sin(heading)
            cv2.line(
                line, begin, (round(16 * x), round(16 * y)), min(255, int(90 + 7000 * thickness)),
                max(1, round(thickness * scale)), cv2.LINE_AA, 4)  # in 16ths of a px
            thickness -= 0.00012
            if thickness > 0.005 and rng.random() < 0.035:
                side = heading + rng.choice((-1, 1)) * rng.uniform(0.5, 1.1)
                paths.append((x, y, side, thickness * rng.uniform(0.4, 0.7)))
                thickness *= 0.93
        np.maximum(shade, line, out=shade)
    depth = cv2.GaussianBlur(shade.astype(np.float32) / 255, (0, 0), 0.0028 * scale)
    return np.asarray(1 - 0.42 * depth, np.float32)


def illumination(rng: np.random.Generator, shape: tuple[int, int]) -> Image:
    """Return the excitation light's dome with the lens's vignetting, 1.0 at its middle."""
    height, width = shape
    rows, columns = np.ogrid[:height, :width]
    x0, y0 = rng.normal(0.5, 0.03, 2) * (width, height)
    squares = ((columns - x0) ** 2 + (rows - y0) ** 2) / (0.5 * min(shape)) ** 2
    return np.asarray(0.12 + 0.88 / (1 + 0.42 * squares) ** 2, np.float32)


def tissue(
        rng: np.random.Generator, cells: Cells, hidden: Cells, shape: tuple[int, int],
        scale: float, border: float) -> Image:
    """
    Return the field at rest, in focus, cells silent; scale and border as in footprints.

    Hidden cells lie above and below the focal plane; they are dim and blurred.
    """
    image = 1 + 0.055 * texture(rng, shape, 0.012 * scale, 5)
    for footprint in footprints(cells, shape, scale, border, 0.0):
        image[footprint.place] += 0.6 * footprint.brightness
    for footprint in footprints(hidden, shape, scale, border, HIDDEN_BLUR * scale):
        image[footprint.place] += 0.5 * footprint.brightness
    image *= vessels(rng, shape, scale)
    image *= illumination(rng, shape)
    image /= image.mean()
    return image
