# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Files that can be read to their end.

A folder may hold anything under a name that is read: a named pipe, on which opening
waits for ever, a link to an endless device, a text of many gigabytes.
"""

from __future__ import annotations

import os
from pathlib import Path
import stat

_KINDS = {stat.S_IFIFO: 'a named pipe', stat.S_IFSOCK: 'a socket', stat.S_IFCHR: 'a device',
          stat.S_IFBLK: 'a device', stat.S_IFDIR: 'a directory'}


def check_regular(path: Path) -> int:
    """Return a file's size [bytes]; OSError where it is none that has an end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), 'no file')
        raise OSError(0, f'it is {kind}, not a file', os.fspath(path))
    return status.st_size


def read_text(path: Path, largest: int) -> str:
    """Return a small text file; see read_bytes. Bytes that are no UTF-8 are replaced."""
    return read_bytes(path, largest).decode('utf-8-sig', errors='replace')


def read_bytes(path: Path, largest: int) -> bytes:
    """
    Return the content of a small file.

    Raises FileNotFoundError, and OSError where it is no file or has more than largest bytes.
    """
    size = check_regular(path)
    if size > largest:
        raise OSError(0, f'it has {size} bytes, where at most {largest} are expected',
                      os.fspath(path))
    with path.open('rb') as file:
        return file.read(largest)
