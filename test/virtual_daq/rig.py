# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""One or several boxes on a folder of their own, and processes that see them."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import ctypes
from dataclasses import replace
import os
from pathlib import Path
import shutil
import subprocess
import sys
from typing import Any

from .box import Box, BoxConfig, client_environ, RELEASES
from .build import library_path


class VirtualDaq:
    """
    Boxes plugged into one computer.

    As a context manager it lets this process see them too, if the process is preloaded
    (is_preloaded); other processes see them with environ().
    """

    def __init__(self, folder: Path, boxes: Sequence[BoxConfig] = (BoxConfig(),)) -> None:
        self.root = folder / 'virtual_daq'
        for listed in ('dev', 'sys/class/video4linux', 'sys/bus/usb/devices', 'pending', 'held'):
            (self.root / listed).mkdir(parents=True)
        self.boxes = [
            Box(self.root, replace(
                config,
                name=config.name or f'box{i}',
                port=config.port or f'1-{i + 1}',
                number=config.number if config.number >= 0 else 2 * i))
            for i, config in enumerate(boxes)]
        if self.boxes:  # all are on one computer
            kernel = RELEASES[self.box.config.kernel]
            (self.root / 'kernel').write_text(kernel)
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> VirtualDaq:
        # What is noted of boxes is of these, not of others with the same USB port.
        for name in ('VIRTUAL_DAQ_ROOT', 'XDG_RUNTIME_DIR'):
            self._before[name] = os.environ.get(name)
            os.environ[name] = str(self.root)
        return self

    def __exit__(self, *error: object) -> None:
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

    @property
    def box(self) -> Box:
        """Return the first box."""
        return self.boxes[0]

    def environ(self) -> dict[str, str]:
        """Return the environment of a process that finds these boxes."""
        return client_environ(self.root, library_path())

    def run(self, *arguments: str, timeout: float = 60.0) -> str:
        """Run Python with these arguments and return its output; CalledProcessError."""
        command = [sys.executable, *arguments]
        result = subprocess.run(
            command, env=self.environ(), timeout=timeout, text=True, capture_output=True)
        if result.returncode:
            raise subprocess.CalledProcessError(
                result.returncode, command, result.stdout, result.stderr)
        return result.stdout

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start Python with these arguments; its input and output are pipes unless told."""
        pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, **options}
        return subprocess.Popen(
            [sys.executable, *arguments], env=self.environ(), text=True, **pipes)


def is_preloaded() -> bool:
    """Return whether this process sees virtual boxes."""
    return hasattr(ctypes.CDLL(None), 'virtual_daq_layout')


def reexec_preloaded(config: Any) -> None:
    """
    Start this pytest run again with the library preloaded; for pytest_configure.

    Does nothing where it is preloaded already, or cannot be built; is_preloaded tells.
    """
    if is_preloaded() or not shutil.which('gcc'):
        return
    environment = client_environ(Path('/nonexistent'), library_path())
    del environment['VIRTUAL_DAQ_ROOT']
    capture = config.pluginmanager.getplugin('capturemanager')
    with contextlib.suppress(AttributeError):  # with -p no:capture there is none
        capture.suspend_global_capture(in_=True)
    arguments = [sys.executable, '-m', 'pytest', *config.invocation_params.args]
    os.execve(sys.executable, [str(a) for a in arguments], environment)
