# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Work that cannot be interrupted, such as opening a file on a disk that does not answer."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Generic, TypeVar

from miniscope_ros.errors import Interrupted

T = TypeVar('T')

_SLICE_S = 0.05  # between looks at the stop event


class _Work(Thread, Generic[T]):
    """Does one thing and keeps its result, or what it raised."""

    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__(name='background-work', daemon=True)
        self._work = work
        self.results: list[T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.results.append(self._work())
        except BaseException as error:  # raised again in the thread that waits
            self.error = error


def interruptibly(work: Callable[[], T], stop: Event) -> T:
    """
    Do the work in a thread of its own and return its result, or raise what it raised.

    Raises Interrupted within 0.1 s after stop is set; the thread is then left to the end of the
    program, which does not wait for it.
    """
    thread = _Work(work)
    thread.start()
    while thread.is_alive():
        if stop.is_set():
            raise Interrupted('the program is to end; what was being opened is given up')
        thread.join(_SLICE_S)
    if thread.error is not None:
        raise thread.error
    return thread.results[0]
