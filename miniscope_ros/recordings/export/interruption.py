# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C and SIGTERM: an export that they end leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import signal
from threading import Event
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

told_to_end = Event()
"""Set by the signal: an exception alone can be lost in a library's callback."""


def install() -> None:
    """Raise KeyboardInterrupt on both signals; the background of a script ignores SIGINT."""
    told_to_end.clear()
    for number in _SIGNALS:
        signal.signal(number, _interrupt)


def note(number: int, frame: FrameType | None) -> None:
    """Note a signal and raise nothing."""
    told_to_end.set()


def raise_if_told() -> None:
    """Raise KeyboardInterrupt if a signal to end has come."""
    if told_to_end.is_set():
        raise KeyboardInterrupt


@contextmanager
def on_interrupt(handler: Callable[[int, FrameType | None], None] | signal.Handlers,
                 ) -> Iterator[None]:
    """Let the signals do something else in this block."""
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    note(number, frame)
    raise KeyboardInterrupt
