# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The right order of a frame's blocks, derived from the picture alone.

A block that stands where it belongs continues the one before it: its first row is nearly the last
row of that. Blocks that are missing, or that are there twice, cannot be restored.
"""

from __future__ import annotations

from miniscope_ros.daq.firmware import BLOCK_PIXELS
import numpy as np
from numpy.typing import NDArray

_GROUP = 16  # pixels whose mean is compared, so that noise does not hide a step
_FACTOR = 3.0  # two blocks fit below this many times the step between rows inside the blocks
_FLOOR = 0.4  # [grey values] a smaller step is lost in noise and rounding
_CLEAR = 2.0  # times the step of the best neighbour, which any other one must exceed

Steps = NDArray[np.float32]


def restore_order(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], list[int]] | None:
    """
    Return an image with its blocks in order, and the place from which each block was taken.

    The image has the shape (height, width). None where the order is not certain, or
    where it is right.
    """
    width = image.shape[1]
    pixels = image.reshape(-1)
    count, rest = divmod(pixels.size, BLOCK_PIXELS)
    if rest < width or count < 2:
        return None  # the image's end, which no block can replace, is too short to compare
    blocks = pixels[:count * BLOCK_PIXELS].reshape(count, BLOCK_PIXELS)
    end = pixels[count * BLOCK_PIXELS:]
    steps, limits = _steps(blocks, end, width)
    fits = steps <= limits
    # Runs of blocks that follow each other as they stand.
    firsts = [0, *(place for place in range(1, count) if not fits[place - 1, place])]
    if len(firsts) == 1 and fits[count - 1, count]:
        return None
    runs = [range(first, after) for first, after in zip(firsts, [*firsts[1:], count], strict=True)]
    order = _chain(runs, steps, fits)
    if order is None:
        return None
    return np.concatenate((blocks[order].reshape(-1), end)).reshape(image.shape), order


def _chain(runs: list[range], steps: Steps, fits: NDArray[np.bool_]) -> list[int] | None:
    """Return the blocks in an order in which all fit, if there is but one; from the end back."""
    lasts = [run[-1] for run in runs]
    heads = [*(run[0] for run in runs), steps.shape[1] - 1]  # the image's end is the last one
    between = steps[np.ix_(lasts, heads)]
    for number in range(len(runs)):
        between[number, number] = np.inf  # no run follows itself
    order: list[int] = []
    left = set(range(len(runs)))
    head = len(runs)
    while left:
        run = int(between[:, head].argmin())
        best = between[run, head]
        # Both ways: nothing else comes before that head, and nothing else after that run.
        rivals = np.concatenate((np.delete(between[:, head], run), np.delete(between[run], head)))
        if run not in left or not fits[lasts[run], heads[head]] or not (
                rivals > _CLEAR * best + _FLOOR).all():
            return None
        order[:0] = runs[run]
        left.remove(run)
        head = run
    return order


def _steps(blocks: NDArray[np.uint8], end: NDArray[np.uint8], width: int) -> tuple[Steps, Steps]:
    """
    Return the step from each block to what may follow it, and the greatest one that fits.

    Both have the shape (blocks, blocks + 1) [grey values]: the image's end follows, too.
    """
    bottom, above = _means(blocks[:, -width:]), _means(blocks[:, -2 * width:-width])
    top, below = _means(blocks[:, :width]), _means(blocks[:, width:2 * width])
    first = _means(end[None, :width])
    steps = np.abs(bottom[:, None] - np.concatenate((top, first))[None]).mean(axis=2)
    inside = np.maximum(
        np.abs(bottom - above).mean(axis=1)[:, None],
        np.append(np.abs(top - below).mean(axis=1), np.float32(0))[None])
    return steps, _FACTOR * inside + np.float32(_FLOOR)


def _means(rows: NDArray[np.uint8]) -> Steps:
    """Return the means of groups of pixels in each row, shape (rows, groups)."""
    groups = rows.shape[1] // _GROUP
    means: Steps = rows[:, :groups * _GROUP].reshape(len(rows), groups, _GROUP).mean(
        axis=2, dtype=np.float32)
    return means
