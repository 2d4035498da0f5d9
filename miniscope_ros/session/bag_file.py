# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A file that is written to its last byte or raises, and that knows its own checksum."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from threading import Lock


class BagFile:
    """
    A new file without a buffer of its own.

    What was written stays after the process is killed, and an error of the disk is raised by the
    very write that it belongs to. A short write, which some libraries ignore, is continued.
    """

    def __init__(self, path: Path) -> None:
        """Create the file. Raises OSError, also where it exists already."""
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._position = 0
        self._hash = hashlib.sha256()
        self._closing = Lock()
        self._open = True

    def write(self, data: bytes) -> int:
        """Write all of data. Raises OSError where the disk does not take it."""
        left = memoryview(data)
        while left:
            written = os.write(self._descriptor, left)
            self._hash.update(left[:written])
            self._position += written
            left = left[written:]
        return len(data)

    def tell(self) -> int:
        """Return how many bytes have been written."""
        return self._position

    def flush(self) -> None:
        """Do nothing: there is no buffer. For the library that writes here."""

    def cut(self, position: int) -> None:
        """Cut the file at a position [bytes], and compute its checksum again."""
        os.ftruncate(self._descriptor, position)
        os.lseek(self._descriptor, position, os.SEEK_SET)
        self._position = position
        self._hash = hashlib.sha256()
        place = 0
        while place < position:
            part = os.pread(self._descriptor, min(1 << 20, position - place), place)
            if not part:
                break
            self._hash.update(part)
            place += len(part)

    def check(self) -> None:
        """Raise OSError if the file has been deleted, or if its folder takes no new files."""
        if not os.fstat(self._descriptor).st_nlink:
            raise FileNotFoundError(2, 'the file was deleted while it was being recorded',
                                    str(self.path))
        if not os.access(self.path.parent, os.W_OK):
            raise PermissionError(13, 'the folder has become read-only', str(self.path.parent))

    def sync(self) -> None:
        """
        Write the system's cache to the disk. Raises OSError, also for an earlier write.

        May be called in another thread than the one that writes and closes.
        """
        with self._closing:
            if not self._open:
                return
            own = os.dup(self._descriptor)
        try:
            os.fdatasync(own)
        finally:
            os.close(own)

    def close(self) -> None:
        """Close the file. Raises OSError."""
        with self._closing:
            self._open = False
            os.close(self._descriptor)

    @property
    def sha256(self) -> str:
        """Return the checksum of all that was written."""
        return self._hash.hexdigest()
