# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Stamps: the offset of an acquisition, and what is done with stamps that cannot be."""
from hypothesis import given
from hypothesis import strategies as st
from miniscope_ros.acquisition.loss import LossAccount
from miniscope_ros.acquisition.period import Period
from miniscope_ros.acquisition.ros_clock import RosTime
from miniscope_ros.acquisition.running_median import RunningMedian
from miniscope_ros.acquisition.timestamps import TimestampFilter
from miniscope_ros.model import RawFrame, StampSource
import numpy as np
import pytest

HOUR = 3600 * 10**9
MS = 1_000_000
PERIOD = 33 * MS
IMAGE = np.zeros((1, 1), np.uint8)


class Clocks:
    """A system clock that can be set, over a monotonic one that only runs."""

    def __init__(self) -> None:
        self.monotonic = 5 * 10**9
        self.offset = 1_700_000_000 * 10**9

    def monotonic_ns(self) -> int:
        self.monotonic += 100  # reading takes time
        return self.monotonic

    def system_ns(self) -> int:
        return self.monotonic_ns() + self.offset


def sample(stamp_ns: int, receive_ns: int, sequence: int | None = None,
           source: StampSource = StampSource.BUFFER) -> RawFrame:
    return RawFrame(IMAGE, stamp_ns, source, receive_ns, sequence)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60), st.integers(1, 20))
