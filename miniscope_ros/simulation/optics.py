# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What of the tissue reaches the sensor, under each focus."""

from __future__ import annotations

import math

import cv2
from miniscope_ros.simulation.anatomy import (
    Cells,
    Footprint,
    footprints,
    HIDDEN_BLUR,
    tissue,
)
from miniscope_ros.simulation.background import Background
import numpy as np
from numpy.typing import NDArray

BLUR = 0.06  # defocus per unit of the focus control [px in a field of 608 px]
SHARPEST = 0.7  # [px in a field of 608 px] blur in the best focus
_BORDER = 8  # [px in a field of 608 px] of tissue around the field, for it moves
_SILENT = 0.02  # activity below which a cell is not drawn


class Optics:
    """The field of view as light, 1.0 being its mean brightness at rest."""

    def __init__(
        self, rng: np.random.Generator, cells: Cells, hidden: Cells, width: int, height: int,
        background: Background,
    ) -> None:
        """Draw the tissue for an image size [px]; hidden cells are out of focus."""
        self._cells, self._hidden = cells, hidden
        self._width, self._height = width, height
        self._side = min(width, height)
        self._background = background
        coarse = max(1, int(self._side / 608))  # the tissue is drawn on a grid of so many px
        self._coarse = coarse
        self._border = math.ceil(_BORDER * self._side / 608)
        rows, columns = (-(-(length + 2 * self._border) // coarse) for length in (height, width))
        # The centres of a coarser grid's pixels lie between those of the image.
        self._sharp = tissue(
            rng, cells, hidden, (rows, columns), self._side / coarse,
            (self._border + 0.5) / coarse - 0.5)
        self._rest = self._active = self._sharp  # until the first focus is known
        self._footprints: list[Footprint] = []
        self._hidden_footprints: list[Footprint] = []
        self._light = np.empty((height, width), np.float32)

    @property
    def rest(self) -> NDArray[np.float32]:
        """Return the light of the field at rest, cells silent, shape (height, width)."""
        border = self._border
        return self._rest[border:border + self._height, border:border + self._width]

    def focus(self, defocus: float) -> None:
        """Set the distance from the best focus, in units of the control."""
        blur = math.hypot(SHARPEST, BLUR * defocus) * self._side / 608  # [px]
        blurred = cv2.GaussianBlur(self._sharp, (0, 0), blur / self._coarse)
        rows, columns = (self._coarse * length for length in self._sharp.shape)
        self._rest = np.asarray(
            cv2.resize(blurred, (columns, rows), interpolation=cv2.INTER_CUBIC), np.float32)
        self._active = np.empty_like(self._rest)
        self._footprints = footprints(
            self._cells, (rows, columns), self._side, self._border, blur)
        self._hidden_footprints = footprints(
            self._hidden, (rows, columns), self._side, self._border,
            math.hypot(HIDDEN_BLUR * self._side, blur))
        for footprint in (*self._footprints, *self._hidden_footprints):
            footprint.brightness[:] *= self._rest[footprint.place]
        self._background.forget()

    def light(
        self, time_s: float, activity: NDArray[np.float32], motion: tuple[float, float],
    ) -> NDArray[np.float32]:
        """
        Return the light of the field, shape (height, width); valid until the next call.

        activity is that of the cells, motion x, y [px] of the tissue from rest.
        """
        np.copyto(
            self._active, self._background.at(time_s, self._rest, self._hidden_footprints))
        for cell in np.flatnonzero(activity > _SILENT):
            footprint = self._footprints[cell]
            patch = self._active[footprint.place]
            cv2.scaleAdd(footprint.brightness, float(activity[cell]), patch, patch)
        x, y = motion
        cv2.getRectSubPix(
            self._active, (self._width, self._height),
            (self._border + (self._width - 1) / 2 - x, self._border + (self._height - 1) / 2 - y),
            self._light)
        return self._light
