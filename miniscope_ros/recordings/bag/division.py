# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Which frames of a node belong to one acquisition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from miniscope_ros.recordings.bag.starts import SAME_START_NS, starts_ns
import numpy as np
from numpy.typing import NDArray

_LEAST_FRAMES = 4  # average number of an acquisition; where it is less, times were stretched


@dataclass
class Division:
    """The frames of each acquisition, in the order of time."""

    parts: list[NDArray[Any]]  # FRAME
    mixed: bool  # frames of several stand between each other

    def part_of(self, stamps: NDArray[np.int64]) -> NDArray[np.int64]:
        """
        Return to which part each message belongs, by its stamp [ns].

        It is that of the frame of the same stamp, else that of the message before.
        """
        part = np.full(len(stamps), -1)
        for number, frames in enumerate(self.parts):
            if len(frames):
                part[(part < 0) & np.isin(stamps, frames['stamp'])] = number
        known = np.flatnonzero(part >= 0)
        if not known.size:
            return np.zeros(len(stamps), np.int64)
        before = np.searchsorted(known, np.arange(len(stamps)), 'right') - 1
        result: NDArray[np.int64] = part[known[np.maximum(before, 0)]]
        return result


def divide(frames: NDArray[Any], *, in_order: bool) -> Division:
    """
    Divide a FRAME table, whose rows are in the order of writing, into acquisitions.

    in_order says that no message was written before one that was published earlier.
    """
    if not len(frames):
        return Division([frames], False)
    labels = _by_start(frames)
    if labels is None:
        if not in_order:
            frames = frames[np.argsort(frames['stamp'], kind='stable')]
        falls = np.flatnonzero(np.diff(frames['frame_index'].astype(np.int64)) <= 0)
        if len(falls) > len(frames) // _LEAST_FRAMES:
            return Division([frames[rows] for rows in _chains(frames['frame_index'])], True)
        return Division(np.split(frames, falls + 1), False)
    parts, spans = [], []
    for label in range(labels.max() + 1):
        rows = np.flatnonzero(labels == label)
        parts.append(frames[rows][np.argsort(frames['stamp'][rows], kind='stable')])
        spans.append((rows[0], rows[-1]))
    order = sorted(range(len(parts)), key=lambda number: spans[number])
    ends = np.maximum.accumulate([spans[number][1] for number in order])
    begins = np.array([spans[number][0] for number in order])
    return Division([parts[number] for number in order], bool((begins[1:] < ends[:-1]).any()))


def _chains(index: NDArray[np.uint64]) -> list[list[int]]:
    """
    Return the rows of each of several acquisitions that began at the same moment.

    Each row goes on from the one whose number is the nearest below its own.
    """
    chains: list[list[int]] = []
    lasts: list[int] = []  # number of the last row of each
    for row, number in enumerate(index.tolist()):
        below = [last for last in lasts if last < number]
        if below:
            place = lasts.index(max(below))
            chains[place].append(row)
            lasts[place] = number
        else:
            chains.append([row])
            lasts.append(number)
    return chains


def _by_start(frames: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return an acquisition's number for each frame; None where starts do not separate them."""
    starts = starts_ns(frames)
    order = np.argsort(starts, kind='stable')
    labels = np.empty(len(frames), np.int64)
    labels[order] = np.cumsum(np.diff(starts[order], prepend=starts[order[0]]) > SAME_START_NS)
    index = frames['frame_index'].astype(np.int64)
    falls = np.count_nonzero(np.diff(index) <= 0)
    if labels.max() > max(falls, len(frames) // _LEAST_FRAMES):
        return None
    by_time = np.lexsort((frames['stamp'], labels))
    same = np.diff(labels[by_time]) == 0
    return labels if (np.diff(index[by_time])[same] > 0).all() else None
