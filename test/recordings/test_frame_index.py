# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Which frames a series of messages holds, also where DDS delivers some of them late."""
from miniscope_ros.recordings.frame_index import FrameRuns
import pytest

PERIOD = 33_000_000


@pytest.mark.parametrize(('frames', 'runs'), [
    ([(0, 0), (1, 1), (2, 2)], [[0, 2, 3]]),
    ([(0, 0), (1, 1), (0, 2), (1, 3)], [[0, 1, 2], [0, 1, 2]]),  # another activation
    ([(0, 0), (1, 1), (7, 7), (5, 5), (6, 6), (8, 8)], [[0, 8, 6]]),  # 5 and 6 came late
    ([*((n, n) for n in range(9)), (3, 20), (4, 21)], [[0, 8, 9], [3, 4, 2]]),  # its first lost
])
def test_runs(frames: list[tuple[int, int]], runs: list[list[int]]) -> None:
    one = FrameRuns()
    for index, place in frames:
        one.add(index, place * PERIOD)
    assert one.as_list() == runs
    assert one.count == len(frames)
