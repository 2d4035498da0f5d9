# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Files of other recorders: which of them is read by what."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.edges import open_ephys
from miniscope_ros.recordings.edges.channel import Channel, choose, Times
import numpy as np

_READERS = {
    '.nwb': 'nwb', '.h5': 'nwb', '.rhd': 'intan', '.rhs': 'intan', '.meta': 'spikeglx',
    '.bin': 'spikeglx', '.npy': 'open_ephys', '.oebin': 'open_ephys'}
"""Modules by the suffix of a file; they are imported only when used. The rest is CSV."""


def read_edges(file: Path, channel: str = '') -> Times:
    """
    Return the edges that another recorder saw.

    Parameters
    ----------
    file
        A CSV, NWB, Intan or SpikeGLX file, or a file or folder of Open Ephys.
    channel
        The name of the channel; empty for the only one that has edges.

    Returns
    -------
    Times
        Times of both directions of the edges [s], rising.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or if the channel is not clear.
    ModuleNotFoundError
        If a library that reads the format is not installed.

    """
    try:
        times = choose(_channels(file), channel).read()
    except OSError as error:
        raise ConfigurationError(
            f'{error.filename or file} cannot be read: {error.strerror or error}') from error
    if not np.isfinite(times).all():
        raise ConfigurationError(f'{file.name}: a time is no number')
    backward = np.flatnonzero(np.diff(times) <= 0)
    if backward.size:
        raise ConfigurationError(
            f'{file.name}: times have to rise, and number {backward[0] + 2} does not; what is '
            'needed are the times of both directions of the edges, in seconds')
    return times


def _channels(file: Path) -> list[Channel]:
    file, name = _file(file) if file.is_dir() else (file, _READERS.get(file.suffix, 'table'))
    reader = import_module(f'miniscope_ros.recordings.edges.{name}')
    found: list[Channel] = reader.channels(file)
    return found


def _file(folder: Path) -> tuple[Path, str]:
    """Return what of a folder is to be read, and the module that reads it."""
    if open_ephys.is_recording(folder):
        return folder, 'open_ephys'
    suffixes = [path.suffix for path in folder.iterdir()]
    if '.rhd' in suffixes or '.rhs' in suffixes:
        return folder, 'intan'
    files = sorted(path for path in folder.iterdir() if path.suffix == '.meta')
    if len(files) == 1:
        return files[0], 'spikeglx'
    if files:
        raise ConfigurationError(f'{folder} holds several recordings; name one of '
                                 f'{", ".join(path.name for path in files)}')
    raise ConfigurationError(f'{folder} holds no recording of Open Ephys, Intan or SpikeGLX')
