# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""When to try again to reach a device that is not there, and what was tried."""

from __future__ import annotations

from collections.abc import Callable
import logging
import re
import time

from miniscope_ros.errors import MiniscopeError

_log = logging.getLogger(__name__)

LOOK_AGAIN = 0.25
"""Time between two looks for a device that is absent [s]."""

_LONGEST_BACKOFF_S = 5.0

_DURATION = re.compile(r'\d+(\.\d+)? s\b')


class RetryTimer:
    """
    When the next attempt is due.

    Only failed openings make the wait longer. A device that is plugged in again is found soon.
    """

    def __init__(self) -> None:
        self._backoff = LOOK_AGAIN
        self._next_try = 0.0

    def look_soon(self) -> None:
        """Try again in a moment: the device is absent, or about to return."""
        self._next_try = time.monotonic() + LOOK_AGAIN

    def look_later(self) -> None:
        """Try again after a while that grows: it is there, but could not be opened."""
        self._next_try = time.monotonic() + self._backoff
        self._backoff = min(2 * self._backoff, _LONGEST_BACKOFF_S)

    def reset_backoff(self) -> None:
        """Forget how often opening failed: the device was restarted, or is there again."""
        self._backoff = LOOK_AGAIN
        self.look_soon()

    @property
    def rest(self) -> float:
        """Return how long to wait before the next attempt [s]."""
        return max(0.0, self._next_try - time.monotonic())


class Reconnector(RetryTimer):
    """The attempts to reach a lost device, and the reasons that were logged."""

    def __init__(self) -> None:
        super().__init__()
        self.begin('')

    def begin(self, reason: str) -> None:
        """Note that the device was lost, and why."""
        self.reset_tried = False  # of the USB port
        self.hint = ''  # why that did not help
        self._said = _without_durations(reason)
        self.reset_backoff()

    def reset_port(self, hard_reset: Callable[[], str]) -> None:
        """
        Restart a box that opens but sends no frames: it may be frozen.

        The caller does that once an outage. A box that cannot be restarted is no error: hint then
        says why.
        """
        self.reset_tried = True
        try:
            hard_reset()
        except MiniscopeError as error:
            self.hint = f'; its USB port could not be reset: {error}'
        else:
            _log.warning('the USB port of the device was reset')

    def is_news(self, reason: str) -> bool:
        """Return whether a reason is another one than the last; durations make no difference."""
        said, self._said = self._said, _without_durations(reason)
        return said != self._said


def _without_durations(text: str) -> str:
    return _DURATION.sub('', text)
