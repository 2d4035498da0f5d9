# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A copy of a scope's videos with misplaced blocks put in order, where the order is certain."""

from __future__ import annotations

import csv
from pathlib import Path
import shutil

from miniscope_ros.model import Content
from miniscope_ros.recordings.bag.tables import RecordedAcquisition
from miniscope_ros.recordings.export.block_order import restore_order
from miniscope_ros.recordings.export.frame_facts import frames_of_images
from miniscope_ros.recordings.export.places import Place
from miniscope_ros.recordings.export.videos import VideoFiles
import numpy as np
from numpy.typing import NDArray

FOLDER = 'repaired'
COLUMNS = ('Frame Number', 'Repaired', 'Blocks')

_MISPLACED = Content.BLOCKS_MISPLACED


class RepairedWriter:
    """
    Writes the folder "repaired" of one acquisition, beside its videos as they were published.

    Frames that were published as blocks_misplaced are tried; all others are copied as they are.
    repairs.csv has a row for each frame that was tried: where it was repaired, Blocks lists the
    place that each block was taken from. Without any such frame there is no folder.
    """

    def __init__(self, folder: Path, acquisition: RecordedAcquisition, place: Place,
                 codec: str, frames_per_file: int) -> None:
        """Make the folder in that of the acquisition, if there is something to repair."""
        self._folder = folder / place.folder / FOLDER
        self._acquisition = acquisition
        frames, known = frames_of_images(acquisition)
        self._misplaced = known & (frames['content'] == _MISPLACED)
        self._rows: list[tuple[int, int, str]] = []
        self._videos: VideoFiles | None = None
        if self._misplaced.any():
            self._folder.mkdir()
            self._videos = VideoFiles(self._folder, codec, frames_per_file)
        self._count = 0

    def add(self, image: NDArray[np.uint8], row: int) -> None:
        """Append the image of a row; ConfigurationError for one that the files cannot hold."""
        if self._videos is None:
            return
        if self._misplaced[row]:
            result = restore_order(image) if image.ndim == 2 else None
            order: list[int] = []
            if result is not None:
                image, order = result
            self._rows.append((self._count, int(bool(order)), ' '.join(map(str, order))))
        self._videos.add(image)
        self._count += 1

    def finish(self, rows: NDArray[np.intp]) -> None:
        """Write the list of repairs; DeviceError if a video is not what was written."""
        if self._videos is None:
            return
        self._videos.finish()
        with (self._folder / 'repairs.csv').open('w', encoding='ascii', newline='') as file:
            table = csv.writer(file, lineterminator='\n')
            table.writerow(COLUMNS)
            table.writerows(self._rows)
        repaired = sum(done for _, done, _ in self._rows)
        self._acquisition.remarks.append(
            f'repaired      {repaired} of {len(self._rows)} frames with misplaced blocks, in the '
            f'folder {FOLDER}')

    def discard(self) -> None:
        """Close and delete what has been written."""
        if self._videos is not None:
            self._videos.release()
            shutil.rmtree(self._folder, ignore_errors=True)
