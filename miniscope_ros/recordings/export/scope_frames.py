# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Which frame of a scope belongs to each frame of a camera.

Both have the clock of one computer, so that no pattern is needed, unless the system clock was set
during the recording. The diagnostics report that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
import csv
from pathlib import Path

from miniscope_ros.recordings.bag.tables import RecordedAcquisition
from miniscope_ros.recordings.edges.channel import Times
from miniscope_ros.recordings.export.places import Places
import numpy as np
from numpy.typing import NDArray

COLUMNS = ('Frame Number', 'Time Stamp (ms)', 'Scope', 'Scope Frame Number', 'Difference (ms)',
           'Uncertainty (ms)')
RowsOf = Callable[[RecordedAcquisition], NDArray[np.intp]]
_TO_DEVIATION = 1.4826  # from the median of the distances, for a normal distribution


def write_scope_frames(folder: Path, scopes: Sequence[RecordedAcquisition],
                       cameras: Iterable[RecordedAcquisition], places: Places, rows_of: RowsOf,
                       ) -> None:
    """
    Write scope_frames.csv into the folder of each camera.

    Parameters
    ----------
    folder
        The export, in which each camera has a folder.
    scopes, cameras
        Their acquisitions, each with an image at least.
    places
        Where their folders are. The times of a table are those of the camera's session.
    rows_of
        Returns the rows of an acquisition's images that are in its videos. The frames have the
        numbers that they have there.

    """
    if not scopes:
        return
    for camera in cameras:
        zero_ns = places[camera].start_ns
        times = _times_ms(camera, zero_ns)[rows_of(camera)]
        tables = [(scope, *nearest(times, _times_ms(scope, zero_ns)[rows_of(scope)]),
                   _uncertainty_ms(camera, scope)) for scope in scopes]
        with (folder / places[camera].folder / 'scope_frames.csv').open(
                'w', encoding='utf-8', newline='') as file:
            table = csv.writer(file, lineterminator='\n')
            table.writerow(COLUMNS)
            for number, time_ms in enumerate(times.tolist()):
                for scope, frames, differences, uncertainty in tables:
                    table.writerow((
                        number, repr(time_ms), places[scope].folder, int(frames[number]),
                        repr(float(differences[number])), repr(uncertainty)))


def nearest(times_ms: Times, scope_ms: Times) -> tuple[NDArray[np.intp], Times]:
    """
    Return the scope's frame nearest to each time, and how much later it began.

    Parameters
    ----------
    times_ms
        Shape (n,) [ms].
    scope_ms
        When each frame of the scope began, shape (m,) with m > 0, rising [ms].

    Returns
    -------
    NDArray[np.intp]
        Shape (n,): numbers of the scope's frames. Where the scope did not run, that is more than a
        period before its first frame or after its last one, they are -1.
    Times
        Shape (n,): by how much those are later [ms]; nan where the scope did not run.

    """
    after = np.clip(np.searchsorted(scope_ms, times_ms), 1, max(len(scope_ms) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(scope_ms) - 1)
    is_before = times_ms - scope_ms[before] <= scope_ms[after] - times_ms
    frames = np.where(is_before, before, after)
    differences = scope_ms[frames] - times_ms
    period_ms = float(np.median(np.diff(scope_ms))) if len(scope_ms) > 1 else 0.0
    outside = (times_ms < scope_ms[0] - period_ms) | (times_ms > scope_ms[-1] + period_ms)
    return np.where(outside, -1, frames), np.where(outside, np.nan, differences)


def jitter_ms(times_ms: Times) -> float:
    """
    Return the standard deviation of time stamps, as their intervals show it [ms].

    Whole periods that were lost do not count.

    Parameters
    ----------
    times_ms
        Shape (n,), rising [ms].

    Returns
    -------
    float
        In ms; nan of fewer than three stamps.

    """
    if len(times_ms) < 3:
        return float('nan')
    intervals = np.diff(times_ms)
    period = float(np.median(intervals))
    if period <= 0:
        return float('nan')
    rest = intervals - period * np.maximum(np.round(intervals / period), 1)
    return float(_TO_DEVIATION * np.median(np.abs(rest - np.median(rest))) / np.sqrt(2))


def _times_ms(acquisition: RecordedAcquisition, zero_ns: int) -> Times:
    times: Times = acquisition.images['time_ms'] + (acquisition.start_ns - zero_ns) / 1e6
    return times


def _uncertainty_ms(camera: RecordedAcquisition, scope: RecordedAcquisition) -> float:
    return float(np.hypot(jitter_ms(camera.images['time_ms']), jitter_ms(scope.images['time_ms'])))
