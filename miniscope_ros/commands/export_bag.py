# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Export a rosbag2 recording to what analysis tools read, or only tell whether it is good.

Exit status: 0 all is exported; 1 nothing is; 2 the command line is wrong; 3 a part is, and
standard error says what is missing; 130 interrupted, and nothing is left behind.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import shutil
import signal
import sys
from threading import Event
from types import FrameType
from typing import Protocol, TYPE_CHECKING

from miniscope_ros.errors import ConfigurationError, DeviceError, MiniscopeError
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from miniscope_ros.recordings.bag.acquisitions import RecordedAcquisition
    from miniscope_ros.recordings.bag.reader import Bag

DONE, FAILED, PARTLY, INTERRUPTED = 0, 1, 3, 130

_told_to_end = Event()

_FORMATS = ('miniscope_daq', 'nwb')
_CODECS = ('ffv1', 'grey', 'mjpg')
_PACKAGES = {'backports': 'backports.zstd', 'cv2': 'opencv-python-headless', 'yaml': 'pyyaml',
             **dict.fromkeys(('h5py', 'ndx_miniscope', 'pynwb'), 'pynwb ndx-miniscope')}
_BAG_SUFFIXES = ('.mcap', '.db3', '.zstd')


class Writer(Protocol):
    """What every format's writer does."""

    def add(self, image: NDArray[np.uint8], time_ms: float, device_frame_count: int) -> None:
        """Append a frame; ConfigurationError for one that the format cannot hold."""
        ...

    def finish(self) -> None:
        """Complete the output."""
        ...

    def discard(self) -> None:
        """Close and delete what has been written."""
        ...


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit status."""
    options = _parse(arguments)
    # A job that is told to end leaves nothing behind either; one in the background of a script
    # begins with SIGINT ignored.
    _told_to_end.clear()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        if options.verify:
            return _verify(options)
        return _check(options) if options.check else _export(options)
    except KeyboardInterrupt:
        _say('interrupted; nothing was exported')
        return INTERRUPTED
    except ModuleNotFoundError as error:
        module = str(error.name).partition('.')[0]
        _say(f'the Python module {module} is missing: pip install '
             f'{_PACKAGES.get(module, module)}')
        return FAILED
    except (MiniscopeError, OSError) as error:
        _say(str(error))
        return FAILED


def _interrupt(number: int, frame: FrameType | None) -> None:
    # An exception alone is lost where a library's callback cannot pass it on.
    _note_interrupt(number, frame)
    raise KeyboardInterrupt


def _note_interrupt(number: int, frame: FrameType | None) -> None:
    _told_to_end.set()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='export_bag', description='Export a rosbag2 recording of Miniscopes for analysis.',
        epilog='exit status: 0 all is exported; 1 nothing is; 2 wrong command line; 3 a part is, '
               'see the messages; 130 interrupted')
    parser.add_argument('bag', metavar='BAG', type=Path,
                        help='folder of the recording, or one of its files')
    parser.add_argument('out', metavar='OUT', type=Path, nargs='?', help='folder to be made')
    parser.add_argument('--check', action='store_true',
                        help='export nothing: report on the recording, with a picture '
                             'BAG_report.png in the current folder')
    parser.add_argument('--verify', action='store_true',
                        help='export nothing: compare the recording with its certificate.json, '
                             'byte by byte and message by message')
    parser.add_argument('--format', action='append', choices=_FORMATS, dest='formats',
                        help='what to write; may be given twice (default: miniscope_daq)')
    parser.add_argument('--codec', choices=_CODECS, default='ffv1',
                        help='of the videos: ffv1 is lossless and small, grey lossless and fast, '
                             'mjpg loses detail (default: %(default)s)')
    parser.add_argument('--frames-per-file', type=int, default=1000, metavar='N',
                        help='frames in each video file (default: %(default)s)')
    parser.add_argument('--animal', default='', metavar='NAME',
                        help='written into the metadata; the recording does not hold it')
    parser.add_argument('--force', action='store_true',
                        help='replace the folder OUT and all that is in it')
    options = parser.parse_args(arguments)
    if (options.check or options.verify) == (options.out is not None):
        parser.error('give BAG and OUT, or --check or --verify and BAG')
    if options.frames_per_file < 1:
        parser.error(f'--frames-per-file is {options.frames_per_file}; it has to be 1 or more')
    options.formats = options.formats or ['miniscope_daq']
    return options


def _verify(options: argparse.Namespace) -> int:
    from miniscope_ros.recordings.certificate import read, verify

    problems = verify(options.bag)
    for problem in problems:
        _say(problem)
    if problems:
        return PARTLY
    files = read(options.bag)['files']
    print(f'{options.bag} is as it was recorded: {len(files)} files, every message accounted for')
    return DONE


def _check(options: argparse.Namespace) -> int:
    bag = _open(options.bag)
    acquisitions = _read(bag)
    _report(bag, acquisitions, None, Path(f'{_bag_name(options.bag)}_report.png'))
    return _tell_problems(bag, acquisitions)


def _export(options: argparse.Namespace) -> int:
    bag = _open(options.bag)
    make_writers = _writer_factories(options)
    with _new_folder(options.out, options.force) as folder:
        acquisitions = _read(bag)
        wanted = [acquisition for acquisition in acquisitions if len(acquisition.images)]
        if not wanted:
            _tell_problems(bag, acquisitions)
            raise DeviceError(f'{options.bag} holds no image of a scope; nothing was exported')
        _write(bag, wanted, folder, make_writers)
        names = [acquisition.name for acquisition in wanted
                 if (folder / acquisition.name).is_dir()]
        if names:
            from miniscope_ros.recordings.export.miniscope_daq import write_session
            write_session(folder, names, _recording_start(wanted), options.animal)
        _report(bag, acquisitions, folder / 'report.txt', folder / 'report.png')
    return _tell_problems(bag, acquisitions)


def _writer_factories(options: argparse.Namespace
                      ) -> list[Callable[[Path, list[RecordedAcquisition], int], Writer]]:
    """Return for each format what makes the writer of one of the acquisitions."""
    factories: list[Callable[[Path, list[RecordedAcquisition], int], Writer]] = []
    if 'miniscope_daq' in options.formats:
        from miniscope_ros.recordings.export.miniscope_daq import MiniscopeDaqWriter
        factories.append(lambda folder, acquisitions, number: MiniscopeDaqWriter(
            folder / acquisitions[number].name, acquisitions[number],
            _recording_start(acquisitions), number, options.codec, options.frames_per_file))
    if 'nwb' in options.formats:
        from miniscope_ros.recordings.export.nwb import NwbWriter
        factories.append(lambda folder, acquisitions, number: NwbWriter(
            folder / f'{acquisitions[number].name}.nwb', acquisitions[number],
            _bag_name(options.bag), options.animal))
    return factories


def _recording_start(acquisitions: list[RecordedAcquisition]) -> int:
    return min(acquisition.start_ns for acquisition in acquisitions)


def _open(path: Path) -> Bag:
    from miniscope_ros.recordings.bag.reader import Bag
    return Bag(path)


def _read(bag: Bag) -> list[RecordedAcquisition]:
    from miniscope_ros.recordings.bag.acquisitions import read_contents

    with _progress('reading', 1.0) as progress:
        return read_contents(bag, progress)


def _write(bag: Bag, acquisitions: list[RecordedAcquisition], folder: Path,
           factories: list[Callable[[Path, list[RecordedAcquisition], int], Writer]]) -> None:
    """Write what the formats can hold; the rest becomes problems of the acquisitions."""
    from miniscope_ros.recordings.bag.acquisitions import images

    open_writers: dict[str, list[Writer]] = {}
    read = dict.fromkeys((acquisition.name for acquisition in acquisitions), 0)
    numbers = {acquisition.name: number for number, acquisition in enumerate(acquisitions)}
    total = sum(len(acquisition.images) for acquisition in acquisitions)
    try:
        # Asked for at each frame.
        with _on_interrupt(_note_interrupt), _progress('exporting', total, ' frames') as progress:
            for done, (acquisition, row, pixels) in enumerate(images(bag, acquisitions), 1):
                name = acquisition.name
                if name not in open_writers:
                    open_writers[name] = [make(folder, acquisitions, numbers[name])
                                          for make in factories]
                _, time_ms, count = acquisition.images[row].item()
                for writer in list(open_writers[name]):
                    try:
                        writer.add(pixels, time_ms, count)
                    except ConfigurationError as error:
                        acquisition.problems.append(f'not exported: {error}')
                        writer.discard()
                        open_writers[name].remove(writer)
                read[name] += 1
                progress(done)
                if _told_to_end.is_set():
                    raise KeyboardInterrupt
        for writers in open_writers.values():
            for writer in writers:
                writer.finish()
    except BaseException:
        for writers in open_writers.values():
            for writer in writers:
                writer.discard()
        raise
    for acquisition in acquisitions:
        if missing := len(acquisition.images) - read[acquisition.name]:
            acquisition.problems.append(f'{missing} images could not be read')
    if not any(folder.iterdir()):
        _tell_problems(bag, acquisitions)
        raise DeviceError('nothing was exported')


@contextmanager
def _new_folder(out: Path, force: bool) -> Iterator[Path]:
    """Yield a hidden folder that gets the name out in the end, or is removed on an error."""
    replaced = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if replaced and not force:
        raise ConfigurationError(f'{out} exists; choose another name, or replace it with --force')
    if replaced and out.is_dir():
        bag = next((file for file in out.rglob('*') if file.suffix in _BAG_SUFFIXES), None)
        if bag is not None:
            raise ConfigurationError(f'{out} holds a recording ({bag}), which --force would '
                                     'delete; choose another name')
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f'.{out.name}.partial-{os.getpid()}')
    partial.mkdir()
    try:
        yield partial
        if _told_to_end.is_set():
            raise KeyboardInterrupt
        with _on_interrupt(signal.SIG_IGN):  # half-way would leave a mess
            if replaced:
                old = out.with_name(f'.{out.name}.replaced-{os.getpid()}')
                out.rename(old)
                partial.rename(out)
                shutil.rmtree(old) if old.is_dir() else old.unlink()
            else:
                partial.rename(out)
    except BaseException:
        with _on_interrupt(signal.SIG_IGN):  # half-way would leave a mess
            shutil.rmtree(partial, ignore_errors=True)
        raise


@contextmanager
def _on_interrupt(handler: Callable[[int, FrameType | None], None] | signal.Handlers
                  ) -> Iterator[None]:
    """Let a Ctrl-C, or being told to end, do something else in this block."""
    before = {number: signal.signal(number, handler)
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


def _report(
    bag: Bag, acquisitions: list[RecordedAcquisition], text_file: Path | None, picture: Path,
) -> None:
    from miniscope_ros.recordings.export.report import describe, draw

    text = '\n\n'.join([*map(describe, acquisitions), *(f'! {text}' for text in bag.problems)])
    print(text)
    if text_file is not None:
        text_file.write_text(text + '\n', encoding='utf-8')
    if not acquisitions:
        return
    try:
        draw(acquisitions, picture)
    except ImportError:
        _say('no picture: it needs matplotlib (apt install python3-matplotlib)')
    except OSError as error:
        _say(f'no picture: {picture} cannot be written: {error.strerror}')


def _tell_problems(bag: Bag, acquisitions: list[RecordedAcquisition]) -> int:
    """Print all that is missing; return the exit status."""
    problems = [*bag.problems, *(f'{acquisition.name}: {problem}' for acquisition in acquisitions
                                 for problem in acquisition.problems)]
    for problem in problems:
        _say(problem)
    if not any(len(acquisition.images) or len(acquisition.frames)
               for acquisition in acquisitions):
        return FAILED
    return PARTLY if problems else DONE


@contextmanager
def _progress(what: str, total: float, unit: str = '') -> Iterator[Callable[[float], None]]:
    """Yield what takes the amount done; a bar shows it, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        _say(f'{what}; a progress bar needs tqdm (apt install python3-tqdm)')
        yield lambda done: None
        return
    share = '' if unit else '{l_bar}{bar}| {elapsed}<{remaining}'
    with tqdm(total=total, desc=what, unit=unit, bar_format=share or None) as bar:
        yield lambda done: bar.update(done - bar.n) and None


def _bag_name(path: Path) -> str:
    return path.resolve().name if path.is_dir() else path.stem


def _say(text: str) -> None:
    print(f'export_bag: {text}', file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main())
