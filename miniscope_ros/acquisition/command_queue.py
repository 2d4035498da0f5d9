# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What other threads have one thread do."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from miniscope_ros.errors import DeviceError

_ALIVE = 1.0

T = TypeVar('T')


class CommandQueue:
    """The jobs of one thread, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def call(self, thread: Thread, job: Callable[[], T]) -> T:
        """Have the thread do a job and return what comes of it; raise what it raises."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)

        self._queue.put(run)
        while not wait([future], timeout=_ALIVE).done:
            if not thread.is_alive():
                # Another thread has closed the source meanwhile.
                raise DeviceError('the device was closed before that was done')
        return future.result()

    def get(self, timeout: float | None) -> Callable[[], None] | None:
        """Return the next one, to be called; None when none comes within timeout [s]."""
        if timeout == 0 and self._queue.empty():  # before each frame: no exception for it
            return None
        try:
            return self._queue.get(timeout=timeout)
        except Empty:
            return None
