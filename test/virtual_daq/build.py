# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Building the library that is preloaded, and the layouts of what it shares."""

from __future__ import annotations

import contextlib
import ctypes
from functools import lru_cache
import hashlib
import os
from pathlib import Path
import subprocess
import tempfile

import numpy as np

SOURCES = Path(__file__).parent
FLAGS = [
    '-std=gnu11', '-O2', '-g', '-Wall', '-Wextra', '-U_FORTIFY_SOURCE',
    '-fvisibility=hidden', '-fPIC', '-shared', '-pthread',
]


@lru_cache
def library_path() -> Path:
    """Return the built library; it is built into the temporary folder, once per content."""
    sources = sorted(SOURCES.glob('*.c'))
    content = hashlib.sha256(' '.join(FLAGS).encode())
    for source in [SOURCES / 'box.h', *sources]:
        content.update(source.read_bytes())
    parent = Path(tempfile.gettempdir()) / f'virtual_daq-{os.getuid()}'
    folder = parent / content.hexdigest()[:16]
    library = folder / 'libvirtual_daq.so'
    if not library.exists():
        parent.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):  # what asks for libusb gets this library
            (folder / 'libusb-1.0.so.0').symlink_to(library.name)
        unfinished = folder / f'{library.name}.{os.getpid()}'
        command = ['gcc', *FLAGS, *map(str, sources), '-o', str(unfinished), '-ldl', '-lm']
        subprocess.run(command, check=True, timeout=120)
        unfinished.rename(library)  # another process may have been faster: no harm
    return library


@lru_cache
def library() -> ctypes.CDLL:
    """Return the library for its test functions (virtual_daq_*); it interposes nothing here."""
    return ctypes.CDLL(str(library_path()))


@lru_cache
def layouts() -> dict[str, np.dtype[np.void]]:
    """Return the layouts of the state and of the logs' records, as the C code has them."""
    text = ctypes.create_string_buffer(1 << 16)
    if library().virtual_daq_layout(text, ctypes.c_size_t(len(text))):
        raise OSError('the library did not tell its layouts')
    result = {}
    for block in text.value.decode().split('= ')[1:]:
        head, *lines = block.splitlines()
        kind, size = head.split()
        fields = [line.split() for line in lines]
        formats = [
            f'S{count}' if code == 'S' else (code, (int(count),)) if int(count) else code
            for _, code, count, _ in fields]
        result[kind] = np.dtype({
            'names': [field[0] for field in fields], 'formats': formats,
            'offsets': [int(field[3]) for field in fields], 'itemsize': int(size)})
    return result
