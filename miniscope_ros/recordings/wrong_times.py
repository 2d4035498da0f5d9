# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Runs of wrong recorded times, told from gaps by what comes after them.

By its deviation a time is so much later than it would be if no frame had been lost since the
last right one. A lost frame raises it for good, and nothing lowers it: a run of times with
another deviation is wrong if after it the deviation is 0 again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LONGEST_RUN = 1000
"""Runs of more wrong times than this are taken for those of another clock [frames]."""

_NEAR = 1.5
"""Intervals by which a time may be off its place: a late one, or one after a lost frame, is."""

_ALIKE = 0.5
"""Intervals by which the deviations of two right times that follow each other differ at most."""

_DRIFT = 0.002
"""Intervals by which it may be off besides, for each frame of the run: the rate is measured."""

_STUCK = 3
"""Equal times in a row that a program does not write of frames that it received."""

_LEAST_EVIDENCE = 3
"""Intervals of 0 or less by which times without right ones after or before them are wrong."""

_REGULAR = (0.5, 1.5)
"""Bounds of a usual interval, in mean ones."""

_SET = 20
"""
Intervals by which a clock that goes on rising has to be off, to be one that was set and set back.

Less may be a clock that was set back, and a loss of as many frames afterwards.
"""


def stuck(times_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each of the times, shape (n,), whether several in a row are the same."""
    found = np.zeros(len(times_ns), bool)
    runs = len(times_ns) - _STUCK + 1
    if runs > 0:
        equal = times_ns[_STUCK - 1:] == times_ns[:runs]
        for place in range(_STUCK - 1):
            equal &= times_ns[place:runs + place] == times_ns[place + 1:runs + place + 1]
        for place in range(_STUCK):
            found[place:runs + place] |= equal
    return found


def wrong_beginning(times_ns: NDArray[np.int64], mean_ns: float) -> int:
    """Return how many of the first times are wrong: they do not rise, and later ones do."""
    steps = np.diff(times_ns[:LONGEST_RUN + _LEAST_EVIDENCE + 1])
    regular = _regular(steps, mean_ns)
    runs = len(regular) - _LEAST_EVIDENCE + 1
    if runs <= 0:
        return 0
    rises = np.logical_and.reduce([regular[n:runs + n] for n in range(_LEAST_EVIDENCE)])
    if not rises.any():
        return 0
    first = int(rises.argmax())
    return first if np.count_nonzero(steps[:first] <= 0) >= _LEAST_EVIDENCE else 0


def wrong_run(times_ns: NDArray[np.int64], before_ns: int, mean_ns: float) -> int:
    """
    Return how many of the first times are wrong; 0 where they may be right.

    Parameters
    ----------
    times_ns
        Times after an odd interval [ns], shape (n,), up to the end of the recording or at least
        LONGEST_RUN + 2 of them.
    before_ns
        The right time before them [ns].
    mean_ns
        The mean interval [ns].

    Returns
    -------
    int
        How many times are wrong, all of them included.

    """
    count = len(times_ns)
    is_stuck = stuck(np.concatenate(([before_ns], times_ns)))
    goes_on = is_stuck[0]  # the time before is repeated, and may be right itself
    is_stuck = is_stuck[1:]
    numbers = np.arange(1, count + 1)
    deviation = (times_ns - before_ns) / mean_ns - numbers
    near = (np.abs(deviation) <= _NEAR + _DRIFT * numbers) & ~is_stuck
    if near[0]:
        return 0
    if goes_on and times_ns[0] == before_ns:
        return _end_of_pause(times_ns, before_ns, deviation)
    back = np.flatnonzero(near & _goes_on(near, deviation))
    if len(back) and (end := int(back[0])) <= LONGEST_RUN and (
            _is_odd(times_ns[:end], mean_ns)
            or _is_undone(times_ns[:end + 1], deviation, mean_ns)):
        return end
    return _end_of_odd_times(times_ns, deviation, mean_ns)


def _goes_on(near: NDArray[np.bool_], deviation: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return for each time whether one of the next two rises from it: else it is so by chance."""
    found = np.zeros(len(near), bool)
    found[-1] = True
    for ahead in (1, 2):
        found[:-ahead] |= near[ahead:] & (
            np.abs(deviation[ahead:] - deviation[:-ahead]) < _ALIKE)
    return found


def _end_of_pause(times_ns: NDArray[np.int64], before_ns: int,
                  deviation: NDArray[np.float64]) -> int:
    """Return how often the time before is repeated; 0 if what follows is too early for that."""
    other = np.flatnonzero(times_ns != before_ns)
    if not len(other):
        return len(times_ns) if len(times_ns) <= LONGEST_RUN else 0
    end = int(other[0])
    return end if end <= LONGEST_RUN and deviation[end] >= -_NEAR else 0


def _end_of_odd_times(times_ns: NDArray[np.int64], deviation: NDArray[np.float64],
                      mean_ns: float) -> int:
    """Return how many times do not rise as usual before some that do; frames were lost there."""
    regular = _regular(np.diff(times_ns), mean_ns)
    ends = np.flatnonzero(regular[:-1] & regular[1:]) if len(regular) > 1 else regular[:0]
    if not len(ends):
        whole = len(times_ns) <= LONGEST_RUN and _is_odd(times_ns, mean_ns)
        return len(times_ns) if whole else 0
    end = int(ends[0])
    # Frames that came together after a while are late, and what was lost meanwhile stays.
    undone = deviation[end] >= -_NEAR and (
        deviation[0] < 0 or deviation[end] <= deviation[0] / 2)
    return end if 0 < end <= LONGEST_RUN and undone and _is_odd(times_ns[:end], mean_ns) else 0


def _is_undone(times_ns: NDArray[np.int64], deviation: NDArray[np.float64],
               mean_ns: float) -> bool:
    """Return whether a jump before the first time is undone by one before the last."""
    steps = np.diff(times_ns)
    rises = np.count_nonzero(_regular(steps, mean_ns)) > len(steps) / 2
    if rises and abs(deviation[0]) < _SET:
        return False
    return bool(steps[-1] > _REGULAR[1] * mean_ns if deviation[0] < 0 else steps[-1] < -mean_ns)


def _is_odd(times_ns: NDArray[np.int64], mean_ns: float) -> bool:
    """Return whether times do not rise as those of a clock do."""
    steps = np.diff(times_ns)
    return (np.count_nonzero(steps <= 0) >= _LEAST_EVIDENCE
            and np.count_nonzero(_regular(steps, mean_ns)) <= len(steps) / 2)


def _regular(steps_ns: NDArray[np.int64], mean_ns: float) -> NDArray[np.bool_]:
    return (steps_ns > _REGULAR[0] * mean_ns) & (steps_ns < _REGULAR[1] * mean_ns)
