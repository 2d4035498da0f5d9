# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Calcium transients of the simulated neurons."""

from __future__ import annotations

from functools import lru_cache
import math

import numpy as np
from numpy.typing import NDArray

BLOCK_S = 20.0  # events are drawn by blocks of this length, so that any frame can be asked for
TAIL = 6.0  # a transient has died away after this many decay times


class Activity:
    """
    Poisson events, each with a rise and an exponential decay; the same for the same seed.

    An event's peak is about 1; what that means in brightness is the scene's affair.
    """

    def __init__(self, seed: int, cells: int, step_s: float) -> None:
        """Draw the cells' characters; a frame lasts step_s [s]."""
        rng = np.random.default_rng([seed, cells])
        self._seed = seed
        self._step_s = step_s
        self._block = max(1, round(BLOCK_S / step_s))  # [frames]
        self._rates = np.minimum(rng.lognormal(np.log(0.07), 0.8, cells), 0.5)  # [events/s]
        self._rises = rng.uniform(0.05, 0.12, cells)  # [s]
        self._decays = rng.uniform(0.4, 1.2, cells)  # [s]
        self._of_block = lru_cache(maxsize=2)(self._draw_block)

    def at(self, frame: int) -> NDArray[np.float32]:
        """Return the activity of every cell at a frame, shape (cells,), at rest 0."""
        block, row = divmod(frame, self._block)
        activity: NDArray[np.float32] = self._of_block(block)[row]
        return activity

    def _draw_block(self, block: int) -> NDArray[np.float32]:
        """Return the activity in a block, shape (frames, cells)."""
        table = np.zeros((self._block, len(self._rates)), np.float32)
        for earlier in (1, 0):  # events of the block before reach into this one
            if block < earlier:
                continue
            rng = np.random.default_rng([self._seed, block - earlier, len(self._rates)])
            counts = rng.poisson(self._rates * self._block * self._step_s)
            for cell in np.repeat(np.arange(len(counts)), counts):
                onset = (rng.random() - earlier) * self._block  # [frames] into this block
                self._add(table, cell, onset, rng.lognormal(-0.1, 0.4))
        table.flags.writeable = False
        return table

    def _add(
            self, table: NDArray[np.float32], cell: int, onset: float, size: float) -> None:
        decay = self._decays[cell]
        first = max(0, math.ceil(onset))
        last = min(len(table), math.ceil(onset + TAIL * decay / self._step_s))
        if last <= first:
            return
        time = (np.arange(first, last) - onset) * self._step_s
        table[first:last, cell] += (
            size * (1 - np.exp(-time / self._rises[cell])) * np.exp(-time / decay))
