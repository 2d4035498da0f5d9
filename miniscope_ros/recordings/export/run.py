# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""From a bag to the files of an export, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
import shutil
import sys

from miniscope_ros.errors import ConfigurationError, DeviceError
from miniscope_ros.recordings.bag.contents import read_session
from miniscope_ros.recordings.bag.images import images
from miniscope_ros.recordings.bag.reader import Bag
from miniscope_ros.recordings.bag.tables import RecordedAcquisition, RecordedSession
from miniscope_ros.recordings.export.alignment import align, Alignment, read_times, write_aligned
from miniscope_ros.recordings.export.brightness import Brightness
from miniscope_ros.recordings.export.exit_status import ExitStatus
from miniscope_ros.recordings.export.frame_facts import frames_of_images
from miniscope_ros.recordings.export.interruption import note, on_interrupt, raise_if_told
from miniscope_ros.recordings.export.session_data import session_data, SessionData
from miniscope_ros.recordings.export.summary import describe
from miniscope_ros.recordings.export.target import new_folder
from miniscope_ros.recordings.export.writer import recording_start, Writer, WriterFactory
import numpy as np
from numpy.typing import NDArray

_RESERVE_BYTES = 8_000_000  # for tables, the report, and what is still in memory
_RESERVE_FRAMES = 16
_CAMERA_TYPE = 'camera'  # what our own node of a camera says


@dataclass(frozen=True)
class Options:
    """What is to be exported, and how."""

    bag: Path
    out: Path | None = None  # None: only tell whether the recording is good
    formats: tuple[str, ...] = ('miniscope_daq',)
    codec: str = 'ffv1'
    frames_per_file: int = 1000
    animal: str = ''
    metadata: Path | None = None  # of the session
    align: str = ''  # sync edges as another recorder saw them: FILE or ACQUISITION=FILE
    force: bool = False
    repair: bool = False  # a copy with misplaced blocks in order, beside the videos

    @property
    def bag_name(self) -> str:
        """Return the recording's name."""
        return self.bag.resolve().name if self.bag.is_dir() else self.bag.stem


def check(options: Options) -> ExitStatus:
    """Read all of a bag, print the report and write its picture into the current folder."""
    bag = Bag(options.bag, verify=True)
    session = _read(bag)
    everything = _named(session)
    total = sum(len(acquisition.images) for acquisition in everything)
    brightness = {id(one): Brightness(len(one.images)) for one in everything}
    with _progress('looking', total, ' frames') as progress:
        for done, (acquisition, row, pixels) in enumerate(images(bag, everything), 1):
            brightness[id(acquisition)].add(row, pixels)
            progress(done)
    is_good = _report(bag, session, brightness, None, Path(f'{options.bag_name}_report.png'))
    status = _report_problems(bag, everything)
    if is_good or status == ExitStatus.FAILED or bag.is_damaged:
        return status  # what the damage of a file has cost is not in the report
    return ExitStatus.NOT_GOOD


def export(options: Options) -> ExitStatus:
    """
    Export a bag into a new folder and print the report.

    ConfigurationError where the folder cannot be made, DeviceError where nothing can be exported.
    """
    assert options.out is not None
    bag = Bag(options.bag, verify=True)
    session_data({}, options.metadata)  # a file that cannot be used is refused at once
    with new_folder(options.out, options.force) as folder:
        session = _read(bag)
        everything = _named(session)
        wanted = [acquisition for acquisition in everything if len(acquisition.images)]
        if not wanted:
            _report_problems(bag, everything)
            raise DeviceError(f'{options.bag} holds no image of a scope; nothing was exported')
        aligned = _align(options.align, wanted)
        data = session_data(session.metadata, options.metadata, options.animal)
        brightness = _write(bag, wanted, folder, _writer_factories(options, session, data))
        for acquisition in everything:
            brightness.setdefault(id(acquisition), Brightness(len(acquisition.images)))
        made = [one for one in wanted if (folder / one.name).is_dir()]
        if made:
            from miniscope_ros.recordings.export.miniscope_daq import write_session
            write_session(folder, [one.name for one in made if not _is_camera(one)],
                          [one.name for one in made if _is_camera(one)],
                          recording_start(wanted), data)
        if aligned is not None:
            aligned.write(folder)
        _report(bag, session, brightness, folder / 'report.txt', folder / 'report.png')
    return _report_problems(bag, everything)


