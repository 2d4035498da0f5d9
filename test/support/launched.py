# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The real `ros2 launch` and `ros2 bag record`, where they are installed."""
from collections.abc import Iterator, Mapping
import contextlib
import os
from pathlib import Path
import signal
import subprocess
from threading import Condition, Thread
import time
from typing import IO

from ament_index_python.packages import get_packages_with_prefixes
from node_process import PATIENCE
import psutil
import pytest
import shared_memory

LAUNCH_FILE = Path(__file__).parents[2] / 'launch' / 'scope.launch.py'
MARK = 'MINISCOPE_TEST_LAUNCH'


def _needs(*packages: str) -> pytest.MarkDecorator:
    missing = set(packages) - set(get_packages_with_prefixes())
    return pytest.mark.skipif(
        bool(missing), reason=f'not installed: {", ".join(sorted(missing))}')


needs_launch = _needs('ros2launch')
needs_recorder = _needs('ros2bag', 'rosbag2_storage_mcap')


class Launched:
    """A running `ros2 launch` of scope.launch.py or another file, in a session of its own."""

    def __init__(
        self, file: Path, arguments: Mapping[str, object], environment: Mapping[str, str],
    ) -> None:
        self._mark = f'{os.getpid()}_{id(self)}'
        self._process = subprocess.Popen(
            ['ros2', 'launch', str(file),
             *(f'{name}:={value}' for name, value in arguments.items())],
            env={**environment, MARK: self._mark}, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self._process.stdout is not None
        self._lines: list[str] = []
        self._changed = Condition()
        self._reader = Thread(target=self._collect, args=[self._process.stdout])
        self._reader.start()

    def _collect(self, pipe: IO[str]) -> None:
        for line in pipe:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def output(self) -> str:
        """All that was written so far."""
        return ''.join(self._lines)

    def wait_for_output(self, text: str) -> None:
        """Return when a text was written."""
        with self._changed:
            self._changed.wait_for(
                lambda: text in self.output or not self._reader.is_alive(), PATIENCE)
        assert text in self.output, self.output

    def programs(self, name: str = '') -> list[psutil.Process]:
        """Return what it started, and what that started, or those whose command has a name."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if (process.environ().get(MARK) == self._mark and process.pid != self.pid
                        and any(name in part for part in process.cmdline())):
                    found.append(process)
                    shared_memory.note(process.pid)  # it may be killed
        return found

    def wait_for_program(self, name: str) -> list[psutil.Process]:
        """Return those whose command has a name, once there are any."""
        deadline = time.monotonic() + PATIENCE
        while not (found := self.programs(name)):
            assert time.monotonic() < deadline, self.output
            time.sleep(0.01)
        return found

    @property
    def pid(self) -> int:
        """Of ros2 launch itself."""
        return self._process.pid

    def send_signal(self, number: int) -> None:
        """Signal ros2 launch alone."""
        self._process.send_signal(number)

    def press_ctrl_c(self) -> None:
        """Signal every program of the terminal, as its driver does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGINT)

    def wait(self) -> tuple[int, str]:
        """Return exit status and output once it has ended."""
        status = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status, self.output

    def end(self) -> None:
        """Leave nothing running."""
        for process in [*self.programs(), self._process]:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        shared_memory.remove_noted()


@contextlib.contextmanager
def launched(
    file: Path = LAUNCH_FILE, *, environment: Mapping[str, str] = os.environ, **arguments: object,
) -> Iterator[Launched]:
    """Start a scope with arguments of the launch file."""
    launch = Launched(file, arguments, environment)
    try:
        yield launch
    finally:
        launch.end()
