# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Processes to be measured: started, accounted for by the kernel, and ended whatever happens."""
from collections.abc import Mapping, Sequence
from pathlib import Path
import select
import signal
import subprocess
import sys
import time
from types import TracebackType

PATIENCE = 60.0  # [s]
END = 15.0


class Process:
    """A Python process; ends with the with block."""

    def __init__(
            self, arguments: Sequence[str], log: Path,
            environment: Mapping[str, str] | None = None) -> None:
        """Start it; what it writes to standard error goes to the file log."""
        self.log = log
        self.started_ns = time.monotonic_ns()
        with log.open('w') as errors:
            # A session of its own: a Ctrl-C at the terminal is for the benchmark alone.
            self._child = subprocess.Popen(
                [sys.executable, *arguments], env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=errors, start_new_session=True)

    def __enter__(self) -> 'Process':
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            self.stop()
        finally:
            if self._child.poll() is None:
                self._child.kill()
                self._child.wait()
            if self._child.stdout is not None:
                self._child.stdout.close()

    @property
    def cpu_ns(self) -> int:
        """CPU time of all its threads so far [ns], by the kernel's account."""
        return time.clock_gettime_ns(~self._child.pid << 3 | 2)  # see clock_getcpuclockid(3)

    @property
    def resident_mb(self) -> float:
        """Its resident memory [MB], shared memory and libraries included."""
        return self._memory_mb('VmRSS')

    @property
    def shared_mb(self) -> float:
        """Shared memory among it [MB], most of it Fast DDS's."""
        return self._memory_mb('RssShmem')

    def _memory_mb(self, name: str) -> float:
        status = Path(f'/proc/{self._child.pid}/status').read_text()
        line = next(line for line in status.splitlines() if line.startswith(f'{name}:'))
        return int(line.split()[1]) * 1024 / 1e6

    def halt(self, seconds: float) -> None:
        """Take it off the processor for that long."""
        self._child.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            self._child.send_signal(signal.SIGCONT)

    def check(self) -> None:
        """Raise RuntimeError if it has ended."""
        if self._child.poll() is not None:
            raise RuntimeError(f'ended with status {self._child.returncode}: {self}')

    def __str__(self) -> str:
        tail = self.log.read_text().splitlines()[-20:]
        return '\n'.join([' '.join(map(str, self._child.args)), *tail])

    def wait_for(self, word: str) -> None:
        """Return when it has written a line with that word; RuntimeError, TimeoutError."""
        assert self._child.stdout is not None
        deadline = time.monotonic() + PATIENCE
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._child.stdout], [], [], left)[0]:
                line = self._child.stdout.readline()
                if word in line.decode():
                    return
                if not line:
                    self._child.wait(END)
                    self.check()
        raise TimeoutError(f'not {word} within {PATIENCE:g} s: {self}')

    def rest(self) -> str:
        """Return what else it wrote to standard output, after its end."""
        assert self._child.stdout is not None
        return self._child.stdout.read().decode()

    def stop(self) -> None:
        """Send SIGINT and wait for the end; TimeoutExpired."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
            self._child.wait(END)
