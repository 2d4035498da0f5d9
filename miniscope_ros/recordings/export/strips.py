# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What changed while a scope recorded, as strips above one time axis."""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

from miniscope_ros.model import Content
from miniscope_ros.recordings.bag.tables import RecordedAcquisition
from miniscope_ros.recordings.export.brightness import Brightness
from miniscope_ros.recordings.export.summary import span_s
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRACES = ('qw', 'qx', 'qy', 'qz')
_LIGHT = {'led': 'tab:blue', 'led2': 'tab:cyan'}
_POINTS = 3000  # of a trace: more than a page has columns
# Told apart by place and shape, not by colour alone.
_MARKED = ((Content.BLOCKS_MISPLACED, 'x', 'misplaced'), (Content.BANDED, '_', 'bands'),
           (Content.DARK, 'v', 'dark'), (Content.REPEATED, '|', 'repeated'))


def draw_strips(figure: Any, acquisition: RecordedAcquisition, brightness: Brightness) -> None:
    """
    Draw losses, brightness, light, gain and focus, and orientation into a figure.

    Of another driver's camera only the brightness is known.
    """
    scale, unit = _time_axis(acquisition)
    if acquisition.is_camera:
        strips = figure.subplots(1, 1, squeeze=False)[:, 0]
        _draw_brightness(strips[0], acquisition, brightness, scale)
    else:
        strips = figure.subplots(5, 1, sharex=True)
        _draw_losses(strips[0], acquisition, scale)
        _draw_brightness(strips[1], acquisition, brightness, scale)
        _draw_controls(strips[2], acquisition, scale, _LIGHT, 'light')
        _draw_pair(strips[3], acquisition, scale)
        _draw_orientation(strips[4], acquisition, scale)
    strips[-1].set_xlabel(f'time [{unit}]')
    for axes in strips:
        axes.grid(axis='x', alpha=0.3)


def _draw_losses(axes: Axes, acquisition: RecordedAcquisition, scale: float) -> None:
    frames = acquisition.frames
    axes.set_ylabel('frames lost\nso far')
    if not len(frames):
        axes.text(0.5, 0.5, 'unknown', transform=axes.transAxes, ha='center')
        return
    at = frames['time_ms'] / 1000 / scale
    losses = np.cumsum(frames['lost_before'])
    lossy = np.concatenate(([0], np.flatnonzero(frames['lost_before']), [len(frames) - 1]))
    axes.step(at[lossy], losses[lossy], where='post', color='tab:red')
    top = max(1.0, 1.1 * float(losses[-1]))
    axes.set_ylim(0, 1.35 * top)
    axes.locator_params(axis='y', integer=True)
    for verdict, marker, name in _MARKED:
        places = np.flatnonzero(frames['content'] == verdict)
        if places.size:
            axes.plot(at[_thinned(places)], np.full(len(_thinned(places)), 1.2 * top), marker,
                      color='black', label=f'{places.size} {name}')
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc='upper left', ncol=4, fontsize=8, title='pictures', title_fontsize=8)


def _draw_brightness(axes: Axes, acquisition: RecordedAcquisition, brightness: Brightness,
                     scale: float) -> None:
    axes.set_ylabel('mean grey\nvalue')
    known = np.flatnonzero(np.isfinite(brightness.mean))
    if not known.size:
        axes.text(0.5, 0.5, 'no picture was read', transform=axes.transAxes, ha='center')
        return
    # Lowest and highest of each stretch: a single dark frame of a day shows, too.
    stretches = np.array_split(known, min(len(known), _POINTS))
    at = np.array([acquisition.images['time_ms'][part[0]] for part in stretches]) / 1000 / scale
    low, high = (np.array([choose(brightness.mean[part]) for part in stretches])
                 for choose in (np.min, np.max))
    axes.fill_between(at, low, high, color='tab:blue', alpha=0.4, linewidth=0)
    axes.plot(at, [float(np.mean(brightness.mean[part])) for part in stretches],
              color='tab:blue', linewidth=0.9)
    span = max(1.0, float(high.max() - low.min()))
    axes.set_ylim(max(0.0, low.min() - 0.1 * span), high.max() + 0.1 * span)
    right = axes.twinx()
    right.plot(at, [100 * float(np.max(brightness.saturated[part])) for part in stretches],
               color='tab:orange', linewidth=0.9)
    right.set_ylim(0, max(1.0, 1.1 * 100 * float(np.max(brightness.saturated[known]))))
    right.set_ylabel('pixels at\n255 [%]', color='tab:orange')


def _draw_controls(axes: Axes, acquisition: RecordedAcquisition, scale: float,
                   colours: dict[str, str], label: str, least: float | None = 0.0) -> None:
    times = acquisition.images['time_ms']
    end = float(times[-1]) / 1000 if len(times) else 0.0
    drawn = []
    for name, colour in colours.items():
        steps = [(0.0, acquisition.controls[name])] if name in acquisition.controls else []
        steps += [((change.stamp - acquisition.start_ns) / 1e9, change.value)
                  for change in acquisition.changes if change.control == name]
        if steps:
            steps.append((max(end, steps[-1][0]), steps[-1][1]))
            at, values = np.array(steps).T
            axes.step(at / scale, values, where='post', color=colour, label=name)
            drawn += values.tolist()
    if drawn:
        low = min(drawn) if least is None else least
        span = max(1.0, max(drawn) - low)
        axes.set_ylim(low - (0.15 * span if least is None else 0.0), low + 1.25 * span)
    else:
        axes.set_yticks([])
        label += ' unknown'
    axes.set_ylabel(label, color=next(iter(colours.values())) if len(colours) == 1 else 'black')
    if len(colours) > 1 and drawn:
        axes.legend(loc='upper right', ncol=2, fontsize=8)


def _draw_pair(axes: Axes, acquisition: RecordedAcquisition, scale: float) -> None:
    _draw_controls(axes, acquisition, scale, {'gain': 'tab:purple'}, 'gain')
    _draw_controls(axes.twinx(), acquisition, scale, {'focus': 'tab:olive'}, 'focus', None)


def _draw_orientation(axes: Axes, acquisition: RecordedAcquisition, scale: float) -> None:
    rows = acquisition.orientation
    thinned = rows[_thinned(np.arange(len(rows)))]
    for name in _TRACES:
        axes.plot(thinned['time_ms'] / 1000 / scale, thinned[name], linewidth=0.8, label=name)
    axes.set_ylim(-1.05, 1.5)
    axes.set_ylabel('head\n(quaternion)' if len(rows) else 'no head\norientation')
    if len(rows):
        axes.legend(loc='upper right', ncol=4, fontsize=8)


def _thinned(places: NDArray[np.intp]) -> NDArray[np.intp]:
    return places[::max(1, len(places) // _POINTS)]


def _time_axis(acquisition: RecordedAcquisition) -> tuple[float, str]:
    """Return how many seconds a unit of the time axis has, and its name."""
    span = span_s(acquisition.images['time_ms'])
    return (3600.0, 'h') if span > 7200 else (60.0, 'min') if span > 300 else (1.0, 's')
