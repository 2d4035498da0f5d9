# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Starts the nodes of a session file as plain processes, where there is no `ros2 launch`."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
from tempfile import TemporaryDirectory
import time
from types import TracebackType

from ament_index_python.packages import get_package_prefix, PackageNotFoundError
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.session.session_file import Device
import yaml

_ENDS_S = 8.0
_ENTRY = 'from miniscope_ros.node.main import main; main()'


class Programs:
    """
    The nodes of a session, from entering to leaving.

    Each gets a session of its own, so that Ctrl-C reaches only this program, which ends the
    recording first and the nodes after it.
    """

    def __init__(self, devices: Sequence[Device]) -> None:
        """Take the devices whose nodes are to run; nothing is started yet."""
        self._devices = devices
        self._folder = TemporaryDirectory(prefix='miniscope_session_')
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Programs:
        try:
            for number, device in enumerate(self._devices):
                file = Path(self._folder.name) / f'{number}.yaml'
                file.write_text(yaml.safe_dump(
                    {device.node: {'ros__parameters': dict(device.parameters)}}))
                self.processes[device.node] = self._start(device, file)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self, device: Device, file: Path) -> subprocess.Popen[bytes]:
        prefix = ['setpriv', '--pdeathsig', 'INT'] if shutil.which('setpriv') else []
        files = [device.params_file] if device.params_file else []
        given = ['--ros-args', '-r', f'__node:={device.name}']
        if device.namespace.strip('/'):
            given += ['-r', f'__ns:=/{device.namespace.strip("/")}']
        for name in [*files, str(file)]:
            given += ['--params-file', name]
        return subprocess.Popen(
            [*prefix, *_command(device), *given], stdin=subprocess.DEVNULL,
            start_new_session=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + _ENDS_S
        for process in self.processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._folder.cleanup()

    def failed(self) -> list[str]:
        """Return the names of the nodes that have ended with an error."""
        return [name for name, process in self.processes.items() if process.poll()]


def _command(device: Device) -> list[str]:
    if device.is_ours:
        return [sys.executable, '-c', _ENTRY]
    try:
        prefix = get_package_prefix(device.package)
    except PackageNotFoundError as error:
        raise ConfigurationError(
            f'the package {device.package} of camera {device.name} is not installed') from error
    program = os.path.join(prefix, 'lib', device.package, device.executable)
    if not os.access(program, os.X_OK):
        raise ConfigurationError(
            f'the package {device.package} has no program {device.executable} for camera '
            f'{device.name}: {program} is missing')
    return [program]
