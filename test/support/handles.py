# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What this process holds of the system."""
import contextlib
import gc
import os
from pathlib import Path


def handles() -> dict[str, str]:
    """Return the names of the files that this process has open, and of its threads, by number."""
    gc.collect()  # an exception of an earlier test may have kept a device
    names = {}
    for number in os.listdir('/proc/self/fd'):
        with contextlib.suppress(OSError):  # that of the listing itself
            names[number] = os.readlink(f'/proc/self/fd/{number}')
    for number in os.listdir('/proc/self/task'):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            name = Path(f'/proc/self/task/{number}/comm').read_text().strip()
            names[f'thread {number}'] = f'thread {name}'
    return names


def left_since(before: dict[str, str]) -> dict[str, str]:
    """Return what this process holds that it did not hold before."""
    return dict(handles().items() - before.items())
