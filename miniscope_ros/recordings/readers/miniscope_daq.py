# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Recordings of the Miniscope-DAQ software: 0.avi, 1.avi, .. and timeStamps.csv."""

from __future__ import annotations

import json
import math
from pathlib import Path
import re
from typing import Any

from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.readers.table import Table
from miniscope_ros.recordings.readers.timed_video import Part, read_orientation, Tables, TimedVideo
from miniscope_ros.recordings.readers.video import opencv_count, opencv_decoder
import numpy as np
from numpy.typing import NDArray

_STAMPS = 'timeStamps.csv'
_ORIENTATION = 'headOrientation.csv'
_METADATA = 'metaData.json'
_TIME = 'Time Stamp (ms)'
_COUNT = 'DAQ Frame Number'
_UNKNOWN_COUNT = -1
_VIDEO = re.compile(r'\d+\.avi')
_DEFAULT_FRAMES_PER_FILE = 1000
_CONTROLS = ('led0', 'ewl', 'gain', 'frameRate')


def recognise(path: Path) -> bool:
    """Return whether it is a device's folder or the folder of a recording above it."""
    return path.is_dir() and bool(_device_folders(path))


def read(path: Path) -> TimedVideo:
    """Open the recording of one device; DeviceError if it cannot be played."""
    folders = _device_folders(path)
    if len(folders) > 1:
        names = ', '.join(str(folder) for folder in folders)
        raise DeviceError(f'{path} holds recordings of several devices; name one of: {names}')
    folder = folders[0]
    videos = sorted(_videos(folder), key=lambda file: int(file.stem))
    if not videos:
        raise DeviceError(f'{folder}: no video (0.avi, 1.avi, ..) beside {_STAMPS}')
    if not (folder / _STAMPS).exists():
        raise DeviceError(f'{folder}: {_STAMPS} is missing')

    stamps = Table(folder / _STAMPS, ',')
    warnings = stamps.warnings
    metadata = _metadata(folder, warnings)
    times = stamps.column(_TIME)
    tables = Tables(
        times_ms=times,
        device_counts=_device_counts(stamps),
        orientation=read_orientation(folder / _ORIENTATION, ',', _TIME, warnings),
        device_type=str(metadata.get('deviceType', '')),
        frame_rate=_frame_rate(metadata),
        start_epoch_ns=_start_epoch_ns(_metadata(folder.parent, warnings)),
        controls={name: str(metadata[name]) for name in _CONTROLS if name in metadata},
        warnings=warnings)
    return TimedVideo('Miniscope-DAQ', folder, _parts(videos, len(times), metadata, warnings),
                      opencv_decoder(videos[0]), tables)


def _videos(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if _VIDEO.fullmatch(file.name)]


def _device_folders(path: Path) -> list[Path]:
    """Return the folder itself or those below it that hold a device's recording."""
    for folders in ([path], sorted(folder for folder in path.iterdir() if folder.is_dir())):
        found = [folder for folder in folders
                 if (folder / _STAMPS).exists() or _videos(folder)]
        if found:
            return found
    return []


def _parts(videos: list[Path], rows: int, metadata: dict[str, Any],
           warnings: list[str]) -> list[Part]:
    """
    Divide the time stamps between the video files.

    Every file but the last has as many as its header says, so that a file which lost its end, or
    is missing altogether, does not shift the times of those after it.
    """
    folder = videos[0].parent
    last = int(videos[-1].stem)
    said = [opencv_count(folder / f'{number}.avi') for number in range(last + 1)]
    if min(said) > 0 and sum(said) != rows:
        warnings.append(f'{folder}: {rows} time stamps for {sum(said)} frames')
    per_file = int(metadata.get('framesPerFile', _DEFAULT_FRAMES_PER_FILE))
    parts = []
    for number, count in enumerate(said):
        own = rows if number == last else min(rows, count if count > 0 else per_file)
        parts.append(Part(folder / f'{number}.avi', own))
        rows -= own
    return parts


def _device_counts(stamps: Table) -> NDArray[np.float64] | None:
    if not stamps.has(_COUNT):
        return None
    counts = stamps.column(_COUNT)
    return np.where(counts == _UNKNOWN_COUNT, math.nan, counts)


def _frame_rate(metadata: dict[str, Any]) -> float:
    """Return the set rate, recorded as "20FPS" or a number; NaN where there is none."""
    number = re.match(r'\d+(\.\d+)?', str(metadata.get('frameRate', '')))
    return float(number[0]) if number else math.nan


def _start_epoch_ns(metadata: dict[str, Any]) -> int | None:
    try:
        return int(metadata['recordingStartTime']['msecSinceEpoch']) * 1_000_000
    except (KeyError, TypeError, ValueError):
        return None


def _metadata(folder: Path, warnings: list[str]) -> dict[str, Any]:
    """Return a folder's metadata; empty, with a warning, where it cannot be read."""
    file = folder / _METADATA
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        warnings.append(f'{file} cannot be read: {error}')
        return {}
    return content if isinstance(content, dict) else {}
