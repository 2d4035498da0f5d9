# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Losses that some frames show, and that are reported when others agree."""

from __future__ import annotations

from typing import NamedTuple

_UNCLEAR_FRAMES = 10
"""Frames in a row that show a loss whatever their stamps are."""


class _Frame(NamedTuple):
    """What one frame shows."""

    losses: int
    clear: bool


class HeldLoss:
    """
    How many unreported losses the last frames show, one number a frame.

    A frame that is late by most of a period looks like one that follows a lost frame. The frames
    after it show the difference: after a loss they are late, too.
    """

    def __init__(self) -> None:
        self._shown: list[_Frame] = []

    @property
    def pending(self) -> int:
        """Return how many losses the last frame shows that are not reported."""
        return self._shown[-1].losses if self._shown else 0

    def new(self, shown: int) -> int:
        """Return how many of the losses that a frame shows the frame before it did not show."""
        return shown - self.pending

    def add(self, shown: int, needed: int, *, clear: bool = True) -> int:
        """
        Take in how many unreported losses a frame shows; return how many of them to report.

        These are as many as each of the last frames shows, this one included, back to the one
        with which as many clear frames agree as are needed. clear says whether this frame is one:
        its stamp is where a frame is due. Beside one that is not it takes one more. Ten frames
        that are not clear agree, too.
        """
        if shown <= 0:
            self._shown.clear()
            return 0
        self._shown.append(_Frame(shown, clear))
        agreed = self._agreed(needed)
        self.report(agreed)
        return agreed

    def _agreed(self, needed: int) -> int:
        clear = [n for n, frame in enumerate(self._shown) if frame.clear]
        needed += len(clear) < len(self._shown)
        first = clear[-needed] if len(clear) >= needed else len(self._shown)
        if len(self._shown) >= _UNCLEAR_FRAMES:
            first = min(first, len(self._shown) - _UNCLEAR_FRAMES)
        return min((frame.losses for frame in self._shown[first:]), default=0)

    def report(self, count: int) -> None:
        """Note that so many losses are reported: no frame shows them any more."""
        left = [frame._replace(losses=frame.losses - count) for frame in self._shown]
        # What counts is an unbroken run of frames up to the last one.
        gone = [n for n, frame in enumerate(left) if frame.losses <= 0]
        self._shown = left[gone[-1] + 1 if gone else 0:]

    def clear(self) -> None:
        """Forget all."""
        self._shown.clear()
