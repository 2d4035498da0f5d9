# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Jobs that other threads give to one thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from miniscope_ros.errors import DeviceError

_ALIVE_S = 1.0  # time between two checks that the thread still runs

T = TypeVar('T')


class CommandQueue:
    """The jobs of one thread, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def call(self, thread: Thread, job: Callable[[], T]) -> T:
        """
        Have the thread do a job and return what comes of it; raise what it raises.

        DeviceError if the thread ended without having done it.
        """
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)

        self._queue.put(run)
        while not wait([future], timeout=_ALIVE_S).done:
            # The thread may have done the job as its last one, between the two checks.
            if not thread.is_alive() and not future.done():
                raise DeviceError('the device was closed before that was done')
        return future.result()

    def wake(self) -> None:
        """Let get return in the thread, with a job that does nothing."""
        self._queue.put(lambda: None)

    def get(self, timeout: float | None) -> Callable[[], None] | None:
        """Return the next one, to be called; None when none comes within timeout [s]."""
        if timeout == 0 and self._queue.empty():  # before each frame: no exception for it
            return None
        try:
            return self._queue.get(timeout=timeout)
        except Empty:
            return None