@dataclass(frozen=True)
class _Aligned:
    """The frames of an acquisition on the clock of another recorder."""

    acquisition: RecordedAcquisition
    frame_s: NDArray[np.float64]  # as in frames.csv
    alignment: Alignment

    def write(self, folder: Path) -> None:
        """Write the table into the acquisition's folder, or beside its file."""
        own = folder / self.acquisition.name
        write_aligned(own / 'aligned.csv' if own.is_dir()
                      else folder / f'{self.acquisition.name}_aligned.csv',
                      self.frame_s, self.alignment)


def _align(asked: str, acquisitions: list[RecordedAcquisition]) -> _Aligned | None:
    """Match the edges that a file holds; ConfigurationError where that cannot be."""
    if not asked:
        return None
    with_edges = {one.name: one for one in acquisitions if (one.frames['sync_edge'] >= 0).any()}
    name, _, file = asked.rpartition('=')
    if not name and len(with_edges) == 1:
        name, = with_edges
    if name not in with_edges:
        raise ConfigurationError(
            f'--align {asked}: name the acquisition as NAME=FILE; those with sync edges are '
            f'{", ".join(with_edges) or "none"}')
    acquisition = with_edges[name]
    frames, _ = frames_of_images(acquisition)
    offset_ms = (acquisition.start_ns - recording_start(acquisitions)) / 1e6
    frame_s = (frames['time_ms'] + offset_ms) / 1000
    try:
        alignment = align(frame_s, frames['sync_edge'], read_times(Path(file)))
    except ConfigurationError as error:
        raise ConfigurationError(f'--align {asked}: {error}') from error
    acquisition.remarks.append(f'aligned       {alignment.text()}')
    return _Aligned(acquisition, frame_s, alignment)


def _is_camera(acquisition: RecordedAcquisition) -> bool:
    return acquisition.is_camera or acquisition.device_type == _CAMERA_TYPE


def _named(session: RecordedSession) -> list[RecordedAcquisition]:
    """Return scopes and cameras; the cameras are named as Miniscope-DAQ does."""
    everything = [*session.acquisitions, *session.cameras]
    if any(not _is_camera(acquisition) for acquisition in everything):
        for number, camera in enumerate(filter(_is_camera, everything)):
            camera.name = f'BehavCam_{number}'
    return everything


def _writer_factories(options: Options, session: RecordedSession, data: SessionData,
                      ) -> list[WriterFactory]:
    """Return what makes the writers; a format's libraries are imported only if it is asked for."""
    factories: list[WriterFactory] = []
    if 'miniscope_daq' in options.formats:
        from miniscope_ros.recordings.export.miniscope_daq import MiniscopeDaqWriter
        factories.append(lambda folder, acquisitions, number: MiniscopeDaqWriter(
            folder / acquisitions[number].name, acquisitions[number],
            recording_start(acquisitions), number, options.codec, options.frames_per_file,
            session.notes))
        if options.repair:
            from miniscope_ros.recordings.export.repaired import RepairedWriter
            factories.append(lambda folder, acquisitions, number: RepairedWriter(
                folder / acquisitions[number].name, acquisitions[number], options.codec,
                options.frames_per_file))
    if 'nwb' in options.formats:
        from miniscope_ros.recordings.export.nwb import NwbWriter
        factories.append(lambda folder, acquisitions, number: NwbWriter(
            folder / f'{acquisitions[number].name}.nwb', acquisitions[number],
            options.bag_name, data, session.notes))
    return factories


def _read(bag: Bag) -> RecordedSession:
    with _progress('reading', 1.0) as progress:
        return read_session(bag, progress)


