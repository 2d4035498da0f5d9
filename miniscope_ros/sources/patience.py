# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""When a source gives up waiting because the program is to end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import math
from threading import Event
import time

from miniscope_ros.errors import Interrupted

_END_S = 3.0  # the longest time to go dark when the program has to end, which may take 4 s

OUT_OF_TIME = 'the program is to end, and LED dark was not seen executed in time'


class Patience:
    """
    The stop event of a program, and what may still be finished once it is set.

    Setting up a scope is given up at once. Making it dark is finished, but within 3 s.
    """

    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self._heeds_stop = True
        self._end = math.inf  # when the program, being asked to end, can wait no longer [s]

    @contextmanager
    def uninterruptible(self) -> Iterator[None]:
        """Finish what is in this block although the program is to end."""
        before, self._heeds_stop = self._heeds_stop, False
        try:
            yield
        finally:
            self._heeds_stop = before

    @property
    def out_of_time(self) -> bool:
        """Return whether the program was asked to end and cannot wait for frames any more."""
        if self._stop.is_set():
            self._end = min(self._end, time.monotonic() + _END_S)
        return time.monotonic() > self._end

    def check(self) -> None:
        """Raise Interrupted if waiting is to be given up."""
        if self._heeds_stop and self._stop.is_set():
            raise Interrupted('stopped while the scope was being set up')
        if self.out_of_time:
            raise Interrupted(OUT_OF_TIME)
