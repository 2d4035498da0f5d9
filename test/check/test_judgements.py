# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Lines of check_scope that no fault of a box reaches: judged from frames as they would come."""
from dataclasses import replace
from threading import Event

from miniscope_ros.acquisition.orientation import MAX_RATE_RAD_PER_S
from miniscope_ros.check import orientation, stream
from miniscope_ros.check.bench import Bench
from miniscope_ros.check.finding import Outcome
from miniscope_ros.check.settings import Settings
from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.model import RawFrame, StampSource
import numpy as np
import pytest

PERIOD_NS = 33_000_000
V4 = load_catalogue()['Miniscope_V4_BNO']


def bench_with(frames: list[RawFrame]) -> Bench:
    """Return a bench that has counted these frames."""
    bench = Bench(Settings(), V4, Event())
    bench.stretch = frames
    return bench


def even_frames(count: int = 60, turn_rad: float = 0.01) -> list[RawFrame]:
    """Return frames without a fault, whose head turns by so much from one to the next."""
    halves = turn_rad / 2 * np.arange(count)
    return [
        RawFrame(
            np.empty(0, np.uint8), number * PERIOD_NS + 1, StampSource.BUFFER, 0, sequence=number,
            orientation=(float(np.cos(half)), 0.0, 0.0, float(np.sin(half))))
        for number, half in enumerate(halves)]


@pytest.mark.parametrize(('numbers', 'outcome'), [
    ({}, Outcome.PASS),
    ({30: 29}, Outcome.FAIL),  # one comes twice
    ({30: 5}, Outcome.FAIL),  # it runs backwards
    ({59: 70}, Outcome.FAIL),  # losses that time does not show
])
def test_sequence_numbers(numbers: dict[int, int], outcome: Outcome) -> None:
    frames = [replace(frame, sequence=numbers.get(number, number))
              for number, frame in enumerate(even_frames())]
    assert stream.sequence(bench_with(frames)).outcome is outcome


@pytest.mark.parametrize(('share', 'outcome'), [
    (0.5, Outcome.PASS), (1.2, Outcome.FAIL), (0.0, Outcome.CANNOT_TELL)])
def test_rate_of_change(share: float, outcome: Outcome) -> None:
    frames = even_frames(turn_rad=share * MAX_RATE_RAD_PER_S * PERIOD_NS * 1e-9)
    assert orientation.rate_of_change(bench_with(frames)).outcome is outcome
