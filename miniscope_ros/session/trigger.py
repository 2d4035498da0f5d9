# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A digital input of a scope that starts and stops recordings."""

from __future__ import annotations

import time

from miniscope_ros.session.scope_link import ScopeLink

_DEBOUNCE_S = 0.05
"""A level has to last so long to count. That is more than the period of a frame at 30 frames/s."""


class Trigger:
    """A digital input without its bounces: a level counts once it has lasted for a while."""

    def __init__(self, link: ScopeLink, number: int) -> None:
        """Watch one input of a scope; number 0 is the first."""
        self._link = link
        self._number = number
        self._since: dict[bool, float] = {}

    @property
    def is_unknown(self) -> bool:
        """Return whether the scope has not reported the level of its inputs."""
        return self._link.levels < 0

    @property
    def unknown(self) -> str:
        """Return what to say where the level stays unknown."""
        return (f'{self._link.name} does not report its digital inputs, so the trigger cannot be '
                'read: set its transport to usb, or trigger.action to none')

    def is_high(self) -> bool:
        """Whether the input has been high for long enough; an unknown level is not high."""
        return self._holds(True)

    def is_low(self) -> bool:
        """Whether the input has been low for long enough; an unknown level is not low."""
        return self._holds(False)

    def _holds(self, high: bool) -> bool:
        levels = self._link.levels
        now = time.monotonic()
        if levels < 0 or bool(levels >> self._number & 1) != high:
            self._since.pop(high, None)
            return False
        return now - self._since.setdefault(high, now) >= _DEBOUNCE_S
