# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Mean and maximum of the pictures."""
from miniscope_ros.recordings.export.projections import Projections
import numpy as np
import pytest


@pytest.mark.parametrize('shape', [(5, 7), (4, 6, 3)])
def test_all_pictures_of_a_short_recording_are_in_it(shape: tuple[int, ...]) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (300, *shape), np.uint8)
    projections = Projections(300)
    for row, picture in enumerate(pictures):
        projections.add(row, picture)
    assert projections.count == 300
    assert np.array_equal(projections.mean, np.rint(pictures.mean(0)))
    assert np.array_equal(projections.maximum, pictures.max(0))


def test_of_a_long_recording_they_are_evenly_spaced() -> None:
    projections = Projections(10_000)
    for row in range(10_000):
        projections.add(row, np.full((2, 2), row // 5000 * 100 + row % 5, np.uint8))
    assert projections.count == 2000
    assert (projections.mean == 50).all() and (projections.maximum == 100).all()


def test_the_mean_of_the_most_pictures_is_exact() -> None:
    pictures = np.random.default_rng(2).integers(250, 256, (3999, 8, 8), np.uint8)
    projections = Projections(3999)
    for row, picture in enumerate(pictures):
        projections.add(row, picture)
    assert projections.count == 3999
    assert np.array_equal(projections.mean, np.rint(pictures.mean(0)))


def test_a_picture_of_another_size_is_passed_over() -> None:
    projections = Projections(3)
    for row, size in enumerate((4, 5, 4)):
        projections.add(row, np.full((size, size), 10 * row, np.uint8))
    assert projections.count == 2 and (projections.mean == 10).all()


def test_without_pictures_they_are_empty() -> None:
    assert not Projections(0).mean.size and not Projections(0).maximum.size
