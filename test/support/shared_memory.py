# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The files that Fast DDS keeps in shared memory, of processes that the tests kill.

A process that is killed leaves its segment (64 MB with our profile) and its ports in /dev/shm.
Later processes stumble over a port that is left. So the files of a process are noted before it is
killed, and removed when nobody alive has them open. Files of other processes are never touched.
"""
from collections.abc import Iterator
import contextlib
import os
from pathlib import Path
import re

FOLDER = '/dev/shm/'
NAMES = re.compile(rf'{FOLDER}(sem\.)?fast(rtps|dds)_\w+$')

_noted: set[str] = set()


def note(pid: int) -> None:
    """Note the files of a process that is about to be killed; to be called while it lives."""
    _noted.update(files_of(pid))


def note_file(path: str) -> None:
    """Note a file that a test makes in place of one of a process."""
    _noted.add(path)


def remove_noted(*, at_end: bool = False) -> None:
    """
    Remove the noted segments that no living process has open; at the end the ports, too.

    A segment's name is never used again. A port has a number, and a process that starts this
    moment may be about to use what is left of it. So ports are removed at the end of the tests,
    when no other process of theirs runs and this one needs nothing any more.
    """
    if not _noted:
        return
    pids = {int(name) for name in os.listdir('/proc') if name.isdecimal()}
    if at_end:
        pids.remove(os.getpid())
    in_use = {file for pid in pids for file in files_of(pid)}
    for file in _noted - in_use:
        if at_end or '_port' not in file:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file)
            _noted.discard(file)
    if at_end:
        _noted.clear()


def files_of(pid: int, *, deleted: bool = False) -> Iterator[str]:
    """
    Yield the files that a process has mapped or open; none if it has ended.

    With deleted, those are among them that somebody has removed under the process.
    """
    for path in _paths_of(pid):
        if deleted:
            path = path.removesuffix(' (deleted)')  # as the kernel marks them
        if NAMES.match(path):
            yield path


def _paths_of(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for line in Path(f'/proc/{pid}/maps').read_text(errors='replace').splitlines():
            if FOLDER in line:
                yield line[line.index(FOLDER):]
        for descriptor in os.listdir(f'/proc/{pid}/fd'):
            with contextlib.suppress(OSError):
                yield os.readlink(f'/proc/{pid}/fd/{descriptor}')
