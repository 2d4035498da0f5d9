# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
A running recorder: `ros2 bag record`, or the built-in one. Either is a process of its own.

It gets a session of its own: Ctrl-C in a terminal reaches every program that runs in it, and the
recorder has to outlive the scopes' nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import contextlib
from dataclasses import dataclass, field
import json
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
from threading import Thread

from ament_index_python.packages import get_package_prefix, PackageNotFoundError
from miniscope_ros.errors import ConfigurationError, DeviceError
from miniscope_ros.session.session_file import RecordSettings

_ENDS_S = 25.0  # time that the recorder gets to write the rest and close the bag
_PACKAGES = ('ros2bag', 'rosbag2_storage_mcap')


@dataclass
class Books:
    """What a recorder says that it has written."""

    recorded: dict[str, int] = field(default_factory=dict)  # repeated ones included
    repeated: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    runs: dict[str, list[list[int]]] = field(default_factory=dict)  # see FrameRuns
    bytes: int = 0
    closed: bool = False
    error: str = ''
    sha256: dict[str, str] = field(default_factory=dict)


def choose_recorder(settings: RecordSettings) -> str:
    """Return rosbag2 or builtin. Raises ConfigurationError where the one asked for is missing."""
    missing = [name for name in _PACKAGES if not _is_installed(name)]
    if shutil.which('ros2') is None:
        missing.insert(0, 'ros2')
    if settings.recorder == 'rosbag2' and missing:
        raise ConfigurationError(
            f'record.recorder is rosbag2, but {", ".join(missing)} is not installed: install it, '
            'or use builtin')
    kind = settings.recorder
    if kind == 'auto':
        kind = 'builtin' if missing else 'rosbag2'
    if kind == 'builtin' and settings.storage_config:
        raise ConfigurationError(
            f'record.storage_config is {settings.storage_config!r}, which only rosbag2 knows: '
            'leave it out, or install ros2bag and rosbag2_storage_mcap')
    return kind


def _is_installed(package: str) -> bool:
    try:
        get_package_prefix(package)
    except (PackageNotFoundError, LookupError):
        return False
    return True


class Recorder:
    """Records topics into a new folder from its construction on."""

    def __init__(
            self, folder: Path, topics: Sequence[str], settings: RecordSettings,
            environment: Mapping[str, str] | None = None) -> None:
        """Start the process. Raises OSError and ConfigurationError."""
        self.folder = folder
        self.kind = choose_recorder(settings)
        self.name = f'recorder_{os.getpid()}_{_next_number()}'
        command = (_rosbag2 if self.kind == 'rosbag2' else _builtin)(
            folder, self.name, settings)
        if self.kind == 'rosbag2' and os.environ.get('ROS_DISTRO') == 'humble':
            self.name = 'rosbag2_recorder'
        # If this program is killed, the recorder must not go on alone.
        prefix = ['setpriv', '--pdeathsig', 'INT'] if shutil.which('setpriv') else []
        self._books = Books()
        self._process = subprocess.Popen(
            [*prefix, *command, *topics], stdin=subprocess.DEVNULL, start_new_session=True,
            stdout=subprocess.PIPE if self.kind == 'builtin' else None, env=environment)
        self._reader = Thread(target=self._read, name='books', daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def books(self) -> Books | None:
        """Return what it says that it has written; None for rosbag2, which says nothing."""
        return self._books if self.kind == 'builtin' else None

    def _read(self) -> None:
        if self._process.stdout is None:
            return
        for line in self._process.stdout:
            # A line that did not fit into the pipe is a fragment.
            with contextlib.suppress(ValueError, TypeError):
                self._books = Books(**{**vars(Books()), **json.loads(line)})

    def bytes(self) -> int:
        """Return the size of all files in the folder."""
        total = 0
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.folder):
                with contextlib.suppress(OSError):
                    total += entry.stat().st_size
        return total

    def check(self) -> None:
        """Raise DeviceError if the process has ended or is stopped (SIGSTOP)."""
        if self._process.poll() is not None:
            self._reader.join(1.0)
            reason = self._books.error or 'what it said is above'
            raise DeviceError(
                f'the recorder has died, exit code {self._process.returncode}: {reason}; '
                f'{self.folder} may lack its end')

    def stop(self) -> None:
        """Have it write what it has received and close the bag. Raises DeviceError."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)  # somebody may have stopped it
            self._process.send_signal(signal.SIGINT)
        try:
            status = self._process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise DeviceError(
                f'the recorder did not close the bag within {_ENDS_S:g} s; {self.folder} may '
                'lack its end') from None
        self._reader.join(1.0)
        if self._books.error:
            raise DeviceError(self._books.error)
        if not (self.folder / 'metadata.yaml').exists():
            raise DeviceError(f'the recorder ended with exit code {status} and did not close the '
                              f'bag; {self.folder} may lack its end')


_numbers = iter(range(1, 1 << 62))


def _next_number() -> int:
    return next(_numbers)


def _rosbag2(folder: Path, name: str, settings: RecordSettings) -> list[str]:
    command = ['ros2', 'bag', 'record', '--storage', 'mcap', '--output', str(folder)]
    if settings.storage != 'none':
        command += ['--storage-preset-profile', settings.storage]
    if settings.storage_config:
        command += ['--storage-config-file', settings.storage_config]
    if settings.split_minutes:
        command += ['--max-bag-duration', str(max(1, round(settings.split_minutes * 60)))]
    if settings.split_gb:
        command += ['--max-bag-size', str(round(settings.split_gb * 1e9))]
    if os.environ.get('ROS_DISTRO') != 'humble':
        command += ['--node-name', name, '--disable-keyboard-controls', '--topics']
    return command


def _builtin(folder: Path, name: str, settings: RecordSettings) -> list[str]:
    command = [
        sys.executable, '-m', 'miniscope_ros.session.builtin_recorder', '--output', str(folder),
        '--node-name', name]
    if settings.split_minutes:
        command += ['--split-seconds', str(settings.split_minutes * 60)]
    if settings.split_gb:
        command += ['--split-bytes', str(round(settings.split_gb * 1e9))]
    if settings.storage.startswith('zstd'):
        command.append('--compress')
    return command
