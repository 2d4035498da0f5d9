# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
What a subscriber that dies at a bad moment leaves in the shared memory of Fast DDS 2.

A segment or a port is a file in /dev/shm; the process to which it belongs has a lock file of it
open. A mutex in such a file is a pthread_mutex_t. Its owner may die with it: nobody frees it then.
A port that a process has begun to make is a file of no bytes.
"""
from collections.abc import Iterator
import contextlib
import mmap
import os
from pathlib import Path
import re
import signal
import struct
import time

from dying_listeners import __file__ as listeners_file
from node_process import NodeProcess
import psutil
import shared_memory

_LOCK_FILE = '_el'
_PORT = re.compile(r'_port(\d+)')
_FIRST_OF_A_DOMAIN = 7400
"""Any program of the computer may be about to use a port below; domain 1 begins at 7650."""
_MUTEX = struct.Struct('<iIiIihh')  # lock, count, owner, users, kind, spins, elision
_SHARED = 128  # the kind: a plain mutex that processes share
_FREE = (0, 0, 0, 0, _SHARED, 0, 0)
_LINKS = bytes(16)  # follow; only robust mutexes use them
_LOOKS = 100
BEGUN = time.time() + 3600
"""The time of a file that a test's program is to take for one that is just being made."""
LISTENER = """
import sys
sys.path.insert(0, {folder!r})
from dying_listeners import subscribe
subscribe({scope!r})
"""


def listener(scope: str = '/miniscope') -> NodeProcess:
    """Return a subscriber in a process of its own; `heard` is in its output once it hears."""
    folder = str(Path(listeners_file).parent)
    return NodeProcess(python=('-c', LISTENER.format(folder=folder, scope=scope)))


def segments_of(pid: int) -> list[Path]:
    """Return the files from which a process sends."""
    return [file for file in _owned(pid) if '_port' not in file.name]


def ports_of(pid: int) -> list[Path]:
    """Return the files through which a process receives, those of its domain alone."""
    return [file for file in _owned(pid) if '_port' in file.name and is_of_a_domain(file.name)]


def is_of_a_domain(name: str) -> bool:
    """Return whether a file is not a port that programs of all domains use."""
    port = _PORT.search(name)
    return port is None or int(port[1]) >= _FIRST_OF_A_DOMAIN


def _owned(pid: int) -> list[Path]:
    names = {name for name in shared_memory.files_of(pid) if name.endswith(_LOCK_FILE)}
    return sorted(Path(name.removesuffix(_LOCK_FILE)) for name in names)


@contextlib.contextmanager
def paused(process: psutil.Process) -> Iterator[None]:
    """Let a process stand still meanwhile."""
    process.send_signal(signal.SIGSTOP)
    try:
        for thread in process.threads():
            _await_stop(process.pid, thread.id)
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def _await_stop(pid: int, thread: int) -> None:
    """Return when a thread stands still: each is stopped by itself."""
    while Path(f'/proc/{pid}/task/{thread}/stat').read_text().rpartition(')')[2].split()[0] != 'T':
        os.sched_yield()


def hold_mutexes(files: list[Path], users: list[int]) -> int:
    """
    Lock the mutexes in these files as a process does that dies before it frees them.

    users are the ids of processes that use the files; they stand still meanwhile. Returns how
    many mutexes were locked. One that a user holds at that moment is left alone, so it is looked
    again, until each file has one that is locked.
    """
    locked: dict[Path, int] = {}
    for _ in range(_LOOKS):
        with contextlib.ExitStack() as stack:
            for pid in users:
                stack.enter_context(paused(psutil.Process(pid)))
            for file in files:
                if not locked.get(file):
                    locked[file] = _hold(file)
        if all(locked.values()):
            break
    assert locked and all(locked.values()), locked
    return sum(locked.values())


def _hold(file: Path) -> int:
    """Lock each free mutex in the first pages of a file; return how many there are."""
    with file.open('r+b') as opened, mmap.mmap(
            opened.fileno(), min(os.fstat(opened.fileno()).st_size, 65536)) as memory:
        size = _MUTEX.size + len(_LINKS)
        places = [place for place in range(0, len(memory) - size, 8)
                  if _MUTEX.unpack_from(memory, place) == _FREE
                  and memory[place + _MUTEX.size:place + size] == _LINKS]
        for place in places:
            memory[place:place + 4] = (1).to_bytes(4, 'little')
        return len(places)


def leave_half_made(port: Path, *, begun: bool = False) -> None:
    """
    Put in place of a port what a process leaves that dies when it begins to make that port.

    begun lets it look as if it were begun this moment, however late somebody looks.
    """
    for name in (str(port), f'{port}{_LOCK_FILE}'):
        shared_memory.note_file(name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    port.touch()
    if begun:
        os.utime(port, (BEGUN, BEGUN))
