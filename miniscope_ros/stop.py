# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
SIGINT, SIGTERM and SIGHUP as an event. Imports nothing slow, so that it can come first.

rclpy's own handlers invalidate its context before our code runs: nothing could be published any
more, no last message and no clean stop.
"""

from __future__ import annotations

import os
import signal
from threading import Event
from types import FrameType


class Stop:
    """The wish that the program ends."""

    def __init__(self) -> None:
        self.event = Event()
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
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
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
