# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A digital input of a scope that starts and stops recordings."""

from __future__ import annotations

import time

from miniscope_ros.session.scope_link import ScopeLink

_DEBOUNCE_S = 0.05
"""So long a level has to hold; more than a frame at 30 frames/s, less than anybody notices."""


class Trigger:
    """High while the input is; a level counts once it has held for a while."""

    def __init__(self, link: ScopeLink, number: int) -> None:
        """Name the scope and which of its inputs (0 the first)."""
        self._link = link
        self._number = number
        self._since: dict[bool, float] = {}

    def is_high(self) -> bool:
        """Whether the input is high for good; unknown is not high."""
        return self._holds(True)

    def is_low(self) -> bool:
        """Whether the input is low for good; unknown is not low."""
        return self._holds(False)

    def _holds(self, high: bool) -> bool:
        levels = self._link.levels
        now = time.monotonic()
        if levels < 0 or bool(levels >> self._number & 1) != high:
            self._since.pop(high, None)
            return False
        return now - self._since.setdefault(high, now) >= _DEBOUNCE_S
