# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A file read in small pieces far from each other, as headers between images are."""

from __future__ import annotations

from io import FileIO
import os
from typing import BinaryIO

_WINDOW = 4096  # bytes, a page: what stands between two images


class Windowed:
    """
    A file that is read where it is asked for, without a call to the system for each step.

    Python's own buffered files ask the system for the place at each seek() and tell(), which
    costs more than the reading: of 8 hours of images a check reads two headers a frame.
    """

    def __init__(self, file: BinaryIO | FileIO) -> None:
        """Read a file from its start."""
        self._number = file.fileno()
        self._place = 0
        self._window = b''
        self._start = 0  # place of the window

    def read(self, size: int) -> bytes:
        """Return so many bytes, fewer at the end of the file."""
        begin = self._place - self._start
        data = self._window[begin:begin + size] if begin >= 0 else b''
        if len(data) < size:
            data = self._fill(size)
        self._place += len(data)
        return data

    def _fill(self, size: int) -> bytes:
        if size > _WINDOW:
            parts = []
            at = self._place
            while size and (part := os.pread(self._number, size, at)):
                parts.append(part)
                at += len(part)
                size -= len(part)
            return b''.join(parts)
        self._start = self._place
        self._window = os.pread(self._number, _WINDOW, self._place)
        return self._window[:size]

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, counted from the start or from here; return it."""
        self._place = place + (self._place if whence else 0)
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place
