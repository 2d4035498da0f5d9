# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Calcium transients of the simulated neurons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BLOCK_S = 20.0  # events are drawn by blocks of this length, so that any time can be asked for
TAIL = 6.0  # a transient has died away after this many decay times
MEDIAN_RATE = 0.07  # [events/s] of a cell
HIGHEST_RATE = 0.5  # [events/s]
RISE_S = (0.05, 0.12)  # time constant, shortest and longest
DECAY_S = (0.4, 1.2)


@dataclass(frozen=True)
class Events:
    """Firing of cells; all arrays have one entry for each event, in the order of the onsets."""

    cell: NDArray[np.intp]
    onset_s: NDArray[np.float64]  # on the scene's time
    size: NDArray[np.float64]  # peak of the transient, about 1


class Activity:
    """
    Poisson events, each with a rise and an exponential decay; the same for the same seed.

    An event's peak is about 1; what that means in brightness is the scene's affair. Time is that
    of the scene [s], whatever the frame rate.
    """

    def __init__(self, seed: int, cells: int) -> None:
        """Draw the characters of the cells."""
        rng = np.random.default_rng([seed, cells])
        self._seed = seed
        self._rates = np.minimum(rng.lognormal(np.log(MEDIAN_RATE), 0.8, cells), HIGHEST_RATE)
        self._rises = rng.uniform(*RISE_S, cells)
        self._decays = rng.uniform(*DECAY_S, cells)
        self._near = lru_cache(maxsize=2)(self._draw_near)

    def at(self, time_s: float) -> NDArray[np.float32]:
        """Return the activity of every cell at a time [s], shape (cells,), at rest 0."""
        events = self._near(int(time_s // BLOCK_S))
        since = time_s - events.onset_s
        decays = self._decays[events.cell]
        lasting = (since > 0) & (since < TAIL * decays)
        cell, since = events.cell[lasting], since[lasting]
        transients = events.size[lasting] * (
            (1 - np.exp(-since / self._rises[cell])) * np.exp(-since / decays[lasting]))
        return np.bincount(cell, transients, len(self._rates)).astype(np.float32)

    def events(self, begin_s: float, end_s: float) -> Events:
        """Return the events whose onset lies in a span of time [s]."""
        blocks = range(max(0, int(begin_s // BLOCK_S)), max(0, int(end_s // BLOCK_S)) + 1)
        events = _joined([self._draw(block) for block in blocks])
        inside = (events.onset_s >= begin_s) & (events.onset_s < end_s)
        return Events(events.cell[inside], events.onset_s[inside], events.size[inside])

    def _draw_near(self, block: int) -> Events:
        """Return the events of a block and of the one before, whose transients reach into it."""
        return _joined([self._draw(one) for one in (block - 1, block) if one >= 0])

    def _draw(self, block: int) -> Events:
        rng = np.random.default_rng([self._seed, block, len(self._rates)])
        counts = rng.poisson(self._rates * BLOCK_S)
        cell = np.repeat(np.arange(len(counts)), counts)
        onset_s = (block + rng.random(len(cell))) * BLOCK_S
        return Events(cell, onset_s, rng.lognormal(-0.1, 0.4, len(cell)))


def _joined(parts: list[Events]) -> Events:
    cell, onset_s, size = (
        np.concatenate([getattr(part, name) for part in parts]) if parts else np.empty(0)
        for name in ('cell', 'onset_s', 'size'))
    order = np.argsort(onset_s, kind='stable')
    return Events(cell[order].astype(np.intp), onset_s[order], size[order])
