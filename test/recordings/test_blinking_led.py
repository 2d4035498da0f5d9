# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
A scope, two cameras and an Intan board of another laboratory saw one LED blink.

The recording is the sample of edlio. The LED was on for 0.25 s in every second.
"""
import lzma
from pathlib import Path
from typing import Any

from miniscope_ros.recordings.edges.formats import read_edges
from miniscope_ros.recordings.formats import open_recording
import numpy as np
from numpy.typing import NDArray
import pytest
from real_recording import blink1

BLINKS = 65
VIDEOS = ('miniscope', 'generic-camera', 'tis-camera')


def onsets(video: str) -> tuple[NDArray[Any], float]:
    """Return when the frames begin to show light [ms], and the frame period [ms]."""
    recording = open_recording(str(blink1() / 'videos' / video))
    times, light = np.array([(frame.time_ns / 1e6, frame.image.mean())
                             for frame in recording.frames()]).T
    is_on = light > np.percentile(light, (2, 98)).mean()
    first = np.flatnonzero(is_on[1:] & ~is_on[:-1]) + 1
    return times[first], float(np.median(np.diff(times)))


def test_all_streams_see_each_blink_within_one_frame() -> None:
    pytest.importorskip('edlio')
    pytest.importorskip('av')
    found = {video: onsets(video) for video in VIDEOS}
    for video, (times, period) in found.items():
        assert BLINKS - 1 <= len(times) <= BLINKS, video
        for other, (others, other_period) in found.items():
            nearest = others[np.abs(others[:, None] - times).argmin(axis=0)]
            # The first blink may be before the first frame of a camera.
            apart = np.abs(nearest - times)[-(BLINKS - 1):]
            assert apart.max() <= max(period, other_period), (video, other)


def test_the_edges_of_the_board_are_those_of_the_scope(tmp_path: Path) -> None:
    pytest.importorskip('neo')
    pytest.importorskip('edlio')
    pytest.importorskip('av')
    packed, = (blink1() / 'intan-signals').glob('*.rhd.xz')
    file = tmp_path / packed.stem
    file.write_bytes(lzma.decompress(packed.read_bytes()))
    edges_s = read_edges(file, 'DIN-00')
    assert len(edges_s) == 2 * BLINKS
    on_ms = 1000 * edges_s[::2]
    times, period = onsets('miniscope')
    assert len(times) == BLINKS
    drift, offset_ms = np.polyfit(on_ms, times, 1)
    late = times - (drift * on_ms + offset_ms)
    assert abs(drift - 1) < 1e-3
    assert late.max() - late.min() <= period
