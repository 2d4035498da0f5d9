# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The order of a damaged frame's blocks is told right, or not at all."""
from itertools import pairwise

from miniscope_ros.recordings.export.block_order import restore_order
import numpy as np
from picture_damage import KINDS, misplace
from picture_scenes import scene_frames
import pytest

EXCHANGED = ('one pair', 'all pairs')
SIZES = [(608, 608), (752, 480), (1296, 972)]


@pytest.mark.parametrize('size', SIZES, ids=lambda size: f'{size[0]}x{size[1]}')
@pytest.mark.parametrize('brightness', [0.1, 0.3, 0.6])
@pytest.mark.parametrize('kind', EXCHANGED)
def test_exchanged_blocks_are_put_back(
        kind: str, brightness: float, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    restored = wrong = 0
    frames = list(scene_frames(20, size=size, brightness=brightness))
    for image in frames:
        result = restore_order(misplace(kind, image, image, rng))
        restored += result is not None and np.array_equal(result[0], image)
        wrong += result is not None and not np.array_equal(result[0], image)
    assert not wrong
    assert restored >= 0.9 * len(frames)


@pytest.mark.parametrize('kind', sorted(set(KINDS) - set(EXCHANGED)))
def test_what_is_missing_is_not_made_up(kind: str) -> None:
    rng = np.random.default_rng(4)
    for before, image in pairwise(scene_frames(30, brightness=0.3)):
        assert restore_order(misplace(kind, before, image, rng)) is None


@pytest.mark.parametrize('value', [0, 127, 255])
def test_a_plain_picture_stays_as_it_is(value: int) -> None:
    assert restore_order(np.full((608, 608), value, np.uint8)) is None


def test_a_good_picture_stays_as_it_is() -> None:
    for image in scene_frames(10):
        assert restore_order(image) is None
