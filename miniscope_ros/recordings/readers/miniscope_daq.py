# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Recordings of the Miniscope-DAQ software: 0.avi, 1.avi, .. and timeStamps.csv."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
import math
from pathlib import Path
import re

from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.readers.metadata import Metadata
from miniscope_ros.recordings.readers.table import Table
from miniscope_ros.recordings.readers.timed_video import Part, read_orientation, Tables, TimedVideo
from miniscope_ros.recordings.readers.video import opencv_count, opencv_decoder
import numpy as np
from numpy.typing import NDArray

_STAMPS = 'timeStamps.csv'
_ORIENTATION = 'headOrientation.csv'
_TIME = 'Time Stamp (ms)'
_COUNT = 'DAQ Frame Number'
_UNKNOWN_COUNT = -1
_VIDEO = re.compile(r'[0-9]{1,18}\.avi')
_DEFAULT_FRAMES_PER_FILE = 1000


def recognise(path: Path) -> bool:
    """Return whether it is a device's folder or the folder of a recording above it."""
    return path.is_dir() and bool(device_folders(path))


def read(path: Path) -> TimedVideo:
    """Open the recording of one device; DeviceError if it cannot be played."""
    folders = device_folders(path)
    if len(folders) > 1:
        names = ', '.join(str(folder) for folder in folders)
        raise DeviceError(f'{path} holds recordings of several devices; name one of: {names}')
    folder = folders[0]
    files = _videos(folder)
    if not files:
        raise DeviceError(f'{folder}: no video (0.avi, 1.avi, ..) beside {_STAMPS}')
    if not (folder / _STAMPS).exists():
        raise DeviceError(f'{folder}: {_STAMPS} is missing')

    stamps = Table(folder / _STAMPS, ',')
    warnings = stamps.warnings
    videos = _by_number(folder, files, warnings)
    has_counter = stamps.has(_COUNT)
    times, *counts = stamps.columns(_TIME, *([_COUNT] if has_counter else []))
    metadata = Metadata(folder, warnings)
    session = Metadata(folder.parent, warnings)
    tables = Tables(
        times_ms=times,
        device_counts=_device_counts(counts[0]) if has_counter else None,
        orientation=read_orientation(folder / _ORIENTATION, ',', _TIME, warnings),
        device_type=metadata.device_type(),
        frame_rate=metadata.frame_rate(),
        start_epoch_ns=session.start_epoch_ns(),
        controls=metadata.controls(),
        warnings=warnings)
    parts = _parts(folder, videos, len(times), metadata, warnings)
    present = [part.path for part in parts if part.path.exists()]
    return TimedVideo('Miniscope-DAQ', folder, parts, opencv_decoder(present), tables)


def holds_recording(path: Path) -> bool:
    """Return whether a folder is that of a device, not one above it."""
    return (path / _STAMPS).exists() or bool(_videos(path))


def _videos(folder: Path) -> list[Path]:
    """Return the files with a number for a name."""
    return sorted(file for file in folder.iterdir() if _VIDEO.fullmatch(file.name))


def _by_number(folder: Path, files: Sequence[Path], warnings: list[str]) -> dict[int, Path]:
    """
    Return the videos by their numbers, which some programs write with zeros before them.

    Of two files of one number that one is taken whose name is written as those of the others;
    DeviceError where they do not tell.
    """
    named: dict[int, list[Path]] = {}
    for file in files:
        named.setdefault(int(file.stem), []).append(file)
    alone = [same[0].stem for same in named.values() if len(same) == 1]
    videos = {}
    for number, same in named.items():
        like = same if len(same) == 1 else _written_alike(same, alone)
        if len(like) != 1:
            raise DeviceError(
                f'{folder} holds {" and ".join(file.name for file in same)}, which have the same '
                'number: one of them is of another recording; move it elsewhere')
        videos[number] = like[0]
        warnings += [f'{folder}: {file.name} is not played: {videos[number].name} has the same '
                     'number, and its name is written as those of the others'
                     for file in same if file != videos[number]]
    return videos


def _written_alike(same: Sequence[Path], others: Collection[str]) -> list[Path]:
    """Return those of one number whose names have zeros, or none, as other names have."""
    widest = max(len(file.stem) for file in same)
    widths = {len(stem) for stem in others if _has_zeros(stem)}
    has_plain = any(not _has_zeros(stem) and len(stem) < widest for stem in others)
    return [file for file in same
            if (len(file.stem) in widths if _has_zeros(file.stem) else has_plain)]


def _has_zeros(stem: str) -> bool:
    return stem.startswith('0') and len(stem) > 1


def device_folders(path: Path) -> list[Path]:
    """Return the folder itself or those below it that hold a device's recording."""
    for folders in ([path], sorted(folder for folder in path.iterdir() if folder.is_dir())):
        found = [folder for folder in folders if holds_recording(folder)]
        if found:
            return found
    return []


def _parts(folder: Path, videos: Mapping[int, Path], rows: int, metadata: Metadata,
           warnings: list[str]) -> list[Part]:
    """
    Divide the time stamps between the video files.

    Every file but the last has as many as its header says, so that a file which lost its end, or
    is missing altogether, does not shift the times of those after it.
    """
    numbers = _own_numbers(folder, videos, warnings)
    said = {number: opencv_count(videos[number]) for number in numbers}
    known = sum(max(0, count) for count in said.values())
    per_file = metadata.frames_per_file(_DEFAULT_FRAMES_PER_FILE)
    # Some programs count from 1. Files that are missing at the beginning have time stamps.
    leading = numbers[0] * per_file
    first = 0 if abs(rows - known - leading) < abs(rows - known) else numbers[0]
    if known != rows and min(said.values()) > 0 and len(said) == numbers[-1] - first + 1:
        warnings.append(f'{folder}: {rows} time stamps for {known} frames')
    parts = []
    for number in range(first, numbers[-1] + 1):
        count = said.get(number, 0)
        own = rows if number == numbers[-1] else min(rows, count if count > 0 else per_file)
        parts.append(Part(videos.get(number, folder / f'{number}.avi'), own))
        rows -= own
    return parts


def _own_numbers(folder: Path, videos: Mapping[int, Path], warnings: list[str]) -> list[int]:
    """
    Return the numbers of the files of this recording, without those of strangers.

    A recording's files are numbered from 0, or 1, and few are missing. A number that is far from
    the others, such as a date, is that of another file.
    """
    numbers = sorted(videos)
    own = numbers[:1]
    for number in numbers[1:]:
        if number - own[-1] > len(numbers):
            break
        own.append(number)
    if strangers := numbers[len(own):]:
        names = ', '.join(videos[number].name for number in strangers[:3])
        more = f' and {len(strangers) - 3} more' if len(strangers) > 3 else ''
        warnings.append(f'{folder}: {names}{more} is not played: its number does not follow '
                        f'{videos[own[-1]].name}')
    return own


def _device_counts(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(counts == _UNKNOWN_COUNT, math.nan, counts)
