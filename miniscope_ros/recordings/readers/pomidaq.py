# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Recordings of PoMiDAQ: NAME.mkv, NAME_timestamps.csv and NAME_orientation.csv."""

from __future__ import annotations

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

_STAMPS = '_timestamps.csv'
_ORIENTATION = '_orientation.csv'
_VIDEOS = ('.mkv', '.avi')
_TIME = 'timestamp'
_ROW_TIME = 'Time [ms]'
_SLICE = re.compile(r'(?P<name>.+)_(?P<number>\d+)')
# Times are counted from the recording's start or, as an option of the program, from 1970.
_SURELY_SINCE_1970_MS = 1e11


def recognise(path: Path) -> bool:
    """Return whether it is a video with its time stamps, or a folder of such."""
    return bool(_names(path))


def read(path: Path) -> TimedVideo:
    """Open a recording, sliced or whole; DeviceError if it cannot be played."""
    names = _names(path)
    name, slices = _recording(path, names)
    warnings: list[str] = []
    parts = []
    times = []
    for base in slices:
        table = Table(_beside(base, _STAMPS), ';')
        column = table.column(_TIME)
        warnings.extend(table.warnings)
        times.append(column)
        parts.append(Part(_video(base), len(column)))
    times_ms = np.concatenate(times)
    orientation = read_orientation(_beside(name, _ORIENTATION), ';', _ROW_TIME, warnings)

    start_epoch_ns = None
    known = times_ms[np.isfinite(times_ms)]
    if known.size and known[0] > _SURELY_SINCE_1970_MS:
        start_epoch_ns = int(known[0]) * 1_000_000
        times_ms = times_ms - int(known[0])
        if orientation is not None:
            orientation = Rows(orientation.times_ms - int(known[0]), orientation.quaternions)
    tables = Tables(times_ms=times_ms, orientation=orientation, start_epoch_ns=start_epoch_ns,
                    warnings=warnings)
    return TimedVideo('PoMiDAQ', name, parts, opencv_decoder(parts[0].path), tables)


def _beside(base: Path, ending: str) -> Path:
    return base.with_name(base.name + ending)


def _names(path: Path) -> list[Path]:
    """Return the recordings' files without their endings."""
    if path.is_dir():
        tables = sorted(path.glob('*' + _STAMPS))
    else:
        table = _beside(path.with_suffix(''), _STAMPS)
        tables = [table] if path.suffix in _VIDEOS and table.exists() else []
    return [table.with_name(table.name.removesuffix(_STAMPS)) for table in tables]


def _recording(path: Path, names: list[Path]) -> tuple[Path, list[Path]]:
    """Return the recording's name and its slices in order; DeviceError if there are several."""
    if len(names) == 1:
        return names[0], names
    matches = [_SLICE.fullmatch(name.name) for name in names]
    numbered = {int(match['number']): name
                for match, name in zip(matches, names, strict=True) if match is not None}
    stems = {match['name'] for match in matches if match is not None}
    if len(stems) != 1 or len(numbered) != len(names):
        videos = ', '.join(str(_video(name)) for name in names)
        raise DeviceError(f'{path} holds several recordings; name one of: {videos}')
    return path / stems.pop(), [numbered[number] for number in sorted(numbered)]


def _video(base: Path) -> Path:
    for ending in _VIDEOS:
        if _beside(base, ending).exists():
            return _beside(base, ending)
    raise DeviceError(f'{_beside(base, _STAMPS)} has no video beside it: '
                      f'{base.name}{_VIDEOS[0]} is missing')
