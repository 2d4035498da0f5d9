# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""How well edges and frames fit, as a picture; matplotlib 3.5 is enough for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from miniscope_ros.recordings.edges.channel import Times
from miniscope_ros.recordings.export.alignment import Alignment
import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_POINTS = 5000  # of a trace: more than a picture has columns


def draw_alignment(path: Path, name: str, frame_s: Times, edges_s: Times, alignment: Alignment,
                   ) -> None:
    """
    Write a PNG: how far the matched edges are from the line, and where some are not matched.

    Raises ImportError where matplotlib is missing.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), constrained_layout=True)
    FigureCanvasAgg(figure)
    over_time, spread = figure.subplots(1, 2, gridspec_kw={'width_ratios': (3, 1)})
    figure.suptitle(
        f'{name}: {len(alignment.frame)} of {alignment.frames} frames matched, drift '
        f'{alignment.drift * 1e6:+.3f} ppm, residual {alignment.residual_s * 1e3:.3f} ms')
    step = max(1, len(alignment.frame) // _MOST_POINTS)
    residuals_ms = alignment.residuals_s * 1000
    over_time.plot(frame_s[alignment.frame][::step], residuals_ms[::step], '.', markersize=2,
                   label='matched')
    # On the clock of the frames.
    others_s = (np.delete(edges_s, alignment.edge) - alignment.offset_s) / (1 + alignment.drift)
    _mark(over_time, others_s, 'tab:orange', f'{len(others_s)} edges not matched')
    alone = alignment.frames - len(alignment.frame)
    _mark(over_time, np.delete(frame_s, alignment.frame) if alone else np.empty(0), 'tab:red',
          f'{alone} frames not matched')
    over_time.set(xlabel='time of the frames [s]', ylabel='edge less line [ms]')
    over_time.legend(loc='upper right')
    spread.hist(residuals_ms, bins=100)
    spread.set(xlabel='edge less line [ms]', ylabel='count')
    figure.savefig(path, dpi=100)


def _mark(axes: Axes, times_s: Times, colour: str, label: str) -> None:
    """Mark times at the lower end of the picture."""
    thinned = times_s[::max(1, len(times_s) // _MOST_POINTS)]
    axes.plot(thinned, np.zeros(len(thinned)), '|', color=colour, label=label, clip_on=False,
              transform=axes.get_xaxis_transform())