def test_running_median_is_the_median_of_the_last_values(
        values: list[float], length: int) -> None:
    median = RunningMedian(length)
    for value in values:
        median.add(value)
    last = sorted(values[-length:])
    assert len(median) == len(last)
    assert median.value in (last[(len(last) - 1) // 2], last[len(last) // 2])


def test_a_set_system_clock_changes_no_stamp_until_the_next_acquisition() -> None:
    clocks = Clocks()
    ros = RosTime(clocks.system_ns, clocks.monotonic_ns)
    ros.start()
    before = ros.at(clocks.monotonic)
    assert abs(before - clocks.system_ns()) < 10_000
    for step in (HOUR, -2 * HOUR):
        clocks.offset += step
        noticed = ros.check()
        assert abs(noticed - step) < 10_000
        assert ros.check() == 0
        after = ros.at(clocks.monotonic)
        assert 0 < after - before < MS
    assert ros.state.steps == 2
    assert abs(ros.state.drift_ns + HOUR) < 10_000
    ros.start()
    assert abs(ros.at(clocks.monotonic) - clocks.system_ns()) < 10_000
    assert ros.state.drift_ns == 0


def test_a_slewed_clock_is_no_step() -> None:
    clocks = Clocks()
    ros = RosTime(clocks.system_ns, clocks.monotonic_ns)
    for _ in range(100):
        clocks.offset += 500_000
        assert ros.check() == 0


def test_good_stamps_are_left_alone() -> None:
    timestamps = TimestampFilter()
    for n in range(1, 50):
        frame = sample(n * PERIOD, n * PERIOD + 22 * MS, n)
        frame = timestamps.correct(frame, PERIOD)
        assert (frame.stamp_ns, frame.stamp_source) == (n * PERIOD, StampSource.BUFFER)
    assert timestamps.invalid_count == 0


@given(st.lists(st.sampled_from(['good', 'zero', 'back', 'future', 'old']), min_size=3,
                max_size=60), st.booleans())
def test_bad_stamps_are_predicted_within_half_a_period(
        kinds: list[str], with_sequence: bool) -> None:
    timestamps = TimestampFilter()
    bad = {'zero': 0, 'back': 3 * MS, 'future': 10**15, 'old': 1}
    start = 60 * 10**9
    previous = 0
    for n, kind in enumerate(['good'] * 5 + kinds):
        true = start + n * PERIOD
        given_ns = bad.get(kind, true)
        frame = sample(given_ns, true + 22 * MS, n if with_sequence else None)
        frame = timestamps.correct(frame, PERIOD)
        assert abs(frame.stamp_ns - true) < PERIOD / 2
        assert frame.stamp_ns > previous
        previous = frame.stamp_ns
        expected = StampSource.BUFFER if kind == 'good' else StampSource.PREDICTED
        assert frame.stamp_source is expected
    assert timestamps.invalid_count == sum(kind != 'good' for kind in kinds)


@pytest.mark.parametrize('periods, late', [(1, 0.0), (1, 0.7), (2, 0.0), (2, 0.4), (4, -0.1)])
def test_a_prediction_is_right_though_the_host_is_late(periods: int, late: float) -> None:
    timestamps = TimestampFilter()
    for n in range(1, 40):
        timestamps.correct(sample(n * PERIOD, n * PERIOD + 22 * MS, n), PERIOD)
    # All but one of these periods are frames that the box never finished.
    true = (39 + periods) * PERIOD
    frame = sample(0, true + 22 * MS + round(late * PERIOD), 40)
    frame = timestamps.correct(frame, PERIOD)
    assert abs(frame.stamp_ns - true) < PERIOD / 2


@pytest.mark.parametrize('late', [0.81, 0.9, 0.99])
def test_a_prediction_on_a_late_host_spoils_no_good_stamp(late: float) -> None:
    timestamps = TimestampFilter()
    for n in range(1, 40):
        timestamps.correct(sample(n * PERIOD, n * PERIOD + 22 * MS, n), PERIOD)
    timestamps.correct(sample(0, 40 * PERIOD + 22 * MS + round(late * PERIOD), 40), PERIOD)
    following = sample(41 * PERIOD, 41 * PERIOD + 22 * MS, 41)
    following = timestamps.correct(following, PERIOD)
    assert (following.stamp_ns, following.stamp_source) == (41 * PERIOD, StampSource.BUFFER)


def test_without_a_single_good_stamp_arrival_serves() -> None:
    timestamps = TimestampFilter()
    for n in range(1, 20):
        frame = sample(0, n * PERIOD)
        frame = timestamps.correct(frame, float('nan'))
        assert (frame.stamp_ns, frame.stamp_source) == (n * PERIOD, StampSource.PREDICTED)


def test_a_transport_without_stamps_gets_the_arrival() -> None:
    timestamps = TimestampFilter()
    first = sample(0, PERIOD, source=StampSource.ARRIVAL)
    second = sample(0, PERIOD, source=StampSource.ARRIVAL)
    first = timestamps.correct(first, PERIOD)
    second = timestamps.correct(second, PERIOD)
    assert first.wire_stamp_ns == second.wire_stamp_ns == 0
    assert first.stamp_ns == PERIOD < second.stamp_ns
    assert second.stamp_source is StampSource.ARRIVAL
    assert timestamps.invalid_count == 0


def test_predictions_that_follow_each_other_do_not_drift() -> None:
    rng = np.random.default_rng(5)
    period = 1e9 / 29.87
    account = LossAccount(Period())
    timestamps = TimestampFilter()
    for n in range(1, 3300):
        true = round(n * period + rng.normal(0, 1 * MS))
        late = round(abs(rng.normal(0, 1 * MS)))
        frame = sample(true if n < 40 else 0, true + 22 * MS + late, n)
        frame = timestamps.correct(frame, account.period.ns)
        predicted = frame.stamp_source is StampSource.PREDICTED
        assert account.frame(frame.stamp_ns, n, None, predicted=predicted).lost == 0
        assert abs(frame.stamp_ns - true) < period / 2
    assert timestamps.invalid_count == 3300 - 40


def test_one_odd_latency_is_forgotten() -> None:
    timestamps = TimestampFilter()
    for n in range(1, 200):
        age = 0 if n == 10 else 22 * MS  # all of one frame's data handled at once
        timestamps.correct(sample(n * PERIOD + 22 * MS - age, n * PERIOD + 22 * MS, n), PERIOD)
    assert timestamps.read_out_ns == 22 * MS
