# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""certificate.json in a bag's folder: what was published and recorded, and proof of the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
import hashlib
import json
import os
from pathlib import Path
import re
from typing import Any

from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.bag.mcap import read_mcap
from miniscope_ros.recordings.bag.message import FileCheck, Incomplete, Topic
from miniscope_ros.recordings.frame_index import (
    FRAME_INFO,
    FrameRuns,
    index_and_stamp,
    ORIENTATION_ROW,
)
from miniscope_ros.regular import check_regular, read_text

NAME = 'certificate.json'
FORMAT = 1
_BLOCK = 1 << 20  # bytes
_LARGEST = 1 << 28  # bytes; a certificate has a few kB and 100 bytes for each file
_HEAD = 1024  # bytes of a message in which frame_index stands
_NUMBER_LAST = re.compile(r'.*_(\d+)\.mcap')
_NUMBER_FIRST = re.compile(r'(\d+)_.*_\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d\.mcap')
"""As newer rosbag2 names its files: 3_NAME_2026_11_26-05_04_31.mcap."""


class Contents:
    """What the mcap files of a folder really hold."""

    def __init__(self, folder: Path) -> None:
        """Read all of them, images skipped; DeviceError where a file cannot be read."""
        self.counts: Counter[str] = Counter()
        self.types: dict[str, str] = {}
        self.runs: dict[str, FrameRuns] = {}
        self.problems: list[str] = []
        for file in mcap_files(folder):
            try:
                self._read(file)
            except Incomplete as error:
                self.problems.append(f'{file.name} {error}')
            except OSError as error:
                raise DeviceError(f'{file} cannot be read: {error.strerror}') from error

    def _read(self, file: Path) -> None:
        with file.open('rb', buffering=8192) as stream:
            for message in read_mcap(stream, file.stat().st_size, _wanted, FileCheck()):
                topic = message.topic
                self.counts[topic.name] += 1
                self.types[topic.name] = topic.msgtype
                if topic.msgtype in (FRAME_INFO, ORIENTATION_ROW):
                    self.runs.setdefault(topic.name, FrameRuns()).add(
                        *index_and_stamp(message.data))


def _wanted(topic: Topic) -> int:
    return _HEAD if topic.msgtype in (FRAME_INFO, ORIENTATION_ROW) else 4


def mcap_files(folder: Path) -> list[Path]:
    """Return the mcap files of a bag in the order of their numbers: name_10 after name_9."""
    def number(file: Path) -> tuple[int, str]:
        match = _NUMBER_FIRST.fullmatch(file.name) or _NUMBER_LAST.fullmatch(file.name)
        return int(match[1]) if match else 0, file.name

    return sorted(folder.glob('*.mcap'), key=number)


def write(folder: Path, content: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """
    Write the certificate of all files in a folder; OSError.

    known has the SHA-256 of files that need not be read for it.
    """
    files = {}
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.name != NAME:
            files[file.name] = {
                'bytes': file.stat().st_size, 'sha256': known.get(file.name) or sha256(file)}
    path = folder / NAME
    partial = path.with_suffix('.json.tmp')
    with partial.open('w', encoding='utf-8') as stream:
        json.dump({'format': FORMAT, **content, 'files': files}, stream, indent=1)
        stream.write('\n')
        stream.flush()
        os.fsync(stream.fileno())
    partial.rename(path)


def sha256(file: Path) -> str:
    """Return the checksum of a file; OSError."""
    digest = hashlib.sha256()
    check_regular(file)
    with file.open('rb') as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read(bag: Path) -> dict[str, Any]:
    """Return the certificate of a bag's folder; DeviceError where there is none to be read."""
    path = (bag if bag.is_dir() else bag.parent) / NAME
    try:
        content = json.loads(read_text(path, _LARGEST))
    except FileNotFoundError as error:
        raise DeviceError(
            f'{path} is missing: the recording was cut off before its end, or was not made by '
            'session_node or record_scope; export_bag --check says what the bag holds') from error
    except (OSError, ValueError, RecursionError) as error:
        raise DeviceError(f'{path} cannot be read: {error}') from error
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise DeviceError(f'{path} is of another version of this program')
    return content


def verify(bag: Path) -> list[str]:
    """
    Return what is wrong with a bag by its certificate; empty: it is as it was recorded.

    Reads every byte of it. DeviceError where there is no certificate.
    """
    folder = bag if bag.is_dir() else bag.parent
    certificate = read(bag)
    problems = []
    if certificate.get('verdict') != 'complete':
        problems.append(f'the recording ended as {certificate.get("verdict")}: '
                        f'{certificate.get("reason")}')
    problems += _file_problems(folder, certificate.get('files', {}))
    contents = Contents(folder)
    problems += contents.problems
    for name, topic in certificate.get('topics', {}).items():
        if contents.counts[name] != topic['recorded']:
            problems.append(f'{name}: the bag holds {contents.counts[name]} messages, the '
                            f'certificate says {topic["recorded"]}')
        runs = contents.runs[name].as_list() if name in contents.runs else []
        if topic.get('runs') is not None and runs != topic['runs']:
            problems.append(f'{name}: the bag holds the frames {as_text(runs)}, the certificate '
                            f'says {as_text(topic["runs"])}')
    problems += [f'{name} is not in the certificate' for name in contents.counts
                 if name not in certificate.get('topics', {})]
    return problems


def _file_problems(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    problems = []
    for name, known in files.items():
        file = folder / name
        if not file.is_file():
            problems.append(f'{name} is missing')
        elif file.stat().st_size != known['bytes']:
            problems.append(f'{name} has {file.stat().st_size} bytes, not {known["bytes"]}')
        elif sha256(file) != known['sha256']:
            problems.append(f'{name} was changed since it was recorded')
    problems += [f'{file.name} was added' for file in mcap_files(folder)
                 if file.name not in files]
    return problems


def as_text(runs: Sequence[Sequence[int]]) -> str:
    """Return first, last and number of frames as words."""
    return ', '.join(f'{first}..{last} ({count})' for first, last, count in runs) or 'none'
