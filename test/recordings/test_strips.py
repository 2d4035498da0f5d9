# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the page of the report draws over time."""
from pathlib import Path

from miniscope_ros.recordings.bag.contents import read_session
from miniscope_ros.recordings.bag.reader import Bag
from miniscope_ros.recordings.export.picture_statistics import PictureStatistics
from miniscope_ros.recordings.export.strips import draw_strips
import numpy as np
import pytest
from recorded_bag import Scope, write_bag
from recorded_camera import Camera


def test_a_camera_has_no_empty_strips(tmp_path: Path) -> None:
    figure_module = pytest.importorskip('matplotlib.figure')
    session = read_session(
        Bag(write_bag(tmp_path / 'bag', Scope(frames=9), Camera(node='/room', frames=9))),
        lambda progress: None)
    labels = []
    for acquisition in (session.acquisitions[0], session.cameras[0]):
        statistics = PictureStatistics(len(acquisition.images))
        for row in range(9):
            statistics.add(row, np.full((4, 4), row, np.uint8))
        figure = figure_module.Figure()
        draw_strips(figure, acquisition, statistics.brightness)
        labels.append([axes.get_ylabel() for axes in figure.axes])
    assert {'mean grey\nvalue', 'light', 'head\n(quaternion)'} <= set(labels[0])
    assert labels[1] == ['mean grey\nvalue', 'pixels at\n255 [%]']
