# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Pursues darkness: a light that is not known to be off is made dark as soon as it can be.

A source whose device was lost while lit knows its light as UNCONFIRMED. Unless an acquisition is
to go on, the device is then opened again and again only to make it dark, whatever the state and
whatever the parameter reconnect says, until darkness is confirmed or the program ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import logging
from threading import Lock
import time

from miniscope_ros.acquisition.reconnect import LOOK_AGAIN, RetryTimer
from miniscope_ros.errors import DeviceAbsent, DeviceError, Interrupted, NoLink
from miniscope_ros.model import Light, LIGHT_MAY_BE_ON
from miniscope_ros.sources.source import Source

_log = logging.getLogger(__name__)

_abandoned: set[LightGuard] = set()
"""The guards of sources that were closed with the light possibly on."""


def possibly_lit() -> bool:
    """Return whether this program has closed a source whose light may still be on."""
    return any(guard.needed for guard in tuple(_abandoned))


class LightGuard:
    """The guard of one source; all but the marked methods belong to the capture thread."""

    def __init__(self, source: Source, on_attempt: Callable[[bool], None]) -> None:
        """
        Guard a source.

        on_attempt is called after each attempt to make it dark once it was closed for good, with
        whether it is dark now.
        """
        self.location = ''  # the device's USB port, once it is known
        self._source = source
        self._on_attempt = on_attempt
        self._timer = RetryTimer()
        self._busy = Lock()
        self._retired = False
        self._said = False

    @property
    def needed(self) -> bool:
        """Return whether the light may be on (any thread)."""
        return self._source.light is not Light.DARK and not self._retired

    @property
    def rest(self) -> float | None:
        """Return how long to wait before the next attempt [s]; None if there is none to make."""
        return self._timer.rest if self.needed else None

    def warn(self, reason: str) -> None:
        """Say, once until it is dark, that the light may be on, and why."""
        if self.needed and not self._said:
            self._said = True
            _log.error(
                '%s: %s; while this program runs, the device is made dark as soon as it can be '
                'opened again', LIGHT_MAY_BE_ON, reason)

    def attempt(self) -> None:
        """Open the device to make it dark, if that is needed and due."""
        if not self.needed or self._timer.rest > 0 or not self._busy.acquire(blocking=False):
            return
        try:
            error = self._try() if self.needed else None
        finally:
            self._busy.release()
        if error is not None:
            self.warn(str(error))

    def pursue(self, patience: float) -> None:
        """Try at once, and for so long [s] again if the device is away: it may be returning."""
        deadline = time.monotonic() + patience
        waited = False
        with self._busy:
            while self.needed and (error := self._try()) is not None:
                away = isinstance(error, DeviceError) and not isinstance(error, NoLink)
                if not away or time.monotonic() + LOOK_AGAIN > deadline:
                    self.warn(str(error))
                    return
                if not waited:
                    waited = True
                    _log.warning(
                        'the light may be on: waiting up to %g s for the device, to make it '
                        'dark: %s', patience, str(error))
                time.sleep(LOOK_AGAIN)
        if waited:
            _log.info('the device came back and was made dark')

    def _try(self) -> Exception | None:
        """Make it dark; return what prevented that."""
        error = self._make_dark()
        if self in _abandoned:
            if not self.needed:
                _abandoned.discard(self)
            self._on_attempt(not self.needed)
        return error

    def _make_dark(self) -> Exception | None:
        try:
            self._source.make_dark()
        except DeviceAbsent as error:
            self._timer.look_soon()
            return error
        except Exception as error:
            if not isinstance(error, (DeviceError, Interrupted)):
                _log.error('making it dark met an error: %s', error, exc_info=error)
            self._timer.look_later()
            return error
        if self._said:
            _log.info('the device is back and was made dark')
        self._said = False
        self._timer.reset_backoff()
        return None

    def abandon(self) -> None:
        """Note that the source was closed: its light is possibly_lit until it is dark."""
        if self.needed:
            _abandoned.add(self)

    def retire(self) -> None:
        """Give up, for somebody else has made the device dark or looks after it (any thread)."""
        self._retired = True
        _abandoned.discard(self)

    def resume(self) -> None:
        """Begin again: the source is being opened again."""
        self._retired = self._said = False
        _abandoned.discard(self)


@contextmanager
def standing_back() -> Iterator[list[LightGuard]]:
    """
    Keep the guards of closed sources from opening their devices, and yield them.

    Whoever opens a source might find its device in use by one of them, or the other way round.
    """
    guards = sorted(_abandoned, key=id)
    for guard in guards:
        guard._busy.acquire()
    try:
        yield guards
    finally:
        for guard in guards:
            guard._busy.release()
