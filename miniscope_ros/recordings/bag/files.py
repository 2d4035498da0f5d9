# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Which files of a folder are one rosbag2 recording, and in which order."""

from __future__ import annotations

import os
from pathlib import Path
import re
from typing import NamedTuple

from miniscope_ros.errors import DeviceError
from miniscope_ros.regular import read_text
from miniscope_ros.yaml_text import read_yaml

SUFFIXES = ('.mcap', '.db3', '.mcap.zstd', '.db3.zstd')
METADATA = 'metadata.yaml'

# As rosbag2 names the files of a split recording since ros2/rosbag2#2265, and before.
# It writes no zeros before a number; more digits are those of a date.
_NUMBER = r'(?P<number>0|[1-9]\d{0,4})'
_NEW_NAME = re.compile(rf'{_NUMBER}_(?P<base>.+)_\d{{4}}(_\d\d){{2}}-\d\d(_\d\d){{2}}')
_OLD_NAME = re.compile(rf'(?P<base>.+)_{_NUMBER}')
_NAMED = 8  # recordings in a message
_SEARCH_DEPTH = 4  # folders below the named one
_SEARCH_FOLDERS = 2000  # in each depth
_LARGEST_METADATA = 1 << 24  # bytes; the metadata of a thousand files have some 200 kB


class BagFiles(NamedTuple):
    """The files of one recording in their order, and what is wrong with them."""

    files: list[Path]
    problems: list[str]


def is_bag(path: Path) -> bool:
    """Return whether it is a file, a folder, or the base name of files of rosbag2."""
    if path.is_file():
        return path.name.endswith(SUFFIXES)
    if path.is_dir():
        return (path / METADATA).is_file() or bool(_present(path))
    return path.parent.is_dir() and path.name in _groups(_present(path.parent))


def find_files(path: Path) -> BagFiles:
    """
    Return the files of the recording that is named by a folder, a file or a base name.

    A base name is that of files in a folder: /data/mouse7 for /data/mouse7_0.mcap, .. Raises
    DeviceError where there is none or the folder holds several.
    """
    problems: list[str] = []
    if path.is_file():
        return BagFiles([path], problems)
    try:
        if not path.exists() and path.parent.is_dir():
            named = _groups(_present(path.parent)).get(path.name)
            if named:
                named = _once([], named, problems)
                return BagFiles(named, [*problems, *_gaps(named), _NO_METADATA])
        present = _present(path)
    except OSError as error:
        raise DeviceError(f'{path} cannot be read: {error.strerror}; name the folder '
                          'that ros2 bag record made') from error
    listed = _listed(path, problems)
    problems += [f'{file.name} is missing' for file in listed if file not in present]
    files = [file for file in listed if file in present]
    rest = [file for file in present if file not in files]
    files += _unlisted(path, files, rest, problems)
    if not files:
        below = [str(folder) for folder in _below(path)]
        hint = f'; recordings are below it, name one of: {", ".join(below[:_NAMED])}'
        raise DeviceError(f'{path} is no rosbag2 recording: it holds no '
                          f'{" or ".join(SUFFIXES[:2])} file{hint if below else ""}')
    return BagFiles(files, problems)


def _below(folder: Path) -> list[Path]:
    """Return the recordings below a folder: in one for each animal, day and time, for instance."""
    found = []
    level = [folder]
    for _ in range(_SEARCH_DEPTH):
        inner = [child for place in level for child in _folders(place)][:_SEARCH_FOLDERS]
        found += [child for child in inner if is_bag(child)]
        level = [child for child in inner if child not in found]
    return sorted(found)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir()
                      if child.is_dir() and not child.is_symlink() and os.access(child, os.R_OK))
    except OSError:
        return []


_NO_METADATA = f'{METADATA} is missing: the recorder did not end properly'


def _present(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.name.endswith(SUFFIXES))


def _listed(folder: Path, problems: list[str]) -> list[Path]:
    """Return the files that the metadata list, in that order."""
    try:
        content = read_yaml(read_text(folder / METADATA, _LARGEST_METADATA))
        names = content['rosbag2_bagfile_information']['relative_file_paths']
        return [folder / Path(name).name for name in names]
    except FileNotFoundError:
        problems.append(_NO_METADATA)
    except (OSError, KeyError, TypeError, ValueError):
        problems.append(f'{METADATA} is damaged')
    return []


def _unlisted(folder: Path, listed: list[Path], rest: list[Path], problems: list[str],
              ) -> list[Path]:
    """Return what belongs to the recording of the rest of a folder's files, in order."""
    groups = _groups(rest)
    bases = {base for base, files in groups.items()}
    known = {_base_and_number(file)[0] for file in listed} or {folder.name} & bases
    if not known and len(groups) == 1:
        known = bases
    if not known and groups:
        names = ', '.join(str(folder / base) for base in groups)
        raise DeviceError(f'{folder} holds files of several recordings; name one of: {names}')
    problems += [f'{base} is another recording in the same folder and is not read; name it as '
                 f'{folder / base}' for base in groups if base not in known]
    files = _once(listed, [file for base in groups if base in known for file in groups[base]],
                  problems)
    problems += _gaps([*listed, *files])
    return files


def _once(listed: list[Path], files: list[Path], problems: list[str]) -> list[Path]:
    """
    Return the files without those that are in the recording in another form; report these.

    A recorder that is killed while it compresses a file leaves the whole one and a part of the
    compressed one.
    """
    taken = {_base_and_number(file): file for file in listed}
    once = []
    for file in files:
        first = taken.setdefault(_base_and_number(file), file)
        if first is file:
            once.append(file)
        else:
            problems.append(f'{file.name} is not read: {first.name} has the same name and number')
    return once


def _groups(files: list[Path]) -> dict[str, list[Path]]:
    """Return the files by their base name, each group in the order of its counter."""
    groups: dict[str, list[Path]] = {}
    for file in sorted(files, key=lambda file: (*_base_and_number(file), file.name)):
        groups.setdefault(_base_and_number(file)[0], []).append(file)
    return groups


def _base_and_number(file: Path) -> tuple[str, int]:
    """Return the recording's name and the counter of a file; -1 where it has none."""
    stem = file.name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        stem = stem.removesuffix(suffix)
    match = _NEW_NAME.fullmatch(stem) or _OLD_NAME.fullmatch(stem)
    return (match['base'], int(match['number'])) if match else (stem, -1)


def _gaps(files: list[Path]) -> list[str]:
    """Return a complaint where the counters of the files leave one out."""
    numbers = {number for _, number in map(_base_and_number, files) if number >= 0}
    if not numbers:
        return []
    missing = max(numbers) + 1 - len(numbers)
    base = _base_and_number(files[0])[0]
    return [f'{missing} of {max(numbers) + 1} files of {base} are missing'] if missing else []
