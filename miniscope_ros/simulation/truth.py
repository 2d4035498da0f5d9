# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What really happened in a simulated scene, at the times at which frames were taken of it."""

from __future__ import annotations

from dataclasses import dataclass

from miniscope_ros.simulation.head_motion import HeadPath
from miniscope_ros.simulation.scene import CELLS, Scene, Strengths
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Truth:
    """The truth behind a recording of n frames with c cells in focus."""

    time_s: NDArray[np.float64]  # (n,) of the scene, when each frame was taken
    positions: NDArray[np.float64]  # (c, 2): x, y [px] of the cells' centres at rest
    footprints: NDArray[np.float32]  # (c, height, width) at rest, in focus, 1 at the peak
    activity: NDArray[np.float32]  # (n, c), 0 at rest, about 1 at the peak of a transient
    spike_cell: NDArray[np.intp]  # (events,)
    spike_time_s: NDArray[np.float64]  # (events,) of the scene
    spike_frame: NDArray[np.intp]  # (events,): the first frame taken after it
    spike_size: NDArray[np.float64]  # (events,): peak of the transient
    motion: NDArray[np.float64]  # (n, 2): x, y [px] of the tissue from rest
    orientation: NDArray[np.float64]  # (n, 4): w, x, y, z of the head


def truth_at(
    times_s: NDArray[np.float64], width: int, height: int, *, seed: int, strengths: Strengths,
) -> Truth:
    """
    Return the truth of a scene of that seed and size [px].

    times_s are the times of the scene [s] at which frames were taken, rising; the simulated box
    reports them as its device time.
    """
    head = HeadPath(seed)
    scene = Scene(width, height, seed=seed, head=head, strengths=strengths)
    events = scene.events(float(times_s[0]), float(times_s[-1]))
    return Truth(
        time_s=times_s, positions=scene.cell_positions,
        footprints=np.stack([scene.cell_footprint(cell) for cell in range(CELLS)]),
        activity=np.stack([scene.activity(time) for time in times_s.tolist()]),
        spike_cell=events.cell, spike_time_s=events.onset_s,
        spike_frame=np.searchsorted(times_s, events.onset_s), spike_size=events.size,
        motion=np.array([scene.motion(time) for time in times_s.tolist()]),
        orientation=np.array([head.orientation(time) for time in times_s.tolist()]))
