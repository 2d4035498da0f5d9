# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Recorded times: made to rise, and how fast they do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LEAST_STEP_NS = 1000
_UNKNOWN_INTERVAL_NS = 1_000_000_000


def rising_ns(times_ms: NDArray[np.float64]) -> tuple[NDArray[np.int64], str]:
    """
    Return the times [ns], each at least 1 us above the one before, and what was changed.

    Programs that write whole milliseconds give two frames that arrived together the same time.
    """
    times = np.rint(times_ms * 1e6).astype(np.int64)
    steps = np.arange(len(times), dtype=np.int64) * _LEAST_STEP_NS
    rising = np.maximum.accumulate(times - steps) + steps
    shift = rising - times
    if not shift.any():
        return times, ''
    return rising, (f'{np.count_nonzero(shift)} are moved up, by at most '
                    f'{shift.max() / 1e6:.3f} ms')


def pace(times_ns: NDArray[np.int64], frame_rate: float) -> tuple[int, float]:
    """
    Return the median interval [ns] and the frame rate [frames/s].

    frame_rate is the recorded one, NaN where there is none; one frame alone has its interval.
    """
    if len(times_ns) > 1:
        interval_ns = int(np.median(np.diff(times_ns)))
    else:
        interval_ns = round(1e9 / frame_rate) if frame_rate > 0 else _UNKNOWN_INTERVAL_NS
    return interval_ns, frame_rate if frame_rate > 0 else 1e9 / interval_ns
