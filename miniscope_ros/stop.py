# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The signals that ask a program to end, as an event. Imports nothing slow: it can come first.

rclpy's own handlers invalidate its context before our code runs: nothing could be published any
more, no last message and no clean stop.
"""

from __future__ import annotations

import os
import signal
from threading import Event
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""The signals that end a program of ours in order."""

STALLED = signal.SIGUSR1
"""Sent by the watcher: end in order, as after SIGTERM, but say so by the exit status."""

STALLED_STATUS = 70
"""Exit status of a program that the watcher asked to end (EX_SOFTWARE of sysexits.h)."""


class Stop:
    """The wish that the program ends."""

    def __init__(self) -> None:
        self.event = Event()
        self.stalled = False  # the watcher asked, because it saw no sign of life
        self._requested = False
        # The main thread waits on a pipe: an event that it waits on could not be set safely by a
        # handler, which runs in that same thread.
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def install(self) -> None:
        """Handle the signals; call it in the main thread."""
        # A signal may arrive in any thread, and a main thread that sits in a wait of the system
        # would not learn of it.
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (*ENDING, STALLED):
            signal.signal(number, self._handle)

    def finish(self) -> None:
        """
        Ignore the signals from now on; for the last lines of a program that has ended in order.

        The interpreter restores the default actions when it ends: another Ctrl-C would give the
        exit status of a program that was killed.
        """
        for number in (*ENDING, STALLED):
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.stalled = self.stalled or number == STALLED
        self.request()

    def request(self) -> None:
        """Ask for the end, in any thread."""
        # A second signal may interrupt the handler of the first, which holds the event's lock.
        if not self._requested:
            self._requested = True
            self.event.set()
            os.write(self._write, b'.')

    def wait(self) -> None:
        """Return when the end was asked for; for the main thread."""
        while not self.event.is_set():
            os.read(self._read, 1)
