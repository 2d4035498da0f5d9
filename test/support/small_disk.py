# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A disk with little room that nothing else uses."""
from collections.abc import Iterator
import contextlib
from pathlib import Path
import subprocess

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system of its own; skips visibly where that is not allowed."""
    folder.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={megabytes}m', 'none', folder],
                      capture_output=True).returncode:
        pytest.skip('no file system of limited size can be mounted here')
    try:
        yield folder
    finally:
        subprocess.run(['umount', '-l', folder], check=True)
