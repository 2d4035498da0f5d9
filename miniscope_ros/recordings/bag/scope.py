# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What one pass over a bag collects of one node."""

from __future__ import annotations

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

    def add_image(self, stamp: int, *, suspect: bool = False) -> None:
        """Note an image by its stamp [ns]."""
        if suspect:
            self.suspect.append(stamp)
        self._image_stamps += stamp.to_bytes(8, 'little', signed=True)

    def image_stamps(self) -> NDArray[np.int64]:
        """Return the stamps of the images [ns]."""
        return np.frombuffer(bytes(self._image_stamps), '<i8').astype(np.int64)
