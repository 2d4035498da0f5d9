# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Sync edges of a scope, and how another recorder saw them."""
import numpy as np

PERIOD_S = 1 / 30
DRIFT = 50e-6
OFFSET_S = 1234.5
JITTER_S = 0.5e-3
UNFINISHED = {30: 1, 71: 1, 113: 1, 170: 1}
"""Frames that a box did not finish before these numbers."""


class Rig:
    """A box, a computer that loses frames, and another recorder with a clock of its own."""

    def __init__(self, hours: float = 3.0, lost: float = 0.01, unfinished: float = 0.3,
                 seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        count = round(hours * 3600 / PERIOD_S)
        exact_s = np.arange(count) * PERIOD_S
        gone = rng.random(count) < lost
        gone[0] = False
        without_edge = gone & (rng.random(count) < unfinished)  # the others are lost on the way
        self.frame_s = (exact_s + rng.normal(0, JITTER_S, count))[~gone]
        self.index = (np.cumsum(~without_edge) - 1)[~gone]
        seen = exact_s[~without_edge]
        self.truth_s = OFFSET_S + seen * (1 + DRIFT)  # of each edge on the other clock
        self.edges_s = np.sort(self.truth_s + rng.normal(0, JITTER_S, len(seen)))
