# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Which frame each reading of a sensor belongs to, by the times that were recorded.

They are compared as they were recorded, before any of them is corrected: frame and reading were
stamped by the same clock, so a clock that was set, or a stamp that is wrong, is wrong in both.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

_SPREAD_NS = 1000  # [ns] between equal times: whole milliseconds are too coarse to separate them
_SECTIONS_AHEAD = 8  # the most later sections that are searched for a reading


def match_rows(frames_ms: NDArray[np.float64], rows_ms: NDArray[np.float64],
               tolerance_ns: int) -> NDArray[np.int64]:
    """
    Return for each row the frame nearest in time, -1 where none is within the tolerance.

    frames_ms and rows_ms are finite times [ms] in the order of recording; both may step back.
    """
    frames, rows = _spread(frames_ms), _spread(rows_ms)
    if not len(frames):
        return np.full(len(rows), -1)
    borders = np.flatnonzero(np.diff(frames) < 0) + 1
    if not len(borders):
        nearest = np.searchsorted((frames[1:] + frames[:-1]) // 2, rows)
        return np.where(np.abs(frames[nearest] - rows) <= tolerance_ns, nearest, -1)
    return _match_sections(frames, [0, *borders.tolist(), len(frames)], rows, tolerance_ns)


def _match_sections(frames: NDArray[np.int64], borders: list[int], rows: NDArray[np.int64],
                    tolerance_ns: int) -> NDArray[np.int64]:
    """Match rows in order to frames whose times rise only between the borders."""
    times = frames.tolist()
    found = np.full(len(rows), -1)
    present, elsewhere, before = 0, -1, -1
    for row, time_ns in enumerate(rows.tolist()):
        last = min(present + _SECTIONS_AHEAD, len(borders) - 2)
        near = [_nearest(times, borders[section], borders[section + 1], time_ns)
                for section in (*range(present, last + 1), max(present - 1, 0))]
        reached = [(frame <= before, distance, frame) for distance, frame in near
                   if distance <= tolerance_ns]
        if not reached:
            continue
        # Where a clock shows the same time twice, readings go on as frames do.
        *_, frame = min(reached)
        found[row] = frame
        section = bisect_right(borders, frame) - 1
        # A single reading in another section may be one whose own time is wrong.
        if section in (present, elsewhere):
            present, elsewhere, before = section, -1, frame
        else:
            elsewhere = section
    return found


def _nearest(times: list[int], begin: int, end: int, time_ns: int) -> tuple[int, int]:
    """Return the distance [ns] and the number of the frame nearest in time."""
    place = bisect_left(times, time_ns, begin, end)
    candidates = [one for one in (place - 1, place) if begin <= one < end]
    return min((abs(times[one] - time_ns), one) for one in candidates)


def _spread(times_ms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return times [ns]; of equal ones in a row each is a little later than the one before."""
    times = np.rint(times_ms * 1e6).astype(np.int64)
    if not len(times):
        return times
    rises = np.diff(times, prepend=times[0] - 1) != 0
    place = np.arange(len(times))
    first = np.maximum.accumulate(np.where(rises, place, 0))
    result: NDArray[np.int64] = times + (place - first) * _SPREAD_NS
    return result
