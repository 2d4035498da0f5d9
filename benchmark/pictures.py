# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the check of a picture costs in a loop of its own, beside a plain copy of the picture."""
from collections.abc import Callable
import time

from miniscope_ros.acquisition.content import ContentChecker
import numpy as np
from numpy.typing import NDArray

from .exports import pictures
from .report import Row

GOAL_MS = 0.15
TURNS = 10


def check_alone() -> Row:
    """Return the row: thread CPU time [ms] of a check, the least of some turns, and the ratio."""
    images = pictures()
    checker = ContentChecker(*images.shape[:0:-1], has_blocks=True)
    copy = np.empty_like(images[0])
    checks, copies = [], []
    # In turns, so that what else the computer does befalls both alike.
    for _ in range(TURNS):
        copies.append(_time_ms(lambda image: np.copyto(copy, image), images))
        checks.append(_time_ms(lambda image: checker.check(image, lit=True), images))
    check_ms, copy_ms = min(checks), min(copies)
    return Row(
        7, 'check of the picture in a loop of its own, 608x608, beside a copy of it',
        f'{check_ms:.3f} ms ({check_ms / copy_ms:.1f} x)', f'{copy_ms:.3f} ms',
        f'<= {GOAL_MS:g} ms', check_ms <= GOAL_MS, {'ms': check_ms, 'floor': copy_ms})


def _time_ms(function: Callable[[NDArray[np.uint8]], object], images: NDArray[np.uint8]) -> float:
    """Return the CPU time per image [ms]."""
    began_ns = time.thread_time_ns()
    for image in images:
        function(image)
    return (time.thread_time_ns() - began_ns) / 1e6 / len(images)
