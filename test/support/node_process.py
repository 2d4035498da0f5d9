# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The scope node in a process of its own, for tests that are the other DDS participant."""
from collections.abc import Iterator, Mapping, Sequence
import contextlib
import os
import re
import signal
import subprocess
import sys
from threading import Condition, Thread
from typing import IO

import shared_memory

PATIENCE = 40.0  # [s], far more than anything here takes
ENTRY_POINT = 'from miniscope_ros.node.main import main; main()'
MIDDLEWARE = re.compile(r'\S+ \S+ \[\w+ (Error|Warning)\] ')
"""How Fast DDS begins a line: it complains of what other programs have left, for one."""

Value = bool | int | float | str | Sequence[str]


class NodeProcess:
    """A running scope_node: what it writes, and how it ends."""

    def __init__(
        self,
        parameters: Mapping[str, Value] | None = None,
        *,
        remap: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        python: Sequence[str] = ('-c', ENTRY_POINT),
    ) -> None:
        """
        Start the node.

        remap is for __ns and __node, arguments go to the node as they are, environment is added
        to the test's own, python is what the interpreter runs.
        """
        given = [*arguments, '--ros-args']
        for name, value in (parameters or {}).items():
            given += ['-p', f'{name}:={_yaml(value)}']
        for name, target in (remap or {}).items():
            given += ['-r', f'{name}:={target}']
        self.lines: list[str] = []  # of both, as they come
        self.errors: list[str] = []  # of the standard error output alone
        self.middleware: list[str] = []  # lines of Fast DDS, which are in none of the others
        self._changed = Condition()
        self._process = subprocess.Popen(
            [sys.executable, *python, *given], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            env={**os.environ, 'RCUTILS_COLORIZED_OUTPUT': '0', 'PYTHONFAULTHANDLER': '1',
                 **(environment or {})})
        assert self._process.stdout is not None and self._process.stderr is not None
        self._readers = [
            Thread(target=self._collect, args=[self._process.stdout, [self.lines]]),
            Thread(target=self._collect, args=[self._process.stderr, [self.lines, self.errors]])]
        for reader in self._readers:
            reader.start()

    def _collect(self, pipe: IO[str], targets: list[list[str]]) -> None:
        for line in pipe:
            with self._changed:
                for target in [self.middleware] if MIDDLEWARE.match(line) else targets:
                    target.append(line.rstrip('\n'))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """All that it has written."""
        return '\n'.join(self.lines)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def said(self, pattern: str) -> list[str]:
        """Return the lines in which a pattern is found."""
        return [line for line in self.lines if re.search(pattern, line)]

    def wait_for_output(self, pattern: str, count: int = 1) -> str:
        """Return the last of so many lines in which a pattern is found, once they are there."""
        def settled() -> bool:
            return len(self.said(pattern)) >= count or not any(
                reader.is_alive() for reader in self._readers)

        with self._changed:
            self._changed.wait_for(settled, PATIENCE)
        found = self.said(pattern)
        assert len(found) >= count, (
            f'the node said {pattern!r} {len(found)} times, not {count}; it wrote:\n{self.output}')
        return found[count - 1]

    def send_signal(self, number: int) -> None:
        """Send a signal, SIGINT for one."""
        shared_memory.note(self.pid)
        self._process.send_signal(number)

    def exit_status(self, timeout: float = PATIENCE) -> int:
        """Return the exit status once it has ended by itself; its watcher may still run."""
        return self._process.wait(timeout)

    def wait(self, timeout: float = PATIENCE) -> int:
        """
        Return the exit status once it has ended by itself, and all output is here.

        Its watcher writes to the same place, so that has ended, too.
        """
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)  # it tells where its threads are
            self._join()
            raise AssertionError(
                f'the node had not ended within {timeout:g} s; it wrote:\n{self.output}') from None
        self._join()
        return status

    def _join(self) -> None:
        self._process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        shared_memory.remove_noted()

    def stop(self) -> int:
        """Send SIGINT and return the exit status."""
        self.send_signal(signal.SIGINT)
        return self.wait()

    def kill(self) -> None:
        """End it at once, with nothing put in order."""
        shared_memory.note(self.pid)
        self._process.kill()
        self.wait()


@contextlib.contextmanager
def scope_node(
    parameters: Mapping[str, Value] | None = None, *, tracebacks: bool = False, **options,
) -> Iterator[NodeProcess]:
    """Run the node (see NodeProcess) and have it end in order; tracebacks: may it log any."""
    node = NodeProcess(parameters, **options)
    try:
        yield node
        if node.alive:
            assert node.stop() == 0, node.output
        assert tracebacks or 'Traceback' not in node.output, node.output
    except Exception:
        print(node.output)  # pytest shows it where the test fails
        raise
    finally:
        if node.alive:
            node.kill()


def _yaml(value: Value) -> str:
    """Return a value as a command line's parameter rule takes it; a text goes as it is."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return value or "''"
    return '[' + ', '.join(value) + ']'
