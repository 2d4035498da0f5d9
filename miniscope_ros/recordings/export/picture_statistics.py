# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the report says of the pictures of one acquisition, gathered while they pass."""

from __future__ import annotations

from miniscope_ros.recordings.export.brightness import Brightness
from miniscope_ros.recordings.export.projections import Projections
import numpy as np
from numpy.typing import NDArray


class PictureStatistics:
    """Brightness over time, and projections."""

    def __init__(self, images: int) -> None:
        """Begin without any; images is how many the acquisition has."""
        self.brightness = Brightness(images)
        self.projections = Projections(images)

    def add(self, row: int, pixels: NDArray[np.uint8]) -> None:
        """Take the image of a row."""
        self.brightness.add(row, pixels)
        self.projections.add(row, pixels)

    @property
    def rows(self) -> NDArray[np.intp]:
        """Return the rows of the n images that were taken, shape (n,), rising."""
        return np.flatnonzero(np.isfinite(self.brightness.mean))
