# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Damage to pictures as it happens between DAQ box and computer, or on the analogue side."""
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

BLOCK = 8184  # [px] in a DMA block of the box: 16,368 bytes of YUYV


def _all_pairs(before: Image, pixels: Image, rng: np.random.Generator) -> Image:
    """Let the two sockets take turns in the wrong order."""
    blocks = pixels.size // BLOCK // 2 * 2
    swapped = pixels[:blocks * BLOCK].reshape(-1, 2, BLOCK)[:, ::-1]
    return np.concatenate((swapped.reshape(-1), pixels[blocks * BLOCK:]))


def _one_pair(before: Image, pixels: Image, rng: np.random.Generator) -> Image:
    """Exchange two blocks that follow each other."""
    first = BLOCK * int(rng.integers(0, pixels.size // BLOCK - 1))
    return np.concatenate((
        pixels[:first], pixels[first + BLOCK:first + 2 * BLOCK], pixels[first:first + BLOCK],
        pixels[first + 2 * BLOCK:]))


def _lost(before: Image, pixels: Image, rng: np.random.Generator) -> Image:
    """Lose a block: those after it move up, the old end of the buffer remains."""
    first = BLOCK * int(rng.integers(0, pixels.size // BLOCK - 1))
    return np.concatenate((pixels[:first], pixels[first + BLOCK:], before[-BLOCK:]))


def _repeated(before: Image, pixels: Image, rng: np.random.Generator) -> Image:
    """Send a block twice: those after it move down, the last one falls off."""
    first = BLOCK * int(rng.integers(1, pixels.size // BLOCK))
    return np.concatenate((pixels[:first], pixels[first - BLOCK:]))[:pixels.size]


def _overwritten(before: Image, pixels: Image, rng: np.random.Generator) -> Image:
    """Put a block also where another one should be."""
    to, start = BLOCK * rng.choice(pixels.size // BLOCK, 2, replace=False)
    damaged = pixels.copy()
    damaged[to:to + BLOCK] = pixels[start:start + BLOCK]
    return damaged


KINDS: dict[str, Callable[[Image, Image, np.random.Generator], Image]] = {
    'all pairs': _all_pairs, 'one pair': _one_pair, 'lost': _lost, 'repeated': _repeated,
    'overwritten': _overwritten}


def misplace(kind: str, before: Image, image: Image, rng: np.random.Generator) -> Image:
    """Return an image whose blocks are not in their places; before is the image before it."""
    return KINDS[kind](before.reshape(-1), image.reshape(-1), rng).reshape(image.shape)


def deviation(damaged: Image, image: Image) -> float:
    """Return the mean deviation of the block that deviates most [grey values]."""
    differences = np.abs(damaged.astype(np.int16) - image).reshape(-1)
    whole = differences[:differences.size // BLOCK * BLOCK].reshape(-1, BLOCK)
    return float(whole.mean(axis=1).max())


def add_bands(
        image: Image, amplitude: float, period: float, rng: np.random.Generator) -> Image:
    """Return the image with a wave over its rows: amplitude [grey values], period [rows]."""
    rows = np.arange(len(image))
    wave = amplitude * np.sin(2 * np.pi * (rows / period + rng.random()))
    return np.clip(np.rint(image + wave[:, None]), 0, 255).astype(np.uint8)
