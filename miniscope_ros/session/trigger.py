# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A digital input of a scope that starts and stops recordings."""

from __future__ import annotations

import time
from typing import Any

from miniscope_ros.session.scope_link import ScopeLink

_DEBOUNCE_S = 0.05
"""A high level has to last so long to begin a recording: the scope publishes no frames then."""

_LOW_FRAMES = 2
"""So many frames in succession have to show the input low to end a recording."""


class Trigger:
    """A digital input without its bounces."""

    def __init__(self, link: ScopeLink, number: int) -> None:
        """Watch one input of a scope for one recording; number 0 is the first."""
        self._link = link
        self._number = number
        self._high_since: float | None = None
        self._low: list[int] = []  # frame_index of the frames that show it low now
        link.on_inputs = self._take_frame

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
        levels = self._link.levels
        now = time.monotonic()
        if levels < 0 or not self._is_set(levels):
            self._high_since = None
            return False
        if self._high_since is None:
            self._high_since = now
        return now - self._high_since >= _DEBOUNCE_S

    def is_low(self) -> bool:
        """Whether enough frames of this recording have shown the input low."""
        return len(self._low) >= _LOW_FRAMES

    def as_dict(self) -> dict[str, Any]:
        """Return for the certificate where the input is, and which frame was the first low one."""
        return {'scope': self._link.name, 'input': self._number,
                'first_low_index': self._low[0] if self.is_low() else None}

    def _take_frame(self, frame_index: int, levels: int) -> None:
        """Take the levels of a recorded frame; an unknown level changes nothing."""
        if self.is_low() or levels < 0:
            return
        if self._is_set(levels):
            self._low.clear()
        else:
            self._low.append(frame_index)

    def _is_set(self, levels: int) -> bool:
        return bool(levels >> self._number & 1)
