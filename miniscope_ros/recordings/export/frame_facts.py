# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What follows from an acquisition's tables: readings of every frame, counters, rows of images."""

from __future__ import annotations

from typing import Any

from miniscope_ros.model import ReadingStatus
from miniscope_ros.recordings.bag.acquisitions import match_stamps
from miniscope_ros.recordings.bag.tables import FRAME, RecordedAcquisition
import numpy as np
from numpy.typing import NDArray


def frames_of_images(acquisition: RecordedAcquisition) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """
    Return a FRAME for each image, and whether it was recorded.

    What of an image without a FrameInfo is unknown is as FrameInfo.msg says it.
    """
    images, frames = acquisition.images, acquisition.frames
    rows = np.zeros(len(images), FRAME)
    rows['stamp'], rows['time_ms'] = images['stamp'], images['time_ms']
    rows['device_time_ms'] = np.nan
    for name in ('device_frame_count', 'sync_edge', 'digital_inputs'):
        rows[name] = -1
    matched = match_stamps(frames['stamp'], images['stamp'])
    known = matched >= 0
    rows[known] = frames[matched[known]]
    return rows, known


def readings(acquisition: RecordedAcquisition) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """
    Return a ROW for each frame with a valid reading, and whether it repeats the one before.

    A repeated reading was not published; it is the last published one. Where the recorder missed
    that one, the reading is unknown, and there is no row.
    """
    rows, frames = acquisition.orientation, acquisition.frames
    status = frames['orientation']
    published = status == ReadingStatus.PUBLISHED
    last = np.maximum.accumulate(np.where(published, np.arange(len(frames)), -1))
    unwritten = (status == ReadingStatus.REPEATED) & ~np.isin(frames['stamp'], rows['stamp'])
    wanted = np.flatnonzero(unwritten & (last >= 0))
    source = match_stamps(rows['stamp'], frames['stamp'][last[wanted]])
    wanted, source = wanted[source >= 0], source[source >= 0]
    added = rows[source]
    for name in ('stamp', 'time_ms'):
        added[name] = frames[name][wanted]
    result = np.concatenate((rows, added))
    order = np.argsort(result['stamp'], kind='stable')
    repeats = np.isin(result['stamp'], frames['stamp'][status == ReadingStatus.REPEATED])
    return result[order], repeats[order]


def filled_counts(frames: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """
    Return the device's counts of frames, and which of them a neighbour determines.

    The counter goes on by 1 from a frame to the next one if nothing was lost between them. Where
    frames were lost it is determined only if the counts on both sides say that each lost frame
    was counted. What is not determined, or what two neighbours say differently, stays -1.
    """
    counts = frames['device_frame_count'].astype(np.int64)
    known = counts >= 0
    if known.all() or not known.any():
        return counts, np.zeros(len(counts), bool)
    capture = frames['capture_index'].astype(np.int64)
    steps = np.diff(capture)
    adjoins = (steps == 1) & (frames['lost_uncertainty'][1:] == 0)
    stretch = np.concatenate(([0], np.cumsum(~adjoins)))  # of frames without a loss
    ahead, behind = _nearest(known)
    agrees = (ahead >= 0) & (behind >= 0) & (
        counts[behind] - counts[ahead] == capture[behind] - capture[ahead]) & (
        # An image without its frame_info has no index.
        (capture[ahead] <= capture) & (capture <= capture[behind]))
    from_ahead = (ahead >= 0) & ((stretch == stretch[ahead]) | agrees)
    from_behind = (behind >= 0) & ((stretch == stretch[behind]) | agrees)
    forward = np.where(from_ahead, counts[ahead] + capture - capture[ahead], -1)
    backward = np.where(from_behind, counts[behind] + capture - capture[behind], -1)
    value = np.where(from_ahead, forward, backward)
    value[from_ahead & from_behind & (forward != backward)] = -1
    filled = ~known & (value >= 0)
    return np.where(filled, value, counts), filled


def _nearest(known: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the nearest known places before and after each one; -1 where there is none."""
    places = np.arange(len(known))
    before = np.maximum.accumulate(np.where(known, places, -1))
    after = np.minimum.accumulate(np.where(known, places, len(known))[::-1])[::-1]
    return before, np.where(after == len(known), -1, after)
