# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
TTL events in a recording of the Open Ephys GUI in its binary format.

Since 0.6 states.npy has the line of each event (negative: it fell), sample_numbers.npy its sample
and timestamps.npy its time [s]. Before, the first was channel_states.npy, and timestamps.npy had
the samples. Source: open-ephys.github.io/gui-docs, "Binary format".
"""

from __future__ import annotations

from collections.abc import Mapping
import json
import math
from pathlib import Path
from typing import Any

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.edges.channel import Channel, Times
from miniscope_ros.regular import check_regular, read_text
import numpy as np
from numpy.typing import NDArray

STRUCTURE = 'structure.oebin'
_STATES = ('states.npy', 'channel_states.npy')
_LARGEST_FILE = 1 << 30  # bytes
_LARGEST_STRUCTURE = 1 << 24  # bytes
_DEEPEST = 4  # folders below one of a recording: Record Node, experiment, recording


def channels(file: Path) -> list[Channel]:
    """
    Return a channel for each line that has an event.

    Parameters
    ----------
    file
        A folder of TTL events, a file in it, a recording's folder or its structure.oebin.

    """
    folders = _event_folders(file)
    found = []
    for folder in folders:
        states = _load(next(folder / name for name in _STATES if (folder / name).exists()))
        times = _times(folder)
        if states.shape != times.shape:
            raise ConfigurationError(f'{folder.name} is damaged: it has {len(states)} states and '
                                     f'{len(times)} times')
        lines = np.abs(states.astype(np.int64))
        prefix = f'{folder.parent.name}/{folder.name}/' if len(folders) > 1 else ''
        found += [Channel(f'{prefix}{line}', times[lines == line].copy)
                  for line in np.unique(lines).tolist()]
    if not found:
        raise ConfigurationError('it holds no TTL event')
    return found


def is_recording(folder: Path) -> bool:
    """Return whether a folder is one of TTL events, or holds a recording."""
    return _has_states(folder) or bool(_structures(folder))


def _event_folders(file: Path) -> list[Path]:
    folder = file if file.is_dir() else file.parent
    if _has_states(folder):
        return [folder]
    structures = _structures(folder)
    if len(structures) != 1:
        names = ', '.join(str(path.parent) for path in structures) or 'none'
        raise ConfigurationError(f'name one recording, the folder of a {STRUCTURE}: {names}')
    events = structures[0].parent / 'events'
    found = sorted({path.parent for name in _STATES for path in events.glob(f'*/*/{name}')})
    if not found:
        raise ConfigurationError(f'{structures[0].parent.name} holds no folder of TTL events')
    return found


def _has_states(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _STATES)


def _structures(folder: Path) -> list[Path]:
    for depth in range(_DEEPEST):
        if found := sorted(folder.glob('*/' * depth + STRUCTURE)):
            return found
    return []


def _times(folder: Path) -> Times:
    """Return the times of a folder's events [s]; by their samples where no clock has them."""
    times = _load(folder / 'timestamps.npy')
    if times.dtype.kind == 'f' and len(times) and np.isfinite(times).all() and times[0] >= 0:
        return times.astype(np.float64)
    if times.dtype.kind == 'f':
        times = _load(folder / 'sample_numbers.npy')
    return times / _rate_hz(folder)


def _load(file: Path) -> NDArray[Any]:
    """Return the numbers in a .npy file, one-dimensional."""
    if check_regular(file) > _LARGEST_FILE:
        raise ConfigurationError(f'{file} is too large for a list of events')
    try:
        values = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ConfigurationError(f'{file.name} is damaged or truncated: {error}') from error
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in 'iuf':
        raise ConfigurationError(f'{file.name} is no list of numbers')
    return values


def _rate_hz(folder: Path) -> float:
    """Return the sample rate of a folder's stream, as structure.oebin has it."""
    file = folder.parents[2] / STRUCTURE
    name = f'{folder.parent.name}/{folder.name}'
    try:
        content = json.loads(read_text(file, _LARGEST_STRUCTURE))
        for stream in content['events']:
            if isinstance(stream, Mapping) and str(stream['folder_name']).strip('/') == name:
                rate_hz = float(stream['sample_rate'])
                if math.isfinite(rate_hz) and rate_hz > 0:
                    return rate_hz
    except FileNotFoundError as error:
        raise ConfigurationError(f'the times of {name} are sample numbers, and their rate is in '
                                 f'{file}, which is not there') from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigurationError(f'{file} is damaged: {error}') from error
    raise ConfigurationError(f'{file} has no sample rate of {name}')
