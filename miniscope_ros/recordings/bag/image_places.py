# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Where the images of a bag stand, so that some can be read without the others."""

from __future__ import annotations

from typing import Any

from miniscope_ros.recordings.bag.message import Message, Topic
import numpy as np
from numpy.typing import NDArray

_PLACE = np.dtype([('stamp', '<i8'), ('file', '<i8'), ('place', '<i8')])


class ImagePlaces:
    """Where the images of a bag stand, noted in the pass that reads their stamps."""

    def __init__(self) -> None:
        self._topics: dict[str, Topic] = {}
        self._rows: dict[str, bytearray] = {}

    def add(self, message: Message, stamp: int, file: int) -> None:
        """Note an image by its stamp [ns] and the number of the file that holds it."""
        name = message.topic.name
        if name not in self._topics:
            self._topics[name] = message.topic
            self._rows[name] = bytearray()
        for number in (stamp, file, message.place):
            self._rows[name] += number.to_bytes(8, 'little', signed=True)

    def find(self, topic: str, stamps: NDArray[np.int64]) -> tuple[Topic, NDArray[Any]]:
        """Return for each stamp where its image stands; its place is -1 where that is unknown."""
        rows = np.frombuffer(bytes(self._rows[topic]), _PLACE)
        rows = rows[np.argsort(rows['stamp'], kind='stable')]
        found = rows[np.minimum(np.searchsorted(rows['stamp'], stamps), len(rows) - 1)].copy()
        found['place'][found['stamp'] != stamps] = -1
        return self._topics[topic], found
