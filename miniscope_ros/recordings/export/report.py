# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Is a recording good? The answer as text and as a picture."""

from __future__ import annotations

from datetime import datetime
import math
from pathlib import Path
from typing import TYPE_CHECKING

from miniscope_ros.recordings.bag.acquisitions import (
    ORIENTATION_INVALID,
    ORIENTATION_NONE,
    ORIENTATION_REPEATED,
    ORIENTATION_STALE,
    RecordedAcquisition,
    unrecorded_frames,
)
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRACES = ('qw', 'qx', 'qy', 'qz')
_CONTROL_COLOURS = {'led': 'tab:blue', 'led2': 'tab:cyan', 'gain': 'tab:orange'}
_MOST_POINTS = 5000  # of a trace: more than a picture has columns
_MOST_ROWS = 20  # of the picture
_HEALTHY_LOSS = 1e-3  # a good rig loses a frame in 10,000, a bad one 3 in 1000


def describe(acquisition: RecordedAcquisition) -> str:
    """Return some lines on an acquisition, the reading_status first."""
    times, frames = acquisition.images['time_ms'], acquisition.frames
    duration = _span(times)
    lost = int(frames['lost_before'].sum())
    damaged = int(frames['damaged_before'].sum())
    captured = len(frames) + lost + (unrecorded_frames(frames) if len(frames) else 0)
    share = lost / captured if captured else 0.0

    late = int(frames['frame_index'][0]) if len(frames) else 0
    lines = [f'frames        {len(times)}' + (f', from the {late + 1}th on' if late else ''),
             f'duration      {_clock(duration)}, from '
             f'{datetime.fromtimestamp(acquisition.start_ns / 1e9):%Y-%m-%d %H:%M:%S}',
             f'measured rate {_number(measured_rate(acquisition), 3)} frames/s (set: '
             f'{_number(acquisition.frame_rate)})']
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
                     f'longest {intervals[longest]:.1f} ms at {_clock(times[longest] / 1000)}')
    controls = ', '.join(f'{name} {value:g}' for name, value in acquisition.controls.items())
    lines.append(f'controls      {controls or "unknown"}; {len(acquisition.changes)} changes')
    counts = [f'{int((frames["orientation"] == state).sum())} {word}' for state, word in (
        (ORIENTATION_REPEATED, 'repeated'), (ORIENTATION_INVALID, 'invalid'),
        (ORIENTATION_STALE, 'stale'), (ORIENTATION_NONE, 'frames without a reading'))
    ] if len(frames) else []
    lines.append(f'orientation   {len(acquisition.orientation)} rows'
                 + ''.join(f', {count}' for count in counts))

    faults = list(acquisition.problems)
    if share > _HEALTHY_LOSS:
        faults.append(f'{100 * share:.2g} % of the frames were lost; a healthy rig loses 0.01 %')
    reading_status = f'{len(faults)} thing(s) to look at' if faults else 'good'
    title = f'{acquisition.name} ({acquisition.device_type or "unknown type"}): {reading_status}'
    return '\n  '.join([title, *lines, *(f'! {fault}' for fault in faults)])


def measured_rate(acquisition: RecordedAcquisition) -> float:
    """Return the scope's rate [frames/s], lost frames counted; NaN for fewer than 2 frames."""
    frames, times = acquisition.frames, acquisition.images['time_ms']
    if len(frames) > 1 and (span := _span(frames['time_ms'])) > 0:
        return int(frames['capture_index'][-1] - frames['capture_index'][0]) / span
    intervals = np.diff(times)
    return 1000 / float(np.median(intervals)) if len(intervals) and intervals.any() else math.nan


