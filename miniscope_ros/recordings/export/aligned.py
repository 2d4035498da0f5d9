# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The frames of an acquisition on the clock of another recorder: matched, written and drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.bag.tables import RecordedAcquisition
from miniscope_ros.recordings.edges.channel import Times
from miniscope_ros.recordings.edges.formats import read_edges
from miniscope_ros.recordings.export.aligned_picture import draw_alignment
from miniscope_ros.recordings.export.alignment import align, Alignment, write_aligned
from miniscope_ros.recordings.export.frame_facts import frames_of_images
from miniscope_ros.recordings.export.picture import draw_safely
from miniscope_ros.recordings.export.places import Place, Places
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Aligned:
    """An acquisition whose frames are matched to the edges of another recorder."""

    acquisition: RecordedAcquisition
    place: Place
    frame_s: Times  # as in frames.csv
    edges_s: Times  # on the other clock
    alignment: Alignment

    def write(self, folder: Path, rows: NDArray[np.intp]) -> None:
        """
        Write table and picture into the acquisition's folder, or beside its file.

        The table has a row for each image that is in the export; rows, shape (n,), are theirs.
        """
        own = folder / self.place.folder
        table = (own / 'aligned.csv' if own.is_dir()
                 else folder / f'{self.acquisition.name}_aligned.csv')
        write_aligned(table, self.frame_s, self.alignment, rows)
        draw_safely(lambda path: draw_alignment(
            path, self.acquisition.name, self.frame_s, self.edges_s, self.alignment),
            table.with_suffix('.png'))


def align_export(asked: str, channel: str, acquisitions: list[RecordedAcquisition],
                 places: Places) -> Aligned | None:
    """
    Match the edges that a file holds to the frames of an acquisition.

    Parameters
    ----------
    asked
        FILE, or NAME=FILE where several acquisitions have sync edges; nothing is done if empty.
    channel
        The channel of the file; empty for the only one that has edges.
    acquisitions
        All acquisitions of the recording.
    places
        Where their folders are, and when their times are 0.

    Raises
    ------
    ConfigurationError
        If there is no such acquisition, or if file and frames do not fit.

    """
    if not asked:
        return None
    with_edges = {one.name: one for one in acquisitions if (one.frames['sync_edge'] >= 0).any()}
    name, equals, file = asked.partition('=')
    if not equals or name not in with_edges and Path(asked).exists():
        name, file = '', asked
    if not name and len(with_edges) == 1:
        name, = with_edges
    if name not in with_edges:
        raise ConfigurationError(
            f'--align {asked}: name the acquisition as NAME=FILE; those with sync edges are '
            f'{", ".join(with_edges) or "none"}')
    acquisition = with_edges[name]
    frames, _ = frames_of_images(acquisition)
    place = places[acquisition]
    offset_ms = (acquisition.start_ns - place.start_ns) / 1e6
    frame_s = (frames['time_ms'] + offset_ms) / 1000
    try:
        edges_s = read_edges(Path(file), channel)
        alignment = align(frame_s, frames['sync_edge'], edges_s)
    except ConfigurationError as error:
        reason = ' '.join(str(error).split())  # a library's reason may have several lines
        raise ConfigurationError(f'--align {asked}: {reason}') from error
    acquisition.remarks.append(f'aligned       {alignment.text()}')
    return Aligned(acquisition, place, frame_s, edges_s, alignment)