def _write(bag: Bag, acquisitions: list[RecordedAcquisition], folder: Path,
           factories: list[WriterFactory]) -> dict[int, Brightness]:
    """Write what the formats can hold; the rest becomes problems of the acquisitions."""
    total = sum(len(acquisition.images) for acquisition in acquisitions)
    outputs = {id(acquisition): _Output(acquisition, Brightness(len(acquisition.images)))
               for acquisition in acquisitions}
    numbers = {id(acquisition): number for number, acquisition in enumerate(acquisitions)}
    try:
        # Asked for at each frame.
        with on_interrupt(note), _progress('exporting', total, ' frames') as progress:
            for done, (acquisition, row, pixels) in enumerate(images(bag, acquisitions), 1):
                output = outputs[id(acquisition)]
                if not output.read:
                    output.writers = [make(folder, acquisitions, numbers[id(acquisition)])
                                      for make in factories]
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
    if not any(folder.iterdir()):
        _report_problems(bag, acquisitions)
        raise DeviceError('nothing was exported')
    return {key: output.brightness for key, output in outputs.items()}


def _check_space(folder: Path, frame_bytes: int) -> None:
    """Raise DeviceError before the disk is full: HDF5 cannot even close its file on a full one."""
    free = shutil.disk_usage(folder).free
    if free < _RESERVE_BYTES + _RESERVE_FRAMES * frame_bytes:
        raise DeviceError(f'the disk of {folder.parent} is full ({free / 1e6:.0f} MB are left); '
                          'nothing was exported')


@dataclass
class _Output:
    """One acquisition and the writers that it goes through."""

    acquisition: RecordedAcquisition
    brightness: Brightness
    writers: list[Writer] = field(default_factory=list)
    read: int = 0  # frames

    def add(self, row: int, pixels: NDArray[np.uint8]) -> None:
        """Append a frame; a writer that cannot hold it is dropped, and told as a problem."""
        self.brightness.add(row, pixels)
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
        for writer in self.writers:
            writer.finish()
        if missing := len(self.acquisition.images) - self.read:
            self.acquisition.problems.append(f'{missing} images could not be read')

    def discard(self) -> None:
        """Delete what was written."""
        for writer in self.writers:
            writer.discard()


def _report(
    bag: Bag, session: RecordedSession, brightness: dict[int, Brightness],
    text_file: Path | None, picture: Path,
) -> bool:
    """Write and print the report; return whether all of it is good."""
    acquisitions = [*session.acquisitions, *session.cameras]
    descriptions = [describe(one, brightness[id(one)]) for one in acquisitions]
    text = '\n\n'.join([*(description.text for description in descriptions),
                        *(f'left out: {topic}' for topic in session.left_out),
                        *(f'! {problem}' for problem in bag.problems)])
    print(text)
    if text_file is not None:
        text_file.write_text(text + '\n', encoding='utf-8')
    _draw(acquisitions, picture)
    return all(description.is_good for description in descriptions)


def _draw(acquisitions: list[RecordedAcquisition], picture: Path) -> None:
    if not acquisitions:
        return
    try:
        from miniscope_ros.recordings.export.picture import draw
        draw(acquisitions, picture)
    except ImportError:
        say('no picture: it needs matplotlib (apt install python3-matplotlib)')
    except OSError as error:
        say(f'no picture: {picture} cannot be written: {error.strerror}')
    except Exception as error:  # matplotlib has many versions; the data must not depend on it
        picture.unlink(missing_ok=True)
        say(f'no picture: {type(error).__name__}: {error}')


def _report_problems(bag: Bag, acquisitions: list[RecordedAcquisition]) -> ExitStatus:
    """Print all that is missing; return the exit status."""
    problems = [*bag.problems, *(f'{acquisition.name}: {problem}' for acquisition in acquisitions
                                 for problem in acquisition.problems)]
    for problem in problems:
        say(problem)
    if not any(len(acquisition.images) or len(acquisition.frames)
               for acquisition in acquisitions):
        return ExitStatus.FAILED
    return ExitStatus.PARTLY if problems else ExitStatus.DONE


@contextmanager
def _progress(what: str, total: float, unit: str = '') -> Iterator[Callable[[float], None]]:
    """Yield what takes the amount done; a bar shows it, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        say(f'{what}; a progress bar needs tqdm (apt install python3-tqdm)')
        yield lambda done: None
        return
    share = '' if unit else '{l_bar}{bar}| {elapsed}<{remaining}'
    with tqdm(total=total, desc=what, unit=unit, bar_format=share or None) as bar:
        yield lambda done: bar.update(done - bar.n) and None


def say(text: str) -> None:
    """Print a line for the user to standard error."""
    print(f'export_bag: {text}', file=sys.stderr)
