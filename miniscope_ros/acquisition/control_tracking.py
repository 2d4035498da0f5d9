# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Which frame is the first one wholly under a control value that was sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from miniscope_ros.model import ControlEvent, Reason

_CERTAIN = 2

Tell = Callable[[ControlEvent, int], None]


@dataclass
class ControlTracker:
    """
    Holds each sent value until the first frame under it is known; then reports both.

    The box executes a packet at the end of the frame during which it was sent, or of the next
    one. That changes the exposure of the following frame in its middle. So the value certainly
    holds two frames after the first frame that began after the sending. A value that is sent
    while the light is switched on holds from the first published frame.
    """

    tell: Tell

    def __post_init__(self) -> None:
        self._held: list[tuple[ControlEvent, bool]] = []

    @property
    def pending(self) -> bool:
        """Return whether a value was sent whose first frame is not known yet."""
        return bool(self._held)

    def add(self, event: ControlEvent, *, lighting_up: bool) -> None:
        """Take in what was just sent."""
        self._held.append((event, lighting_up))

    def resolve(self, stamp_ns: int, capture_index: int, uncertainty: int = 0) -> None:
        """
        Report the values that a frame makes known which began at stamp_ns at the earliest.

        uncertainty is by how many frames its capture_index may still be too low: a loss that time
        alone shows is reported only when other frames show it, and may be of several frames.
        """
        if not self._held:
            return
        held, self._held = self._held, []
        for event, lighting_up in held:
            if event.reason is Reason.STOP:
                self._held.append((event, False))  # a value of the end shows in no frame
            elif lighting_up:
                self.tell(event, capture_index)
            elif event.sent_ns <= stamp_ns:
                self.tell(event, capture_index + _CERTAIN + uncertainty)
            else:
                self._held.append((event, lighting_up))

    def flush(self) -> None:
        """Report the other values without an index: no frame will show them."""
        held, self._held = self._held, []
        for event, _ in held:
            self.tell(event, -1)
