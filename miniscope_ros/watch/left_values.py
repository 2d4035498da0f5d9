# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The parameters that were set while a node ran, left for the node that takes its place.

A node that is killed has no time to say what the user had set. So each value that is taken is
written to a file in the folder of the notes, one file a process. The launch file reads it when it
starts the node again. A node that ends in order removes its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
import json
import logging
import os
from typing import Any

from miniscope_ros.watch.note import open_folder, read_private_file, write_private_file

_log = logging.getLogger(__name__)


class LeftValues:
    """The file of this process."""

    def __init__(self) -> None:
        """Remove what an earlier process with the same number has left."""
        self._values: dict[str, Any] = {}
        self._may_write = True
        self.remove()

    def add(self, values: Mapping[str, Any]) -> None:
        """Write values that were set, by parameter name, beside those set before."""
        self._values |= values
        if not self._may_write:
            return
        try:
            with open_folder(create=True) as directory:
                write_private_file(directory, _file_name(os.getpid()), json.dumps(self._values))
        except (OSError, ValueError, TypeError) as error:
            self._may_write = False
            _log.warning('a node that is started again after a crash will not have the values '
                         'that were set: %s', error)

    def remove(self) -> None:
        """Remove the file: nobody is to go on with these values."""
        _remove(os.getpid())


def take_left_values(pid: int) -> dict[str, Any]:
    """Return the values that a process has left, by parameter name, and remove its file."""
    values: object = None
    with suppress(OSError, ValueError, RecursionError), open_folder(create=False) as directory:
        content = read_private_file(directory, _file_name(pid), largest=-1)
        values = json.loads(content) if content is not None else None
    _remove(pid)
    return values if isinstance(values, dict) else {}


def _remove(pid: int) -> None:
    with suppress(OSError), open_folder(create=False) as directory:
        os.unlink(_file_name(pid), dir_fd=directory)


def _file_name(pid: int) -> str:
    return f'{pid}.values'
