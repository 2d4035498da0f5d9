# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The watcher: a small process that makes a scope dark when its node cannot do that any more.

It holds the read end of a pipe and nothing else, runs in a session of its own and imports only
light parts of the standard library. It is started as a file, not as a module. The node writes
lines: `opened JSON` before it opens a device (arguments of lights_off), `closed` when that is
known to be dark and closed, and once a second `lit` or `dark`. The end of the pipe is the end of
the node. Signs of life that are missing while the light may be on are a node that hangs.
"""

import json
import os
import select
import signal
import sys
import time

SILENCE_S = 2.5
"""A node that was lit and has not written for so long hangs: it writes once a second."""
GRACE_S = 0.5
"""Then it gets so long: it may have been stopped together with us, and go on as we do."""
ENDS_S = 1.5
"""After being asked to end, a node without a sign of life has so long."""
ENDS_IN_ORDER_S = 5.0
"""A node that does give signs of life after that may take so long to end in order."""
DIES_S = 2.0
"""A killed process keeps its device for this time at most, unless the kernel itself hangs."""

STALLED = signal.SIGUSR1  # as miniscope_ros.stop has it

# Nothing is to be imported from the current folder, which -c and -m would put first.
LIGHTS_OFF = (
    'import sys; sys.path[:] = filter(None, sys.path); '
    'from miniscope_ros.commands.lights_off import main; main()')


class Watcher:
    """What is known of the node, and what to do when it is gone."""

    def __init__(self, node: int) -> None:
        self._node = node
        self._lines = b''
        self._opened: list[str] | None = None  # arguments of lights_off
        self._lit = False
        self._ended = False

    def run(self) -> 'list[str] | None':
        """Return when the node is gone: what to make dark, or None."""
        while not self._ended:
            watched = self._lit and self._opened is not None
            if not self._listen(SILENCE_S if watched else None) and not self._listen(GRACE_S):
                self._end_node()
        return self._opened

    def _listen(self, timeout: 'float | None') -> bool:
        """Take what the node has written; return whether it wrote or ended within timeout [s]."""
        if not select.select([0], [], [], timeout)[0]:
            return False
        data = os.read(0, 65536)
        self._ended = not data
        *lines, self._lines = (self._lines + data).split(b'\n')
        for line in lines:
            word, _, rest = line.partition(b' ')
            if word == b'opened':
                self._opened = json.loads(rest)
                self._lit = False
            elif word == b'closed':
                self._opened = None
            elif word in (b'lit', b'dark'):
                self._lit = word == b'lit'
        return True

    def _end_node(self) -> None:
        """Ask a node that hangs to end, and kill it where it does not."""
        say(f'scope_node (process {self._node}) has given no sign of life for '
            f'{SILENCE_S + GRACE_S:g} s and its light may be on: ending it')
        self._signal(STALLED)
        deadline = time.monotonic() + ENDS_IN_ORDER_S
        while not self._ended and time.monotonic() < deadline and self._listen(ENDS_S):
            pass
        if self._ended:
            return
        self._signal(signal.SIGKILL)
        deadline = time.monotonic() + DIES_S
        while not self._ended and time.monotonic() < deadline:
            self._listen(max(0.0, deadline - time.monotonic()))
        self._ended = True

    def _signal(self, number: int) -> None:
        # It is our parent while it lives: its number cannot be another process's by now.
        if os.getppid() == self._node:
            os.kill(self._node, number)


def say(text: str) -> None:
    """Write a line where the node wrote its own; nobody may be there any more to read it."""
    try:  # noqa: SIM105 - contextlib would have to be imported
        os.write(2, f'watcher: {text}\n'.encode())
    except OSError:
        pass


def main(node: int, python_path: str) -> None:
    """Watch a process, our parent; become lights_off when it is gone with its light on."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    opened = Watcher(node).run()
    if opened is None:
        return
    say(f'scope_node (process {node}) has ended and its light may be on: making it dark')
    os.environ['PYTHONPATH'] = python_path
    os.execv(sys.executable, [
        sys.executable, '-c', LIGHTS_OFF, '--after', str(node), *opened])


if __name__ == '__main__':
    main(int(sys.argv[1]), sys.argv[2])
