# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Is a recording good? The answer as a page to look at; matplotlib 3.5 is enough for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import shorten, wrap
from typing import NamedTuple, TYPE_CHECKING

from miniscope_ros.recordings.bag.tables import RecordedAcquisition
from miniscope_ros.recordings.export.messages import say
from miniscope_ros.recordings.export.picture_statistics import PictureStatistics
from miniscope_ros.recordings.export.strips import draw_strips
from miniscope_ros.recordings.export.summary import (
    clock,
    Description,
    measured_rate,
    number,
    span_s,
)
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _ROW_HEIGHT = 15.0, 10.0  # [inch] of the page, and of what is said of one acquisition
_DPI = 100
_MOST_ROWS = 10  # of the page
_LINE = 170  # characters
_MOST_LINES = 4  # of things to look at


class Shown(NamedTuple):
    """An acquisition, what was seen of its pictures, and what is said of it."""

    acquisition: RecordedAcquisition
    statistics: PictureStatistics
    description: Description


def draw_safely(draw: Callable[[Path], None], picture: Path) -> None:
    """Have a picture drawn; where that cannot be, only say so: the data do not depend on it."""
    try:
        draw(picture)
    except ImportError:
        say('no picture: it needs matplotlib (apt install python3-matplotlib)')
    except OSError as error:
        say(f'no picture: {picture} cannot be written: {error.strerror}')
    except Exception as error:  # matplotlib has many versions
        picture.unlink(missing_ok=True)
        say(f'no picture: {type(error).__name__}: {error}')


def draw(shown: list[Shown], heading: str, path: Path) -> None:
    """
    Write a PNG: the heading, and for each acquisition projections, intervals, and what changed.

    Raises ImportError where matplotlib is missing.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    left_out = len(shown) - _MOST_ROWS
    if left_out > 0:
        heading += f'\nthe first {_MOST_ROWS} of {len(shown)} acquisitions'
    shown = shown[:_MOST_ROWS]
    figure = Figure(figsize=(_WIDTH, 0.8 + _ROW_HEIGHT * len(shown)), layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(heading, fontsize=11)
    rows = figure.subfigures(len(shown), 1, squeeze=False)[:, 0]
    for one, row in zip(shown, rows, strict=True):
        row.suptitle(_title(one), fontweight='bold', fontsize=11)
        left, right = row.subfigures(1, 2, width_ratios=(1, 2.4))
        mean, maximum, intervals = left.subplots(3, 1)
        projections = one.statistics.projections
        _draw_projection(mean, projections.mean, f'mean of {projections.count} pictures')
        _draw_projection(maximum, projections.maximum, 'brightest of each pixel')
        _draw_intervals(intervals, one.acquisition.images['time_ms'])
        draw_strips(right, one.acquisition, one.statistics.brightness)
    figure.savefig(path, dpi=_DPI)


def _title(one: Shown) -> str:
    acquisition, faults = one.acquisition, one.description.faults
    times = acquisition.images['time_ms']
    lines = [f'{acquisition.name} ({acquisition.device_type or acquisition.topic}): {len(times)} '
             f'frames, {clock(span_s(times))}, {number(measured_rate(acquisition), 2)} frames/s: '
             f'{"good" if not faults else f"{len(faults)} thing(s) to look at"}']
    for fault in faults[:_MOST_LINES]:
        lines += wrap(shorten(fault, 2 * _LINE), _LINE)
    if len(faults) > _MOST_LINES:
        lines.append('.. (more in the text of the report)')
    return '\n'.join(lines)


def _draw_projection(axes: Axes, pixels: NDArray[np.uint8], title: str) -> None:
    axes.set_axis_off()
    if not pixels.size:
        axes.set_title('no picture was read')
        return
    if pixels.ndim == 3:
        axes.imshow(pixels[..., ::-1])  # BGR
    else:
        low, high = np.percentile(pixels, (0.5, 99.5))
        if high - low < 1:
            low, high = 0, 255
        axes.imshow(pixels, cmap='gray', vmin=low, vmax=high)
        title += f'; black is {low:.0f}, white {high:.0f}'
    axes.set_title(title, fontsize=10)


def _draw_intervals(axes: Axes, times: NDArray[np.float64]) -> None:
    intervals = np.diff(times)
    if len(intervals):
        # Whole periods stay apart: losses show as peaks at 2, 3, .. periods.
        highest = max(intervals.max(), 1.5 * np.median(intervals))
        axes.hist(intervals, bins=100, range=(min(0.0, intervals.min()), highest), log=True)
        axes.set_ylim(bottom=0.7)
    axes.set(xlabel='time from frame to frame [ms]', ylabel='count')
    axes.set_title('intervals', fontsize=10)
