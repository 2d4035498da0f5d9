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

_JUMP = 0.15  # of the median brightness, from one frame to the next: no tissue does that
_JUMP_IN_NOISE = 8.0  # of the median change from frame to frame
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
        steps = np.abs(np.diff(self.mean))
        seen = steps[np.isfinite(steps)]
        if not seen.size:
            return []
        least = max(_JUMP * float(np.nanmedian(self.mean)), 1.0,
                    _JUMP_IN_NOISE * float(np.median(seen)))
        with np.errstate(invalid='ignore'):
            rows = np.flatnonzero(steps > least) + 1
        frames, _ = frames_of_images(acquisition)
        return [Jump(row, float(self.mean[row - 1]), float(self.mean[row]), next(
            _explanations(acquisition, int(frames['stamp'][row])), None)) for row in rows.tolist()]


def _explanations(acquisition: RecordedAcquisition, stamp: int) -> Iterator[ControlChange]:
    """Yield the changes shortly before an image, the latest first."""
    for change in reversed(acquisition.changes):
        if 0 <= stamp - change.stamp <= _EXPLAINED_WITHIN_NS:
            yield change
