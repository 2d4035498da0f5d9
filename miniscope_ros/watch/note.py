# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The note of an open device: its type, for the program that has to make it dark afterwards.

One JSON file and one lock file a USB port, in a folder that only this user can enter. The node
writes the note before it opens the device and removes it when the light is known to be dark and
the device is closed. The lock says who has the device now; the kernel frees it when its holder
ends, however that happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
import fcntl
import json
import os
from pathlib import Path
import re
import stat
import tempfile
import time

from miniscope_ros.errors import DeviceError

NODE, LIGHTS_OFF = 'node', 'lights_off'
"""Who may hold the lock of a device."""

_LARGEST = 65536  # [bytes]; a note has some hundred
_LOOK_AGAIN_S = 0.05
_PRIVATE = 0o700


@dataclass(frozen=True)
class Note:
    """What was opened, and by which process."""

    pid: int
    usb_port: str  # as 2-1.3
    path: str  # as /dev/video0, when it was opened
    device_type: str
    device_catalog: str  # a file, absolute; empty: the package's catalogue alone


@dataclass(frozen=True)
class Holder:
    """The process that has a device."""

    role: str  # NODE or LIGHTS_OFF
    pid: int

    def __str__(self) -> str:
        """Return it in words, as messages of a busy device have it."""
        name = 'scope_node' if self.role == NODE else self.role
        return f'{name} (process {self.pid})'


class DeviceHeld(DeviceError):
    """Another program of ours has the device."""

    def __init__(self, path: str, holder: Holder) -> None:
        super().__init__(f'{path} is in use by {holder}: end that program, then try again')
        self.holder = holder


def folder() -> Path:
    """Return where the notes are; it need not exist."""
    runtime = os.environ.get('XDG_RUNTIME_DIR')
    if runtime and os.path.isdir(runtime):
        return Path(runtime, 'miniscope_ros')
    return Path(tempfile.gettempdir(), f'miniscope_ros-{os.geteuid()}')


def read_note(usb_port: str) -> Note | None:
    """Return the note of a USB port; None where there is none that can be trusted and read."""
    with suppress(OSError), open_folder(create=False) as directory:
        return _read(directory, usb_port)
    return None


def notes() -> list[Note]:
    """Return all notes of this user."""
    with suppress(OSError), open_folder(create=False) as directory:
        ports = [name.removesuffix('.json') for name in os.listdir(directory)
                 if name.endswith('.json')]
        return [note for port in sorted(ports) if (note := _read(directory, port))]
    return []


def note_of_process(pid: int) -> Note | None:
    """Return the note that a process has left, or None."""
    return next((note for note in notes() if note.pid == pid), None)


class DeviceLock:
    """The right to open the device at a USB port, and its note."""

    def __init__(
        self, usb_port: str, path: str, role: str, patience_s: float = 0.0,
        gives_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Take the lock; DeviceHeld if another program has it.

        lights_off frees it in seconds, so a node waits for that as long as patience_s, or until
        gives_up returns True. A node's lock is not waited for. Raises OSError where no folder of
        this user's own can be had; the device can be used all the same then.
        """
        self._usb_port = usb_port
        with open_folder(create=True) as directory:
            self._descriptor = os.open(
                f'{_file_name(usb_port)}.lock',
                os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            self._take(path, time.monotonic() + patience_s, gives_up)
            os.truncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f'{role} {os.getpid()}'.encode(), 0)
            self._before = read_note(usb_port)  # left by a program that died
        except BaseException:
            os.close(self._descriptor)
            raise

    def _take(self, path: str, deadline: float, gives_up: Callable[[], bool]) -> None:
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                holder = self._holder()
                late = time.monotonic() > deadline or gives_up()
                if holder.role == NODE or late:
                    raise DeviceHeld(path, holder) from None
                time.sleep(_LOOK_AGAIN_S)

    def _holder(self) -> Holder:
        role, _, pid = os.pread(self._descriptor, 64, 0).decode(errors='replace').partition(' ')
        return Holder(role or LIGHTS_OFF, int(pid) if pid.isdecimal() else 0)

    def write(self, note: Note) -> None:
        """Leave a note in place of an older one."""
        name = f'{_file_name(self._usb_port)}.json'
        with open_folder(create=True) as directory:
            write_private_file(directory, name, json.dumps(asdict(note)))

    def remove_note(self, *, restore: bool = False) -> None:
        """
        Remove the note: the light is known to be dark.

        restore puts back the note that was there when the lock was taken, if there was one.
        """
        if restore and self._before is not None:
            self.write(self._before)
            return
        with suppress(OSError), open_folder(create=False) as directory:
            os.unlink(f'{_file_name(self._usb_port)}.json', dir_fd=directory)

    def release(self) -> None:
        """Let others have the device."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _file_name(usb_port: str) -> str:
    return re.sub(r'[^A-Za-z0-9.-]', '_', usb_port).lstrip('.') or 'unknown'


@contextmanager
def open_folder(*, create: bool) -> Iterator[int]:
    """Yield a descriptor of the folder; OSError unless it is this user's and closed to others."""
    path = folder()
    if create:
        with suppress(FileExistsError):
            os.mkdir(path, _PRIVATE)
    # No link that somebody else has put there is followed.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise PermissionError(f'{path} belongs to another user or is open to others')
        yield descriptor
    finally:
        os.close(descriptor)


def write_private_file(directory: int, name: str, text: str) -> None:
    """Write a file in place of an older one, all of it or nothing; directory is a descriptor."""
    fresh = f'{name}.{os.getpid()}'
    with suppress(FileNotFoundError):
        os.unlink(fresh, dir_fd=directory)
    descriptor = os.open(
        fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
        0o600, dir_fd=directory)
    with os.fdopen(descriptor, 'w', encoding='utf-8') as file:
        file.write(text)
    os.replace(fresh, name, src_dir_fd=directory, dst_dir_fd=directory)


def read_private_file(directory: int, name: str, largest: int = _LARGEST) -> bytes | None:
    """
    Return what a file of this user holds, None if it is no such file; may raise OSError.

    No more than the largest number of bytes are read; -1 is no limit.
    """
    descriptor = os.open(
        name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    with os.fdopen(descriptor, 'rb') as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return None
        return file.read(largest)


def _read(directory: int, usb_port: str) -> Note | None:
    try:
        content = read_private_file(directory, f'{_file_name(usb_port)}.json')
        if content is None:
            return None
        values = json.loads(content)
        note = Note(**{field.name: values[field.name] for field in fields(Note)})
        texts = (note.usb_port, note.path, note.device_type, note.device_catalog)
        if isinstance(note.pid, int) and all(isinstance(text, str) for text in texts):
            return note
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    return None
