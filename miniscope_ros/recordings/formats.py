# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The formats that can be played; a format is one file and one line here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
import os
from pathlib import Path
from typing import NamedTuple

from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.bag import recording as bag
from miniscope_ros.recordings.readers import miniscope_daq, pomidaq, syntalos
from miniscope_ros.recordings.recording import Recording

_SEARCH_DEPTH = 4  # Miniscope-DAQ: experiment/animal/date/time/device
_SEARCH_FOLDERS = 2000
_NAMED = 8  # recordings in a message


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
        found = _formats(place)
        if found:
            _check_alone(place, found)
            recording = found[0].read(place)
            recording.warnings += _left_out(place, found)
            return recording
        if not place.exists():
            raise DeviceError(f'{_missing(place)}; {expected}')
        empty = place.is_dir() and not any(place.iterdir())
        below = list(_below(place)) if place.is_dir() else []
    except OSError as error:
        raise DeviceError(f'{place} cannot be read: {error}') from error
    if below:
        raise DeviceError(f'{place} is above {_several(below)}; name one of them')
    raise DeviceError(f'{place} {"is an empty folder" if empty else "is no known recording"}; '
                      f'{expected}')


def _formats(place: Path) -> list[Format]:
    """Return the formats of which a path is a recording; a folder above one only if it is none."""
    found = [known for known in FORMATS if known.recognise(place)]
    itself = [known for known in found if not _is_above(place, known)]
    return itself or found


def _is_above(place: Path, known: Format) -> bool:
    """Return whether a folder is recognised by the folders of devices in it."""
    return known.recognise is miniscope_daq.recognise and not miniscope_daq.holds_recording(place)


def _check_alone(place: Path, found: list[Format]) -> None:
    """Raise DeviceError for a folder above a device's and above recordings of other programs."""
    if not _is_above(place, found[0]):
        return
    devices = miniscope_daq.device_folders(place)
    others = [child for child in sorted(place.iterdir()) if child not in devices
              and child.is_dir() and any(known.recognise(child) for known in FORMATS)]
    if others:
        raise DeviceError(f'{place} is above {_several([*devices, *others])}; name one of them')


def _left_out(place: Path, found: list[Format]) -> list[str]:
    """Return what of a folder is not played, besides the recording that was named."""
    texts = [f'{place} holds {other.description}, too, which is not played' for other in found[1:]]
    # A Syntalos folder has all that it recorded in folders below.
    whole = found[0].recognise is syntalos.recognise or _is_above(place, found[0])
    below = [] if whole or not place.is_dir() else list(_below(place, depth=1))
    if below:
        texts.append(f'what is below {place} is not played: {_several(below)}; name it to play it')
    return texts


def _missing(place: Path) -> str:
    """Say how much of a path exists."""
    parent = next(folder for folder in place.parents if folder.exists())
    text = f'{place} does not exist'
    if parent != place.parent:
        return f'{text}: there is {parent}, but no {place.relative_to(parent).parts[0]} in it'
    below = list(_below(parent, depth=1))
    return f'{text}; beside it there is {_several(below)}' if below else text


def _several(recordings: list[Path]) -> str:
    names = ', '.join(map(str, recordings[:_NAMED]))
    return f'{names}{", .." if len(recordings) > _NAMED else ""}'


def _below(folder: Path, depth: int = _SEARCH_DEPTH) -> Iterator[Path]:
    """Yield the recordings in folders below one, as far as a search of a moment finds them."""
    waiting = deque([(folder, 0)])
    for _ in range(_SEARCH_FOLDERS):
        if not waiting:
            return
        place, level = waiting.popleft()
        try:
            if level and any(known.recognise(place) for known in FORMATS):
                yield place
            elif level < depth:
                waiting.extend((child, level + 1) for child in sorted(place.iterdir())
                               if child.is_dir() and not child.is_symlink())
        except OSError:
            continue
