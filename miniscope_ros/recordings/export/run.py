# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""From a bag to the files of an export, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, field
import os
from pathlib import Path
import shutil

from miniscope_ros.errors import ConfigurationError, DeviceError
from miniscope_ros.recordings.bag.images import images
from miniscope_ros.recordings.bag.reader import Bag
from miniscope_ros.recordings.bag.tables import RecordedAcquisition
from miniscope_ros.recordings.export.aligned import align_export
from miniscope_ros.recordings.export.exit_status import ExitStatus
from miniscope_ros.recordings.export.interruption import note, on_interrupt, raise_if_told
from miniscope_ros.recordings.export.messages import progress_bar
from miniscope_ros.recordings.export.options import Options
from miniscope_ros.recordings.export.picture_statistics import PictureStatistics
from miniscope_ros.recordings.export.places import Places
from miniscope_ros.recordings.export.report import report, report_problems
from miniscope_ros.recordings.export.scope_frames import write_scope_frames
from miniscope_ros.recordings.export.session import is_camera, name_all, read
from miniscope_ros.recordings.export.session_data import session_data, SessionData
from miniscope_ros.recordings.export.target import new_folder
from miniscope_ros.recordings.export.writer import Writer, WriterFactory
import numpy as np
from numpy.typing import NDArray

_RESERVE_BYTES = 8_000_000  # for tables, the report, and what is still in memory
_RESERVE_FRAMES = 16


def export(options: Options) -> ExitStatus:
    """
    Export a bag into a new folder and print the report.

    ConfigurationError where the folder cannot be made, DeviceError where nothing can be exported.
    """
    assert options.out is not None
    bag = Bag(options.bag, verify=True)
    session_data({}, options.metadata)  # a file that cannot be used is refused at once
    with new_folder(options.out, options.force) as folder:
        session = read(bag)
        everything = name_all(session)
        wanted = [acquisition for acquisition in everything if len(acquisition.images)]
        if not wanted:
            report_problems(bag, everything)
            raise DeviceError(f'{options.bag} holds no image of a scope; nothing was exported')
        places = Places(wanted, session.notes)
        aligned = align_export(options.align, options.align_channel, wanted, places)
        data = session_data(session.metadata, options.metadata, options.animal)
        statistics = _write(bag, wanted, folder, _writer_factories(options, data, places))
        for acquisition in everything:
            statistics.setdefault(id(acquisition), PictureStatistics(len(acquisition.images)))
        made = [one for one in wanted if (folder / places[one].folder).is_dir()]
        if made:
            from miniscope_ros.recordings.export.miniscope_daq import write_sessions
            write_sessions(folder, made, places, data)
            write_scope_frames(folder, [one for one in made if not is_camera(one)],
                               [one for one in made if is_camera(one)], places,
                               lambda one: statistics[id(one)].rows)
        for one in made:
            if places[one].session:
                one.remarks.append(f'folder        {places[one].folder}')
        if aligned is not None:
            aligned.write(folder, statistics[id(aligned.acquisition)].rows)
        report(bag, session, statistics, data, folder / 'report.txt', folder / 'report.png')
    return report_problems(bag, everything)


def _writer_factories(options: Options, data: SessionData, places: Places,
                      ) -> list[WriterFactory]:
    """Return what makes the writers; a format's libraries are imported only if it is asked for."""
    factories: list[WriterFactory] = []
    if 'miniscope_daq' in options.formats:
        from miniscope_ros.recordings.export.miniscope_daq import MiniscopeDaqWriter
        factories.append(lambda folder, acquisition: MiniscopeDaqWriter(
            folder, acquisition, places[acquisition], options.codec,
            options.frames_per_file))
        if options.repair:
            from miniscope_ros.recordings.export.repaired import RepairedWriter
            factories.append(lambda folder, acquisition: RepairedWriter(
                folder, acquisition, places[acquisition], options.codec,
                options.frames_per_file))
    if 'nwb' in options.formats:
        from miniscope_ros.recordings.export.nwb import NwbWriter
        factories.append(lambda folder, acquisition: NwbWriter(
            folder / f'{acquisition.name}.nwb', acquisition, options.bag_name, data,
            places[acquisition].notes))
    return factories


def _write(bag: Bag, acquisitions: list[RecordedAcquisition], folder: Path,
           factories: list[WriterFactory]) -> dict[int, PictureStatistics]:
    """Write what the formats can hold; the rest becomes problems of the acquisitions."""
    total = sum(len(acquisition.images) for acquisition in acquisitions)
    outputs = {id(acquisition): _Output(acquisition, PictureStatistics(len(acquisition.images)))
               for acquisition in acquisitions}
    try:
        # Asked for at each frame.
        with on_interrupt(note), progress_bar('exporting', total, ' frames') as progress:
            for done, (acquisition, row, pixels) in enumerate(images(bag, acquisitions), 1):
                output = outputs[id(acquisition)]
                if not output.read:
                    output.writers = [make(folder, acquisition) for make in factories]
                _check_space(folder, pixels.nbytes)
                output.add(row, pixels)
                progress(done)
                raise_if_told()
        for output in outputs.values():
            output.finish()
    except BaseException:
        for output in outputs.values():
            output.discard()
        raise
    _remove_empty(folder)
    if not any(folder.iterdir()):
        report_problems(bag, acquisitions)
        raise DeviceError('nothing was exported')
    return {key: output.statistics for key, output in outputs.items()}


def _check_space(folder: Path, frame_bytes: int) -> None:
    """Raise DeviceError before the disk is full: HDF5 cannot even close its file on a full one."""
    free = shutil.disk_usage(folder).free
    if free < _RESERVE_BYTES + _RESERVE_FRAMES * frame_bytes:
        raise DeviceError(f'the disk of {folder.parent} is full ({free / 1e6:.0f} MB are left); '
                          'nothing was exported')


def _remove_empty(folder: Path) -> None:
    """Remove the folders of sessions in which nothing could be written."""
    for place, _, _ in os.walk(folder, topdown=False):
        if Path(place) != folder and not any(Path(place).iterdir()):
            os.rmdir(place)


@dataclass
class _Output:
    """One acquisition and the writers that it goes through."""

    acquisition: RecordedAcquisition
    statistics: PictureStatistics
    writers: list[Writer] = field(default_factory=list)
    read: int = 0  # frames

    def add(self, row: int, pixels: NDArray[np.uint8]) -> None:
        """Append a frame; a writer that cannot hold it is dropped and reported as a problem."""
        self.statistics.add(row, pixels)
        for writer in list(self.writers):
            try:
                writer.add(pixels, row)
            except ConfigurationError as error:
                self.acquisition.problems.append(f'not exported: {error}')
                writer.discard()
                self.writers.remove(writer)
        self.read += 1

    def finish(self) -> None:
        """Complete the files, and note what could not be read."""
        rows = self.statistics.rows
        for writer in self.writers:
            writer.finish(rows)
        if missing := len(self.acquisition.images) - self.read:
            self.acquisition.problems.append(f'{missing} images could not be read')

    def discard(self) -> None:
        """Delete what was written."""
        for writer in self.writers:
            writer.discard()
