# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Is a recording good? The answer as text."""

from __future__ import annotations

from datetime import datetime
import math

from miniscope_ros.model import ReadingStatus
from miniscope_ros.recordings.bag.completeness import unrecorded_frames
from miniscope_ros.recordings.bag.tables import RecordedAcquisition
import numpy as np
from numpy.typing import NDArray

_HEALTHY_LOSS = 1e-3  # a good rig loses a frame in 10,000, a bad one 3 in 1000
_RATE_TOLERANCE = 0.05  # the node itself warns from here on


def describe(acquisition: RecordedAcquisition) -> str:
    """Return some lines on an acquisition, whether it is good first."""
    times, frames = acquisition.images['time_ms'], acquisition.frames
    duration = span_s(times)
    lost = int(frames['lost_before'].sum())
    damaged = int(frames['damaged_before'].sum())
    captured = len(frames) + lost + (unrecorded_frames(frames) if len(frames) else 0)
    share = lost / captured if captured else 0.0

    late = int(frames['frame_index'][0]) if len(frames) else 0
    lines = [f'frames        {len(times)}' + (f', from the {late + 1}th on' if late else ''),
             f'duration      {clock(duration)}, from '
             f'{datetime.fromtimestamp(acquisition.start_ns / 1e9):%Y-%m-%d %H:%M:%S}',
             f'measured rate {number(measured_rate(acquisition), 3)} frames/s (set: '
             f'{number(acquisition.frame_rate)})']
    if len(frames):
        lines.append(f'lost          {lost} of {captured} ({100 * share:.3g} %), {damaged} of '
                     'them received damaged')
    else:
        lines.append('lost          unknown')
    if len(times) > 2:
        intervals = np.diff(times)
        longest = int(intervals.argmax())
        low, middle, high = np.percentile(intervals, (1, 50, 99))
        lines.append(f'intervals     median {middle:.2f} ms, 1..99 % {low:.2f}..{high:.2f} ms, '
                     f'longest {intervals[longest]:.1f} ms at {clock(times[longest] / 1000)}')
    controls = ', '.join(f'{name} {value:g}' for name, value in acquisition.controls.items())
    lines.append(f'controls      {controls or "unknown"}; {len(acquisition.changes)} changes')
    counts = [f'{int((frames["orientation"] == state).sum())} {word}' for state, word in (
        (ReadingStatus.REPEATED, 'repeated'), (ReadingStatus.INVALID, 'invalid'),
        (ReadingStatus.STALE, 'stale'), (ReadingStatus.NONE, 'frames without a reading'))
    ] if len(frames) else []
    lines.append(f'orientation   {len(acquisition.orientation)} rows'
                 + ''.join(f', {count}' for count in counts))

    lines += acquisition.remarks
    faults = [*acquisition.problems, *_faults(acquisition, share, late)]
    verdict = f'{len(faults)} thing(s) to look at' if faults else 'good'
    title = f'{acquisition.name} ({acquisition.device_type or "unknown type"}): {verdict}'
    return '\n  '.join([title, *lines, *(f'! {fault}' for fault in faults)])


def _faults(acquisition: RecordedAcquisition, share: float, late: int) -> list[str]:
    """Return what is wrong with the acquisition itself, not with its recording in the bag."""
    faults = []
    if late:
        faults.append(f'the first {late} frames of the acquisition are not in the bag: the '
                      'recording began late')
    if share > _HEALTHY_LOSS:
        faults.append(f'{100 * share:.2g} % of the frames were lost; a healthy rig loses 0.01 %')
    if acquisition.frame_rate > 0:
        off = measured_rate(acquisition) / acquisition.frame_rate - 1
        if abs(off) >= _RATE_TOLERANCE:
            faults.append(f'the measured rate is {100 * off:+.1f} % off the set one')
    return faults


def measured_rate(acquisition: RecordedAcquisition) -> float:
    """Return the scope's rate [frames/s], lost frames counted; NaN for fewer than 2 frames."""
    frames, times = acquisition.frames, acquisition.images['time_ms']
    if len(frames) > 1 and (span := span_s(frames['time_ms'])) > 0:
        return (int(frames['capture_index'][-1]) - int(frames['capture_index'][0])) / span
    intervals = np.diff(times)
    return 1000 / float(np.median(intervals)) if len(intervals) and intervals.any() else math.nan


def span_s(times_ms: NDArray[np.float64]) -> float:
    """Return the time from the first to the last frame [s]."""
    return float(times_ms[-1] - times_ms[0]) / 1000 if len(times_ms) else 0.0


def clock(seconds: float) -> str:
    """Return a duration [s] as hours:minutes:seconds."""
    minutes, seconds = divmod(round(float(seconds), 1), 60)
    return f'{int(minutes) // 60}:{int(minutes) % 60:02}:{seconds:04.1f}'


def number(value: float, digits: int | None = None) -> str:
    """Return a number in words, with so many digits behind the point."""
    if not math.isfinite(value):
        return 'unknown'
    return f'{value:g}' if digits is None else f'{value:.{digits}f}'
