# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Is a recording good? The answer as text."""

from __future__ import annotations

from datetime import datetime
import math
from typing import NamedTuple

from miniscope_ros.model import Content, ReadingStatus
from miniscope_ros.recordings.bag.completeness import unrecorded_frames
from miniscope_ros.recordings.bag.tables import RecordedAcquisition
from miniscope_ros.recordings.export.brightness import Brightness, Jump, SATURATED_SHARE
from miniscope_ros.recordings.export.frame_facts import filled_counts
import numpy as np
from numpy.typing import NDArray

_HEALTHY_LOSS = 1e-3  # a good rig loses a frame in 10,000, a bad one 3 in 1000
_UNKNOWN_COUNTS = 0.01  # share of the frames
_SATURATED_FRAMES = 0.05  # share of the frames
_NAMED = 5  # the most jumps that are named one by one
_CONTENTS = {
    Content.BLOCKS_MISPLACED: 'have misplaced or missing parts',
    Content.BANDED: 'show bands of interference', Content.DARK: 'are black although the light '
    'is on', Content.REPEATED: 'are the one before once more'}
_RATE_TOLERANCE = 0.05  # the node itself warns from here on


class Description(NamedTuple):
    """What is said of an acquisition."""

    text: str
    faults: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Return whether there is nothing to look at."""
        return not self.faults


def describe(acquisition: RecordedAcquisition, brightness: Brightness) -> Description:
    """Return some lines on an acquisition, whether it is good first."""
    times, frames = acquisition.images['time_ms'], acquisition.frames
    duration = span_s(times)
    lost = int(frames['lost_before'].sum())
    damaged = int(frames['damaged_before'].sum())
    captured = len(frames) + lost + (unrecorded_frames(frames) if len(frames) else 0)
    share = lost / captured if captured else 0.0

    late = int(frames['frame_index'][0]) if len(frames) else 0
    faults = [*acquisition.problems, *_faults(acquisition, share, late)]
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
    if not acquisition.is_camera:
        lines += _settings(acquisition)
    for more, complaints in (_counters(acquisition), _content(acquisition),
                             _light(acquisition, brightness)):
        lines += more
        faults += complaints
    lines += acquisition.remarks
    verdict = f'{len(faults)} thing(s) to look at' if faults else 'good'
    kind = acquisition.topic if acquisition.is_camera else (
        acquisition.device_type or 'unknown type')
    title = f'{acquisition.name} ({kind}): {verdict}'
    return Description(
        '\n  '.join([title, *lines, *(f'! {fault}' for fault in faults)]), tuple(faults))


def _settings(acquisition: RecordedAcquisition) -> list[str]:
    """Return lines on controls and orientation."""
    frames = acquisition.frames
    controls = ', '.join(f'{name} {value:g}' for name, value in acquisition.controls.items())
    counts = [f'{int((frames["orientation"] == state).sum())} {word}' for state, word in (
        (ReadingStatus.REPEATED, 'repeated'), (ReadingStatus.INVALID, 'invalid'),
        (ReadingStatus.STALE, 'stale'), (ReadingStatus.NONE, 'frames without a reading'))
    ] if len(frames) else []
    return [f'controls      {controls or "unknown"}; {len(acquisition.changes)} changes',
            f'orientation   {len(acquisition.orientation)} rows'
            + ''.join(f', {count}' for count in counts)]


def _counters(acquisition: RecordedAcquisition) -> tuple[list[str], list[str]]:
    """Return lines and faults on the device's own counter."""
    frames = acquisition.frames
    if not len(frames):
        return [], []
    counts, filled = filled_counts(frames)
    unknown = int((counts < 0).sum())
    if unknown == len(counts):
        return ['DAQ counter   unknown'], []
    text = f'{unknown} of {len(counts)} unknown, {int(filled.sum())} filled by their neighbours'
    share = unknown / len(counts)
    return [f'DAQ counter   {text}'], [
        f'{100 * share:.2g} % of the DAQ frame numbers are unknown'] * (share > _UNKNOWN_COUNTS)


def _content(acquisition: RecordedAcquisition) -> tuple[list[str], list[str]]:
    """Return lines and faults on what the pictures themselves show."""
    content, times = acquisition.frames['content'], acquisition.frames['time_ms']
    found = []
    for verdict, words in _CONTENTS.items():
        places = np.flatnonzero(content == verdict)
        if places.size:
            found.append(f'{places.size} pictures {words} (the first at '
                         f'{clock(times[places[0]] / 1000)})')
    if not (content != Content.NOT_CHECKED).any():
        return [], []
    return [f'pictures      {int((content == Content.OK).sum())} whole, '
            f'{int((content == Content.NOT_CHECKED).sum())} not checked'], found


def _light(acquisition: RecordedAcquisition, brightness: Brightness,
           ) -> tuple[list[str], list[str]]:
    """Return lines and faults on brightness and saturation."""
    times = acquisition.images['time_ms']
    known = np.isfinite(brightness.mean)
    if not known.any():
        return [], []
    rows = brightness.saturated_rows()
    lines = [f'brightness    mean {np.nanmean(brightness.mean):.1f} of 255, '
             f'{np.nanmin(brightness.mean):.1f}..{np.nanmax(brightness.mean):.1f}',
             f'saturated     {100 * np.nanmean(brightness.saturated):.2g} % of the pixels; more '
             f'than {100 * SATURATED_SHARE:g} % in {rows.size} frames'
             + (f', from {clock(times[rows[0]] / 1000)} to {clock(times[rows[-1]] / 1000)}'
                if rows.size else '')]
    faults = []
    if rows.size > _SATURATED_FRAMES * int(known.sum()):
        faults.append(f'{100 * rows.size / known.sum():.2g} % of the frames are saturated, '
                      f'the first at {clock(times[rows[0]] / 1000)}: lower LED or gain')
    jumps = brightness.jumps(acquisition)
    lines += [f'jump          {_jump(jump, times)}, after {jump.change.control} was set to '
              f'{jump.change.value:g}' for jump in jumps[:_NAMED] if jump.change is not None]
    unexplained = [jump for jump in jumps if jump.change is None]
    faults += [f'the brightness jumps {_jump(jump, times)}, and no control was changed'
               for jump in unexplained[:_NAMED]]
    if len(jumps) > _NAMED:
        lines.append(f'jumps         {len(jumps)} in all')
    return lines, faults


def _jump(jump: Jump, times: NDArray[np.float64]) -> str:
    return (f'from {jump.before:.1f} to {jump.after:.1f} at frame {jump.row} '
            f'({clock(times[jump.row] / 1000)})')


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
