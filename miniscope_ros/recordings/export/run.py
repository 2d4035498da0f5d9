# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""From a bag to the files of an export, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
import sys

from miniscope_ros.errors import ConfigurationError, DeviceError
from miniscope_ros.recordings.bag.contents import read_contents
from miniscope_ros.recordings.bag.images import images
from miniscope_ros.recordings.bag.reader import Bag
from miniscope_ros.recordings.bag.tables import RecordedAcquisition
from miniscope_ros.recordings.export.exit_status import ExitStatus
from miniscope_ros.recordings.export.interruption import note, on_interrupt, raise_if_told
from miniscope_ros.recordings.export.summary import describe
from miniscope_ros.recordings.export.target import new_folder
from miniscope_ros.recordings.export.writer import recording_start, Writer, WriterFactory
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Options:
    """What is to be exported, and how."""

    bag: Path
    out: Path | None = None  # None: only tell whether the recording is good
    formats: tuple[str, ...] = ('miniscope_daq',)
    codec: str = 'ffv1'
    frames_per_file: int = 1000
    animal: str = ''
    force: bool = False

    @property
    def bag_name(self) -> str:
        """Return the recording's name."""
        return self.bag.resolve().name if self.bag.is_dir() else self.bag.stem


def check(options: Options) -> ExitStatus:
    """Read all of a bag, print the report and write its picture into the current folder."""
    bag = Bag(options.bag, verify=True)
    acquisitions = _read(bag)
    _report(bag, acquisitions, None, Path(f'{options.bag_name}_report.png'))
    return _report_problems(bag, acquisitions)


def export(options: Options) -> ExitStatus:
    """
    Export a bag into a new folder and print the report.

    ConfigurationError where the folder cannot be made, DeviceError where nothing can be exported.
    """
    assert options.out is not None
    bag = Bag(options.bag, verify=True)
    factories = _writer_factories(options)
    with new_folder(options.out, options.force) as folder:
        acquisitions = _read(bag)
        wanted = [acquisition for acquisition in acquisitions if len(acquisition.images)]
        if not wanted:
            _report_problems(bag, acquisitions)
            raise DeviceError(f'{options.bag} holds no image of a scope; nothing was exported')
        _write(bag, wanted, folder, factories)
        names = [acquisition.name for acquisition in wanted
                 if (folder / acquisition.name).is_dir()]
        if names:
            from miniscope_ros.recordings.export.miniscope_daq import write_session
            write_session(folder, names, recording_start(wanted), options.animal)
        _report(bag, acquisitions, folder / 'report.txt', folder / 'report.png')
    return _report_problems(bag, acquisitions)


def _writer_factories(options: Options) -> list[WriterFactory]:
    """Return what makes the writers; a format's libraries are imported only if it is asked for."""
    factories: list[WriterFactory] = []
    if 'miniscope_daq' in options.formats:
        from miniscope_ros.recordings.export.miniscope_daq import MiniscopeDaqWriter
        factories.append(lambda folder, acquisitions, number: MiniscopeDaqWriter(
            folder / acquisitions[number].name, acquisitions[number],
            recording_start(acquisitions), number, options.codec, options.frames_per_file))
    if 'nwb' in options.formats:
        from miniscope_ros.recordings.export.nwb import NwbWriter
        factories.append(lambda folder, acquisitions, number: NwbWriter(
            folder / f'{acquisitions[number].name}.nwb', acquisitions[number],
            options.bag_name, options.animal))
    return factories


def _read(bag: Bag) -> list[RecordedAcquisition]:
    with _progress('reading', 1.0) as progress:
        return read_contents(bag, progress)


def _write(bag: Bag, acquisitions: list[RecordedAcquisition], folder: Path,
           factories: list[WriterFactory]) -> None:
    """Write what the formats can hold; the rest becomes problems of the acquisitions."""
    total = sum(len(acquisition.images) for acquisition in acquisitions)
    outputs = {acquisition.name: _Output(acquisition) for acquisition in acquisitions}
    numbers = {acquisition.name: number for number, acquisition in enumerate(acquisitions)}
    try:
        # Asked for at each frame.
        with on_interrupt(note), _progress('exporting', total, ' frames') as progress:
            for done, (acquisition, row, pixels) in enumerate(images(bag, acquisitions), 1):
                output = outputs[acquisition.name]
                if not output.read:
                    output.writers = [make(folder, acquisitions, numbers[acquisition.name])
                                      for make in factories]
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


@dataclass
class _Output:
    """One acquisition and the writers that it goes through."""

    acquisition: RecordedAcquisition
    writers: list[Writer] = field(default_factory=list)
    read: int = 0  # frames

    def add(self, row: int, pixels: NDArray[np.uint8]) -> None:
        """Append a frame; a writer that cannot hold it is dropped, and told as a problem."""
        _, time_ms, count = self.acquisition.images[row].item()
        for writer in list(self.writers):
            try:
                writer.add(pixels, time_ms, count)
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
    bag: Bag, acquisitions: list[RecordedAcquisition], text_file: Path | None, picture: Path,
) -> None:
    text = '\n\n'.join([*map(describe, acquisitions), *(f'! {text}' for text in bag.problems)])
    print(text)
    if text_file is not None:
        text_file.write_text(text + '\n', encoding='utf-8')
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
