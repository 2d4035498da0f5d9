# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The formats that can be played; a format is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
from typing import NamedTuple

from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.bag import recording as bag
from miniscope_ros.recordings.readers import miniscope_daq, pomidaq, syntalos
from miniscope_ros.recordings.recording import Recording


class Format(NamedTuple):
    """One format."""

    description: str
    recognise: Callable[[Path], bool]  # by the content
    read: Callable[[Path], Recording]


FORMATS = (
    Format('a Syntalos folder (manifest.toml)', syntalos.recognise, syntalos.read),
    Format('a Miniscope-DAQ folder (0.avi, timeStamps.csv)',
           miniscope_daq.recognise, miniscope_daq.read),
    Format('a PoMiDAQ video or its folder (NAME.mkv, NAME_timestamps.csv)',
           pomidaq.recognise, pomidaq.read),
    Format('a rosbag2 recording of this driver', bag.recognise, bag.read),
)


def open_recording(path: str) -> Recording:
    """Open a recording, its format recognised by its content; DeviceError if that cannot be."""
    expected = 'expected ' + ', or '.join(known.description for known in FORMATS)
    if not path:
        raise DeviceError(f'no recording is named; {expected}')
    place = Path(os.path.abspath(os.path.expanduser(path)))
    try:
        for known in FORMATS:
            if known.recognise(place):
                return known.read(place)
        if not place.exists():
            raise DeviceError(f'{place} does not exist; {expected}')
        empty = place.is_dir() and not any(place.iterdir())
    except OSError as error:
        raise DeviceError(f'{place} cannot be read: {error}') from error
    raise DeviceError(f'{place} {"is an empty folder" if empty else "is no known recording"}; '
                      f'{expected}')
