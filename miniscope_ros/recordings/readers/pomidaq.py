# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Recordings of PoMiDAQ: NAME.mkv, NAME_timestamps.csv and NAME_orientation.csv.

A recording may be cut into slices, NAME_1.mkv, NAME_2.mkv, .. with time stamps of their own and
one orientation table NAME_orientation.csv; several recordings may share a folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import re

from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.readers.table import Table
from miniscope_ros.recordings.readers.timed_video import (
    Part,
    read_orientation,
    Rows,
    Tables,
    TimedVideo,
)
from miniscope_ros.recordings.readers.video import opencv_decoder
import numpy as np
from numpy.typing import NDArray

_STAMPS = '_timestamps.csv'
_ORIENTATION = '_orientation.csv'
_VIDEOS = ('.mkv', '.avi')
_TIME = 'timestamp'
_ROW_TIME = 'Time [ms]'
_SLICE = re.compile(r'(?P<name>.+)_(?P<number>\d{1,9})')
_ODD = 0.1  # share of a slice's times that may be wrong
# Times are counted from the recording's start or, as an option of the program, from 1970.
_SURELY_SINCE_1970_MS = 1e11


@dataclass(frozen=True)
class _Named:
    """One recording in a folder."""

    name: Path  # without any ending
    slices: list[Path]  # without endings, in order; the name itself where it is not sliced


def recognise(path: Path) -> bool:
    """Return whether it is a video or the name of a recording, or a folder of such."""
    return bool(_choices(path))


def read(path: Path) -> TimedVideo:
    """Open a recording, sliced or whole, or one slice; DeviceError if it cannot be played."""
    choices = _choices(path)
    if len(choices) > 1:
        names = ', '.join(str(_label(choice)) for choice in choices)
        raise DeviceError(f'{path} holds several recordings; name one of: {names}')
    chosen = choices[0]
    warnings: list[str] = []
    bases, times = _times(chosen, warnings)
    parts = [Part(_video(base), len(column)) for base, column in zip(bases, times, strict=True)]
    times_ms = np.concatenate(times)
    orientation = _orientation(chosen, warnings)

    start_epoch_ns = None
    known = times_ms[np.isfinite(times_ms)]
    if known.size and np.median(known) > _SURELY_SINCE_1970_MS:
        start_ms = int(known[known > _SURELY_SINCE_1970_MS][0])
        start_epoch_ns = start_ms * 1_000_000
        times_ms = times_ms - start_ms
        if orientation is not None:
            orientation = Rows(orientation.times_ms - start_ms, orientation.quaternions)
    tables = Tables(times_ms=times_ms, orientation=orientation, start_epoch_ns=start_epoch_ns,
                    warnings=warnings)
    return TimedVideo('PoMiDAQ', chosen.name, parts,
                      opencv_decoder([part.path for part in parts]), tables)


def _choices(path: Path) -> list[_Named]:
    """Return the recordings that a path stands for: all of a folder, or the one of that name."""
    if path.is_dir():
        return _recordings(path)
    if not path.parent.is_dir():
        return []
    base = path.with_suffix('') if path.suffix in _VIDEOS else path
    found = _recordings(path.parent)
    whole = [recording for recording in found if recording.name == base]
    if whole:
        return whole
    return [_Named(base, [base]) for recording in found if base in recording.slices]


def _recordings(folder: Path) -> list[_Named]:
    """Return what is in a folder; slices of one name are one recording."""
    bases = [table.with_name(table.name.removesuffix(_STAMPS))
             for table in folder.glob('*' + _STAMPS)]
    slices: dict[Path, dict[int, Path]] = {}
    for base in bases:
        match = _SLICE.fullmatch(base.name)
        if match:
            slices.setdefault(folder / match['name'], {})[int(match['number'])] = base
    recordings = [
        _Named(name, [numbered[number] for number in sorted(numbered)])
        for name, numbered in slices.items()
        # mouse_2 is a recording of its own, not a slice, unless slices begin with the first.
        if name not in bases and (min(numbered) <= 1 or _beside(name, _ORIENTATION).exists())]
    sliced = {base for recording in recordings for base in recording.slices}
    recordings += [_Named(base, [base]) for base in bases if base not in sliced]
    return sorted(recordings, key=lambda recording: recording.name.name)


def _times(chosen: _Named, warnings: list[str]) -> tuple[list[Path], list[NDArray[np.float64]]]:
    """Return the slices that follow each other in time, and the times of each [ms]."""
    bases: list[Path] = []
    times: list[NDArray[np.float64]] = []
    last = -np.inf
    for number, base in enumerate(chosen.slices):
        table = Table(_beside(base, _STAMPS), ';')
        column = table.column(_TIME)
        known = column[np.isfinite(column)]
        if known.size and np.quantile(known, _ODD) < last:
            names = ', '.join(left.name for left in chosen.slices[number:])
            warnings.append(f'{chosen.name}: {names} is not played: its times do not follow those '
                            f'of {bases[-1].name}, so that it is of another recording')
            break
        warnings.extend(table.warnings)
        bases.append(base)
        times.append(column)
        last = float(np.quantile(known, 1 - _ODD)) if known.size else last
    _warn_of_gaps(chosen, bases, warnings)
    return bases, times


def _warn_of_gaps(chosen: _Named, bases: list[Path], warnings: list[str]) -> None:
    matches = [_SLICE.fullmatch(base.name) for base in bases if base != chosen.name]
    numbers = [int(match['number']) for match in matches if match]
    missing = sorted(set(range(min(numbers[0], 1), numbers[-1])) - set(numbers)) if (
        numbers and numbers[-1] <= 100_000) else []
    if missing:
        names = ', '.join(f'{chosen.name.name}_{number}' for number in missing[:3])
        warnings.append(f'{chosen.name}: {len(missing)} slices are missing: {names}'
                        f'{", .." if len(missing) > 3 else ""}')


def _orientation(chosen: _Named, warnings: list[str]) -> Rows | None:
    """Return the orientation of a recording; a slice has that of the recording it is of."""
    match = _SLICE.fullmatch(chosen.name.name)
    names = [chosen.name]
    if match and chosen.slices == [chosen.name]:
        names.append(chosen.name.with_name(match['name']))
    for name in names:
        file = _beside(name, _ORIENTATION)
        if file.exists():
            return read_orientation(file, ';', _ROW_TIME, warnings)
    return None


def _label(choice: _Named) -> Path:
    """Return the path by which a recording can be named."""
    return _video(choice.name) if choice.slices == [choice.name] else choice.name


def _beside(base: Path, ending: str) -> Path:
    return base.with_name(base.name + ending)


def _video(base: Path) -> Path:
    for ending in _VIDEOS:
        if _beside(base, ending).exists():
            return _beside(base, ending)
    raise DeviceError(f'{_beside(base, _STAMPS)} has no video beside it: '
                      f'{base.name}{_VIDEOS[0]} is missing')
