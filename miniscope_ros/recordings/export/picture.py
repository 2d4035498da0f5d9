# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Is a recording good? The answer as a picture; matplotlib 3.5 is enough for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from miniscope_ros.recordings.bag.tables import RecordedAcquisition
from miniscope_ros.recordings.export.summary import clock, measured_rate, number, span_s
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRACES = ('qw', 'qx', 'qy', 'qz')
_CONTROL_COLOURS = {'led': 'tab:blue', 'led2': 'tab:cyan', 'gain': 'tab:orange'}
_MOST_POINTS = 5000  # of a trace: more than a picture has columns
_MOST_ROWS = 20  # of the picture


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
        row.suptitle(f'{acquisition.name}: {len(times)} frames, {clock(span_s(times))}, '
                     f'{number(measured_rate(acquisition), 2)} frames/s', fontweight='bold')
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
        axes.legend(loc='upper right', ncol=4)


def _time_axis(acquisition: RecordedAcquisition) -> tuple[float, str]:
    """Return how many seconds a unit of the time axis has, and its name."""
    span = span_s(acquisition.images['time_ms'])
    return (3600.0, 'h') if span > 7200 else (60.0, 'min') if span > 300 else (1.0, 's')
