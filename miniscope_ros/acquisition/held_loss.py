# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Losses that some frames show, and that are reported when others agree."""

from __future__ import annotations


class HeldLoss:
    """
    How many unreported losses the last frames show, one number a frame.

    A frame that is late by most of a period looks like one that follows a lost frame. The frames
    after it show the difference: after a loss they are late, too.
    """

    def __init__(self) -> None:
        self._shown: list[int] = []

    @property
    def pending(self) -> int:
        """Return how many losses the last frame shows that are not reported."""
        return self._shown[-1] if self._shown else 0

    def new(self, shown: int) -> int:
        """Return how many of the losses that a frame shows the frame before it did not show."""
        return shown - self.pending

    def add(self, shown: int, needed: int) -> int:
        """
        Take in how many unreported losses a frame shows; return how many of them to report.

        These are as many as each of the last frames shows, needed being the number of frames,
        this one included, that have to agree.
        """
        if shown <= 0:
            self._shown.clear()
            return 0
        self._shown.append(shown)
        agreed = min(self._shown[-needed:]) if len(self._shown) >= needed else 0
        self.report(agreed)
        return agreed

    def report(self, count: int) -> None:
        """Note that so many losses are reported: no frame shows them any more."""
        left = [shown - count for shown in self._shown]
        # What counts is an unbroken run of frames up to the last one.
        while left and min(left) <= 0:
            del left[:next(n for n, shown in enumerate(left) if shown <= 0) + 1]
        self._shown = left

    def clear(self) -> None:
        """Forget all."""
        self._shown.clear()
