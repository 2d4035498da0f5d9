# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Values of frame_info that contradict the messages before and after."""

from __future__ import annotations

from typing import Any

from miniscope_ros.recordings.bag.starts import SAME_START_NS, starts_ns
import numpy as np
from numpy.typing import NDArray

_LONGEST_RUN = 1000
"""Frames in a row that may have wrong stamps or times; more are another acquisition's."""


def repair_outliers(frames: NDArray[Any]) -> int:
    """
    Replace damaged values of a table by what their neighbours determine, in its place.

    A frame is judged where the frames before and after it have the same start (stamp less
    time_ms) and its number is missing between theirs.

    Parameters
    ----------
    frames
        A FRAME table, shape (n,), in the order of writing. Its values are changed.

    Returns
    -------
    int
        How many messages are repaired.

    """
    if len(frames) < 3:
        return 0
    damaged = np.zeros(len(frames), bool)
    _repair_times(frames, damaged)
    _repair_numbers(frames, damaged)
    return int(damaged.sum())


def _neighbours_agree(frames: NDArray[Any]) -> NDArray[np.bool_]:
    """Return for each frame whether those beside it are of one acquisition and two apart."""
    starts, index = starts_ns(frames), frames['frame_index']
    agree = np.zeros(len(frames), bool)
    agree[1:-1] = (np.abs(starts[2:] - starts[:-2]) <= SAME_START_NS) & (
        index[2:] == index[:-2] + np.uint64(2))
    return agree


def _repair_times(frames: NDArray[Any], damaged: NDArray[np.bool_]) -> None:
    """
    Repair stamps and times; of the two the one is wrong that is not between its neighbours.

    Several in a row are repaired where the numbers of the frames go on and the start is the same
    before and after them.
    """
    starts, stamps = starts_ns(frames), frames['stamp']
    follows = np.append(False, frames['frame_index'][1:] == (
        frames['frame_index'][:-1] + np.uint64(1)))
    end = 0
    for first in np.flatnonzero(np.abs(np.diff(starts)) > SAME_START_NS) + 1:
        if first < end:
            continue
        end = _end_of_run(starts, follows, int(first))
        latest = stamps[first - 1]
        for row in range(first, end):
            if latest < stamps[row] < stamps[end]:
                frames['time_ms'][row] = (stamps[row] - starts[first - 1]) / 1e6
            else:
                frames['stamp'][row] = starts[first - 1] + round(frames['time_ms'][row] * 1e6)
            latest = stamps[row]
            damaged[row] = True


def _end_of_run(starts: NDArray[np.int64], follows: NDArray[np.bool_], first: int) -> int:
    """Return the first frame after one that has the start before it again; else the frame."""
    near = slice(first, first + _LONGEST_RUN + 1)
    goes_on = np.logical_and.accumulate(follows[near])
    back = np.flatnonzero(goes_on & (np.abs(starts[near] - starts[first - 1]) <= SAME_START_NS))
    return first + int(back[0]) if len(back) else first


def _repair_numbers(frames: NDArray[Any], damaged: NDArray[np.bool_]) -> None:
    """Repair frame_index, and then capture_index or lost_before, which follow from each other."""
    starts, index = starts_ns(frames), frames['frame_index']
    stamps = frames['stamp']
    agree = _neighbours_agree(frames)
    agree[1:-1] &= (np.abs(starts[1:-1] - starts[:-2]) <= SAME_START_NS) & (
        stamps[1:-1] > stamps[:-2]) & (stamps[1:-1] < stamps[2:])  # else it stands elsewhere
    one = np.uint64(1)
    jumps = np.zeros(len(frames), bool)
    jumps[1:-1] = index[1:-1] != index[:-2] + one
    for row in np.flatnonzero(agree & jumps):
        if index[row] != index[row - 1] + one:
            frames['frame_index'][row] = index[row - 1] + one
            damaged[row] = True
    capture, lost = frames['capture_index'], frames['lost_before'].astype(np.uint64)
    jumps[1:-1] = capture[1:-1] != capture[:-2] + one + lost[1:-1]
    for row in np.flatnonzero(agree & jumps):
        if capture[row] == capture[row - 1] + one + lost[row]:
            continue
        if capture[row + 1] == capture[row - 1] + lost[row] + lost[row + 1] + one + one:
            frames['capture_index'][row] = capture[row - 1] + one + lost[row]
            damaged[row] = True
        elif (capture[row] > capture[row - 1]
              and capture[row + 1] == capture[row] + one + lost[row + 1]):
            frames['lost_before'][row] = capture[row] - capture[row - 1] - one
            damaged[row] = True
