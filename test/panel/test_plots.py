# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The last minute of samples, and nothing before it."""
from collections import deque

from miniscope_ros.panel.plots import after, keep, Sample


def test_a_minute_is_kept() -> None:
    samples: deque[Sample] = deque()
    for number in range(1, 201):
        keep(samples, (number, [1000.0 * number, 1.0]))
    assert [stamp for _, (stamp, _) in samples] == [1000.0 * n for n in range(140, 201)]


def test_only_newer_samples_are_sent_oldest_first() -> None:
    samples: deque[Sample] = deque()
    for number in (1, 3, 4, 7):
        keep(samples, (number, [float(number)]))
    assert after(samples, 3) == [[4.0], [7.0]]
    assert after(samples, 7) == [] and after(samples, 0) == [[1.0], [3.0], [4.0], [7.0]]


def test_stamps_that_go_back_lose_nothing_newer() -> None:
    samples: deque[Sample] = deque()
    for number, stamp in enumerate((500_000.0, 100.0, 200.0), 1):
        keep(samples, (number, [stamp]))
    assert after(samples, 1) == [[100.0], [200.0]]
