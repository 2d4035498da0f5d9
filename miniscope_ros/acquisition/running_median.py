# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The median of the last values."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
import math

_FEW = 4
"""Up to this many values, if even, the lower median is taken: losses make intervals longer."""


class RunningMedian:
    """Median of the last values, kept sorted: O(log n) to find, no arrays per frame."""

    def __init__(self, length: int) -> None:
        self.value = math.nan  # the median; asked for several times a frame
        self._length = length
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._order)

    def add(self, value: float) -> None:
        """Take one value in; the oldest goes when there are more than length."""
        self._order.append(value)
        insort(self._sorted, value)
        if len(self._order) > self._length:
            del self._sorted[bisect_left(self._sorted, self._order.popleft())]
        values = self._sorted
        few = len(values) <= _FEW
        self.value = values[(len(values) - 1) // 2] if few else self.quantile(0.5)

    def quantile(self, share: float) -> float:
        """Return the value below which that share lies; NaN while there is none."""
        values = self._sorted
        return values[int(share * (len(values) - 1) + 0.5)] if values else math.nan

    def clear(self) -> None:
        """Forget all."""
        self._order = deque()
        self._sorted = []
        self.value = math.nan
