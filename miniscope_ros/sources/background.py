# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Work that cannot be interrupted, such as opening a file on a disk that does not answer."""

from __future__ import annotations

from collections.abc import Callable
import ctypes
from threading import Event, Thread
from typing import Generic, TypeVar

from miniscope_ros.errors import Interrupted

T = TypeVar('T')

_SLICE_S = 0.05  # time between two checks of the stop event


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

    def give_up(self) -> None:
        """
        End the work at its next step in Python.

        The thread would take most of the interpreter's time from the end of the program.
        """
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self.ident or 0), ctypes.py_object(SystemExit))


def interruptibly(work: Callable[[], T], stop: Event) -> T:
    """
    Do the work in a thread of its own and return its result, or raise what it raised.

    Raises Interrupted within 0.1 s after stop is set. The work ends then, too, unless it waits in
    the system; the program does not wait for that.
    """
    thread = _Work(work)
    thread.start()
    while thread.is_alive():
        if stop.is_set():
            thread.give_up()
            raise Interrupted('the program is to end; what was being opened is given up')
        thread.join(_SLICE_S)
    if thread.error is not None:
        raise thread.error
    return thread.results[0]
