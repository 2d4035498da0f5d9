# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""How long to measure, and how often."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """How long to measure [s], how often, and how much."""

    repeats: int = 3
    cost: float = 10.0
    rate: float = 60.0
    latency: float = 60.0
    memory: tuple[float, float] = (60.0, 600.0)
    scale: float = 20.0
    exported: tuple[int, int] = (250, 3000)  # frames of two recordings
    checked_h: float = 8.0


FULL = Effort()
QUICK = Effort(1, 4.0, 4.0, 5.0, (5.0, 15.0), 5.0, (50, 250), 0.5)
