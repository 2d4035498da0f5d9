# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""How bright the pictures are: saturation, and jumps with the change of a control behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
from miniscope_ros.recordings.bag.tables import ControlChange, RecordedAcquisition
from miniscope_ros.recordings.export.frame_facts import frames_of_images
import numpy as np
from numpy.typing import NDArray

SATURATED_SHARE = 0.01
"""A frame with more of its pixels at 255 counts as saturated."""

_JUMP = 0.15  # share of the median brightness, from frame to frame: more than tissue changes
_JUMP_IN_NOISE = 8.0  # times the median change from frame to frame
_EXPLAINED_WITHIN_NS = 500_000_000  # a control was sent so long before the jump at most


class Jump(NamedTuple):
    """A sudden change of the mean grey value."""

    row: int  # of the first image after it
    before: float
    after: float
    change: ControlChange | None  # that explains it


class Brightness:
    """Mean grey value and saturated share of each image; NaN where it was not read."""

    def __init__(self, images: int) -> None:
        """Begin without any."""
        self.mean = np.full(images, np.nan, np.float32)
        self.saturated = np.full(images, np.nan, np.float32)  # share of the pixels at 255

    def add(self, row: int, pixels: NDArray[np.uint8]) -> None:
        """Take the image of a row."""
        flat = np.ascontiguousarray(pixels).reshape(pixels.shape[0], -1)
        self.mean[row] = cv2.mean(flat)[0]
        self.saturated[row] = np.count_nonzero(flat == 255) / flat.size

    def saturated_rows(self) -> NDArray[np.intp]:
        """Return the rows of the images that are saturated."""
        with np.errstate(invalid='ignore'):
            return np.flatnonzero(self.saturated > SATURATED_SHARE)

    def jumps(self, acquisition: RecordedAcquisition) -> list[Jump]:
        """Return where the brightness jumps from one image to the next."""
        known = np.flatnonzero(np.isfinite(self.mean))
        steps = np.abs(np.diff(self.mean[known]))
        if not steps.size:
            return []
        least = max(_JUMP * float(np.median(self.mean[known])), 1.0,
                    _JUMP_IN_NOISE * float(np.median(steps)))
        stamps = frames_of_images(acquisition)[0]['stamp']
        return [Jump(after, float(self.mean[before]), float(self.mean[after]), next(
            _explanations(acquisition, int(stamps[before + 1]), int(stamps[after])), None))
            for before, after in ((int(known[place]), int(known[place + 1]))
                                  for place in np.flatnonzero(steps > least))]


def _explanations(acquisition: RecordedAcquisition, first: int, last: int,
                  ) -> Iterator[ControlChange]:
    """Yield the changes that may show from the image of one stamp to another, latest first."""
    for change in reversed(acquisition.changes):
        if first - _EXPLAINED_WITHIN_NS <= change.stamp <= last:
            yield change
