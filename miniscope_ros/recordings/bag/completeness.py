# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether all is in the bag that was published."""

from __future__ import annotations

from typing import Any

from miniscope_ros.model import ReadingStatus
from miniscope_ros.recordings.bag.tables import RecordedAcquisition
import numpy as np
from numpy.typing import NDArray

# A recorder begins to listen to one topic after the other, and ends so.
_APART_NS = 2_000_000_000


def find_problems(acquisition: RecordedAcquisition) -> None:
    """Add what is missing to the problems of an acquisition."""
    frames, images, problems = acquisition.frames, acquisition.images, acquisition.problems
    if len(images) and not (np.diff(images['time_ms']) > 0).all():
        problems.append('the times of the frames do not always rise')
    if not len(frames):
        problems.append('frame_info is missing: times are the stamps of the images, losses and '
                        'DAQ frame numbers are unknown')
        return
    judged_frames, judged_images = _both(acquisition, frames['stamp'], images['stamp'])
    if without_frame := int((~np.isin(judged_images, judged_frames)).sum()):
        problems.append(f'{without_frame} images have no frame_info')
    if without_image := int((~np.isin(judged_frames, judged_images)).sum()):
        problems.append(f'{without_image} frames have no image in the bag')
    if unrecorded := unrecorded_frames(frames):
        problems.append(f'{unrecorded} published frames are not in the bag')
    published = frames['stamp'][frames['orientation'] == ReadingStatus.PUBLISHED]
    rows = acquisition.orientation['stamp']
    judged, recorded = _both(acquisition, published, rows)
    if missing := int((~np.isin(judged, recorded)).sum()):
        problems.append(f'{missing} of {len(judged)} orientation_rows are not in the bag')


def _both(acquisition: RecordedAcquisition, first: NDArray[np.int64],
          second: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """
    Return what two topics have in the span in which both were recorded.

    Beyond that nothing is judged if it is short; a remark says so.
    """
    if not len(first) or not len(second):
        return first, second
    begin = max(int(first[0]), int(second[0]))
    end = min(int(first[-1]), int(second[-1]))
    early = begin - min(int(first[0]), int(second[0]))
    late = max(int(first[-1]), int(second[-1])) - end
    lower = begin if early <= _APART_NS else begin - early
    upper = end if late <= _APART_NS else end + late
    spans = [stamps[(stamps >= lower) & (stamps <= upper)] for stamps in (first, second)]
    if apart := len(first) + len(second) - len(spans[0]) - len(spans[1]):
        remark = f'topics were not recorded from the same message to the same one ({apart} apart)'
        if remark not in acquisition.remarks:
            acquisition.remarks.append(remark)
    return spans[0], spans[1]


def unrecorded_frames(frames: NDArray[Any]) -> int:
    """Return how many frames between the first and the last the recorder did not write."""
    span = int(frames['frame_index'][-1]) - int(frames['frame_index'][0]) + 1
    return max(0, span - len(frames))
