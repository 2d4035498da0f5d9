# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of the simulated tissue, as arrays."""
from collections.abc import Iterator

from miniscope_ros.simulation.head_motion import HeadPath
from miniscope_ros.simulation.scene import Exposure, Scene
import numpy as np
from picture_damage import Image


def scene_frames(
        count: int, *, size: tuple[int, int] = (608, 608), seed: int = 1, brightness: float = 0.3,
        first: int = 0, defocus: float = 0.0) -> Iterator[Image]:
    """Yield frames of the simulated tissue, at 30 frames/s."""
    scene = Scene(*size, seed=seed, head=HeadPath(seed))
    yuyv = np.empty((size[1], size[0], 2), np.uint8)
    for number in range(first, first + count):
        scene.render(number / 30, Exposure(brightness, 1.0, defocus), yuyv)
        yield yuyv[..., 0].copy()
