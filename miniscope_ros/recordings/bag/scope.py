# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What one pass over a bag collects of one node."""

from __future__ import annotations

from array import array

from miniscope_ros.recordings.bag.tables import (
    ControlChange,
    ControlState,
    FRAME,
    FrameMetadata,
    InputChange,
    MessageTable,
    ROW,
)
import numpy as np
from numpy.typing import NDArray

_MOST_SHAPES = 100  # of the images of a node; more of them are those of damaged messages


class ScopeMessages:
    """The small messages of a node and the stamps of its images, in the bag's order."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.frames = MessageTable(FRAME)
        self.orientation = MessageTable(ROW)
        self.controls: list[tuple[int, dict[str, ControlState]]] = []  # with their stamps [ns]
        self.changes: list[ControlChange] = []
        self.metadata: list[tuple[int, FrameMetadata]] = []
        self.inputs: list[InputChange] = []
        self.suspect: list[int] = []  # stamps of images whose bytes may be wrong [ns]
        self._image_stamps = bytearray()
        self._shapes: list[tuple[int, int] | None] = []  # all that occur
        self._image_shapes = array('i')  # places in that list

    def add_image(
        self, stamp: int, shape: tuple[int, int] | None, *, suspect: bool = False,
    ) -> None:
        """Note an image by its stamp [ns] and its shape (height, width); None: not known."""
        if shape not in self._shapes:
            if len(self._shapes) >= _MOST_SHAPES:
                shape = None
            if shape not in self._shapes:
                self._shapes.append(shape)
        self._image_shapes.append(self._shapes.index(shape))
        if suspect:
            self.suspect.append(stamp)
        self._image_stamps += stamp.to_bytes(8, 'little', signed=True)

    def image_stamps(self) -> NDArray[np.int64]:
        """Return the stamps of the images [ns]."""
        return np.frombuffer(bytes(self._image_stamps), '<i8').astype(np.int64)

    def image_shapes(self) -> NDArray[np.int64]:
        """Return a number of the shape of each image; see usual_shape."""
        return np.array(self._image_shapes, np.int64)

    def usual_shape(self, numbers: NDArray[np.int64]) -> tuple[int, int] | None:
        """Return the shape (height, width) that most images of these numbers have."""
        return self._shapes[int(np.bincount(numbers).argmax())] if len(numbers) else None
