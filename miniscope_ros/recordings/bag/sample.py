# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Some images of a long recording, read where they stand instead of all in turn."""

from __future__ import annotations

from collections.abc import Generator

from miniscope_ros.recordings.bag.image_places import ImagePlaces
from miniscope_ros.recordings.bag.images import decode, Image, images
from miniscope_ros.recordings.bag.reader import Bag
from miniscope_ros.recordings.bag.tables import RecordedAcquisition
import numpy as np


def sample(bag: Bag, acquisitions: list[RecordedAcquisition], every: int, places: ImagePlaces,
           ) -> Generator[tuple[RecordedAcquisition, int, Image], None, None]:
    """
    Yield acquisition, row and pixels of each image whose row is a multiple of every.

    Of a compressed recording all images are read, for none can be read alone.
    """
    in_turn = []
    for acquisition in acquisitions:
        rows = np.arange(0, len(acquisition.images), every)
        if not rows.size:
            continue
        topic, found = places.find(acquisition.topic, acquisition.images['stamp'][rows])
        if (found['place'] < 0).any():
            in_turn.append(acquisition)
            continue
        for row, (_, file, place) in zip(rows.tolist(), found.tolist(), strict=True):
            message = bag.read(topic, file, place)
            pixels = decode(bag, message, acquisition) if message else None
            if pixels is not None:
                yield acquisition, row, pixels
    for acquisition, row, pixels in images(bag, in_turn) if in_turn else ():
        if row % every == 0:
            yield acquisition, row, pixels
