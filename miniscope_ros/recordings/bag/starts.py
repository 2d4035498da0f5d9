# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""When the acquisition began that a frame belongs to, as the frame itself shows it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SAME_START_NS = 2_000_000
"""Starts of one acquisition differ by at most this much [ns]."""


def starts_ns(frames: NDArray[Any]) -> NDArray[np.int64]:
    """
    Return for each frame the start of its acquisition.

    It is the stamp minus the time since frame_index 0. All frames of an acquisition have the same
    one, as their stamps keep to the clock as it was at the start.

    Parameters
    ----------
    frames
        A FRAME table, shape (n,).

    Returns
    -------
    NDArray[np.int64]
        ROS time [ns], shape (n,).

    """
    return np.asarray(frames['stamp'] - np.rint(frames['time_ms'] * 1e6).astype(np.int64))
