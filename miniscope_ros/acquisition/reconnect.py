# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""While a device is away: why, and when to look for it again."""

from __future__ import annotations

import time

LOOK_AGAIN = 0.25
"""A device that is absent is looked for so often [s]."""

_LONGEST_BACKOFF = 5.0


class Reconnector:
    """
    One outage after the other; disconnected is what keeps the device from being used, or None.

    Only openings that fail back off: whoever plugs a device in again should not have to wait.
    """

    disconnected: str | None

    def __init__(self) -> None:
        self.end()

    def begin(self, reason: str) -> None:
        """Note that the device was lost, and why."""
        self.disconnected = reason
        self.look_soon()

    def end(self) -> None:
        """Note that the device is back, or no longer looked for."""
        self.disconnected = None
        self.reset_tried = False  # of the USB port
        self.hint = ''  # why that did not help
        self._backoff = LOOK_AGAIN
        self._next_try = 0.0

    def look_soon(self) -> None:
        """Look again in a moment: it is absent, or about to return."""
        self._next_try = time.monotonic() + LOOK_AGAIN

    def look_later(self) -> None:
        """Look again after a while that grows: it is there, but could not be opened."""
        self._next_try = time.monotonic() + self._backoff
        self._backoff = min(2 * self._backoff, _LONGEST_BACKOFF)

    def reset_backoff(self) -> None:
        """Forget how often opening failed: the device was restarted."""
        self._backoff = LOOK_AGAIN
        self.look_soon()

    @property
    def rest(self) -> float:
        """Return how long to wait before it is looked for again [s]."""
        return max(0.0, self._next_try - time.monotonic())
