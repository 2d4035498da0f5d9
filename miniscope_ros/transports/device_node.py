# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Opening device nodes, and telling people why one cannot be used and what helps."""

from __future__ import annotations

from collections.abc import Iterator
import errno
import os

from miniscope_ros.errors import DeviceAbsent, DeviceError, DeviceLost

INSTALL_RULE = (
    'sudo cp config/70-miniscope.rules /etc/udev/rules.d/ && sudo udevadm control --reload && '
    'sudo udevadm trigger')
"""The line that installs the udev rule, from the checkout or the package's share folder."""

_GONE = (errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN)


def open_node(path: str) -> int:
    """Open a device node for reading and writing without blocking; DeviceError says why not."""
    try:
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, *_GONE):
            raise DeviceAbsent(
                f'no device at {path} ({error.strerror}): check the cable; list_devices shows '
                'what is plugged in') from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise DeviceError(
                f'no permission to open {path}: install the udev rule (in the folder of '
                f'miniscope_ros: {INSTALL_RULE}) or, where that is enough, join the group video '
                '(sudo usermod -aG video $USER, then log in again)') from error
        raise explain(path, 'open', error) from error


def explain(path: str, doing: str, error: OSError) -> DeviceError:
    """Return the error to raise when the kernel refuses something on an open device node."""
    if error.errno in _GONE:
        return DeviceLost(f'the device at {path} has gone ({error.strerror})')
    if error.errno == errno.EBUSY:
        return DeviceError(
            f'{path} is in use by {in_use_by(path)}: end that program (fuser -v {path} '
            'shows it), then try again')
    if error.errno == errno.ENOSPC:
        return DeviceError(
            f'{path}: no USB bandwidth left: plug the box into a port of another controller')
    return DeviceError(f'{path}: cannot {doing}: {error.strerror}')


def in_use_by(path: str) -> str:
    """Return in words which other processes hold a device node open, as far as we may see."""
    return ', '.join(_holders(path)) or (
        'a program that we may not look at (of another user, or in a container)')


def _holders(path: str) -> Iterator[str]:
    for pid in filter(str.isdigit, os.listdir('/proc')):
        if int(pid) == os.getpid():
            continue
        try:
            with os.scandir(f'/proc/{pid}/fd') as entries:
                held = any(os.readlink(entry) == path for entry in entries)
            if held:
                with open(f'/proc/{pid}/comm', encoding='utf-8', errors='replace') as comm:
                    yield f'{comm.read().strip()} (process {pid})'
        except OSError:
            continue  # ended meanwhile, or another user's