def draw(acquisitions: list[RecordedAcquisition], path: Path) -> None:
    """
    Write a PNG: a row for each acquisition, intervals, losses, controls and orientation.

    Raises ImportError where matplotlib is missing.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = acquisitions[:_MOST_ROWS]
    figure = Figure(figsize=(18, 0.4 + 3.8 * len(shown)), layout='constrained')
    FigureCanvasAgg(figure)
    rows = figure.subfigures(len(shown), 1, squeeze=False)[:, 0]
    for acquisition, row in zip(shown, rows, strict=True):
        times = acquisition.images['time_ms']
        row.suptitle(f'{acquisition.name}: {len(times)} frames, {_clock(_span(times))}, '
                     f'{_number(measured_rate(acquisition), 2)} frames/s', fontweight='bold')
        axes = row.subplots(1, 4)
        _draw_intervals(axes[0], times)
        _draw_losses(axes[1], acquisition)
        _draw_controls(axes[2], acquisition)
        _draw_orientation(axes[3], acquisition)
    if len(shown) < len(acquisitions):
        figure.suptitle(f'the first {len(shown)} of {len(acquisitions)} acquisitions')
    figure.savefig(path, dpi=100)


def _draw_intervals(axes: Axes, times: NDArray[np.float64]) -> None:
    intervals = np.diff(times)
    if len(intervals):
        # Whole periods stay apart: losses show as peaks at 2, 3, .. periods.
        highest = max(intervals.max(), 1.5 * np.median(intervals))
        axes.hist(intervals, bins=100, range=(min(0.0, intervals.min()), highest), log=True)
        axes.set_ylim(bottom=0.7)
    axes.set(xlabel='time from frame to frame [ms]', ylabel='count', title='intervals')


def _draw_losses(axes: Axes, acquisition: RecordedAcquisition) -> None:
    frames = acquisition.frames
    scale, unit = _time_axis(acquisition)
    if len(frames):
        at = frames['time_ms'] / 1000 / scale
        losses = np.cumsum(frames['lost_before'])
        lossy = np.concatenate(([0], np.flatnonzero(frames['lost_before']), [len(frames) - 1]))
        axes.step(at[lossy], losses[lossy], where='post', color='tab:red')
        axes.set_ylim(0, max(1, 1.1 * losses[-1]))
        axes.locator_params(axis='y', integer=True)
    else:
        axes.text(0.5, 0.5, 'unknown', transform=axes.transAxes, ha='center')
    axes.set(xlabel=f'time [{unit}]', ylabel='frames lost so far', title='losses')


def _draw_controls(axes: Axes, acquisition: RecordedAcquisition) -> None:
    scale, unit = _time_axis(acquisition)
    times = acquisition.images['time_ms']
    end = float(times[-1]) / 1000 if len(times) else 0.0
    right = axes.twinx()
    for name, colour in _CONTROL_COLOURS.items():
        steps = [(0.0, acquisition.controls[name])] if name in acquisition.controls else []
        steps += [((change.stamp - acquisition.start_ns) / 1e9, change.value)
                  for change in acquisition.changes if change.control == name]
        if steps:
            steps.append((max(end, steps[-1][0]), steps[-1][1]))
            at, values = np.array(steps).T
            (right if name == 'gain' else axes).step(
                at / scale, values, where='post', color=colour, label=name)
    axes.set(xlabel=f'time [{unit}]', title='LED and gain')
    for side, headroom, name in ((axes, 1.1, 'led'), (right, 1.5, 'gain')):  # lines stay apart
        side.set_ylim(0, headroom * max(1.0, side.dataLim.y1))
        side.set_ylabel(name, color=_CONTROL_COLOURS[name])


def _draw_orientation(axes: Axes, acquisition: RecordedAcquisition) -> None:
    rows = acquisition.orientation
    scale, unit = _time_axis(acquisition)
    thinned = rows[::max(1, len(rows) // _MOST_POINTS)]
    for name in _TRACES:
        axes.plot(thinned['time_ms'] / 1000 / scale, thinned[name], linewidth=0.8, label=name)
    axes.set(xlabel=f'time [{unit}]', ylabel='quaternion [au]', ylim=(-1.05, 1.4),
             title='head orientation' if len(rows) else 'no head orientation')
    if len(rows):
        axes.legend(loc='upper right', ncols=4)


def _time_axis(acquisition: RecordedAcquisition) -> tuple[float, str]:
    """Return how many seconds a unit of the time axis has, and its name."""
    span = _span(acquisition.images['time_ms'])
    return (3600.0, 'h') if span > 7200 else (60.0, 'min') if span > 300 else (1.0, 's')


def _span(times_ms: NDArray[np.float64]) -> float:
    """Return the time from the first to the last frame [s]."""
    return float(times_ms[-1] - times_ms[0]) / 1000 if len(times_ms) else 0.0


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(float(seconds), 1), 60)
    return f'{int(minutes) // 60}:{int(minutes) % 60:02}:{seconds:04.1f}'


def _number(value: float, digits: int | None = None) -> str:
    if not math.isfinite(value):
        return 'unknown'
    return f'{value:g}' if digits is None else f'{value:.{digits}f}'
