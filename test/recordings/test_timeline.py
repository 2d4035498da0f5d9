# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Recorded times with wrong values, and clocks that were set while they were recorded."""
from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from miniscope_ros.recordings.timeline import rising_ns
import numpy as np
import pytest

INTERVAL_MS = 50.0
HOUR_MS = 3_600_000.0
TIMES = 10.0 + INTERVAL_MS * np.arange(400)


def intervals_ms(times_ms: np.ndarray, *, gaps_are_real: bool = False) -> np.ndarray:
    """Return the intervals of the repaired times."""
    return np.diff(rising_ns(times_ms, gaps_are_real=gaps_are_real)[0]) / 1e6


def test_times_that_rise_are_left_alone() -> None:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(1, 100, 1000))
    repaired, text = rising_ns(times)
    assert (repaired == np.rint(times * 1e6)).all() and text == ''


@pytest.mark.parametrize('step_ms', [-HOUR_MS, -500.0, -5 * INTERVAL_MS, HOUR_MS, 61_000.0])
def test_after_a_clock_was_set_time_goes_on_by_the_median_interval(step_ms: float) -> None:
    times = TIMES + step_ms * (np.arange(400) >= 100)
    assert intervals_ms(times) == pytest.approx(INTERVAL_MS)
    text = rising_ns(times)[1]
    assert 'frame 100' in text and f'{step_ms / 1e3:+.3f} s' in text


def test_a_gap_of_less_than_a_minute_stays() -> None:
    times = TIMES + 30_000 * (np.arange(400) >= 100)
    assert intervals_ms(times).max() == pytest.approx(30_000 + INTERVAL_MS)
    assert rising_ns(times)[1] == ''


def test_gaps_of_a_clock_that_cannot_be_set_stay() -> None:
    times = TIMES + HOUR_MS * (np.arange(400) >= 100)
    assert intervals_ms(times, gaps_are_real=True).max() == pytest.approx(HOUR_MS + INTERVAL_MS)


@pytest.mark.parametrize('count', [1, 2, 5])
@pytest.mark.parametrize(
    'wrong_ms', [0.0, -1.0, 35_010.0, HOUR_MS, -HOUR_MS, 1e12, 1e300, -1e300])
def test_a_wrong_time_costs_its_own_frame(wrong_ms: float, count: int) -> None:
    times = TIMES.copy()
    times[100:100 + count] = wrong_ms
    assert intervals_ms(times) == pytest.approx(INTERVAL_MS)
    assert 'frame 100' in rising_ns(times)[1]


@pytest.mark.parametrize('place', [0, 1, -1])
@pytest.mark.parametrize('wrong_ms', [-HOUR_MS, HOUR_MS, 1e300])
def test_a_wrong_time_at_the_ends_costs_its_own_frame(place: int, wrong_ms: float) -> None:
    times = TIMES.copy()
    times[place] = wrong_ms
    assert intervals_ms(times) == pytest.approx(INTERVAL_MS)


def test_wrong_times_before_and_after_a_step() -> None:
    times = TIMES - HOUR_MS * (np.arange(400) >= 200)
    times[[50, 250, 252]] = 0.0, 1e9, 0.0
    assert intervals_ms(times) == pytest.approx(INTERVAL_MS)
    assert '3 are wrong' in rising_ns(times)[1]


RUNS = [6, 7, 30, 60, 200]


def off_ms(times_ms: np.ndarray) -> np.ndarray:
    """Return by how much the repaired times are off those of an even recording."""
    repaired = rising_ns(times_ms)[0] / 1e6
    return np.abs(repaired - repaired[-1] - (TIMES - TIMES[-1]))


def alternating(times: np.ndarray, wrong_ms: float) -> np.ndarray:
    """Return two wrong values in turn for these times."""
    return np.where(np.arange(len(times)) % 2, wrong_ms, 0.4 * wrong_ms + 7000.0)


@pytest.mark.parametrize('count', RUNS)
@pytest.mark.parametrize('wrong_ms', [0.0, 7_000.0, 12_000.0, 35_010.0, HOUR_MS, -HOUR_MS, 1e300])
@pytest.mark.parametrize('alternate', [False, True])
def test_a_run_of_wrong_times_invents_no_gap(
        count: int, wrong_ms: float, alternate: bool) -> None:
    times = TIMES.copy()
    run = slice(100, 100 + count)
    times[run] = alternating(times[run], wrong_ms) if alternate else wrong_ms
    # A wrong time that is right by chance is off by its frame's neighbours at most.
    assert off_ms(times).max() < 1.6 * INTERVAL_MS
    assert intervals_ms(times).max() < 1.5 * INTERVAL_MS
    assert 'are wrong' in rising_ns(times)[1]


@pytest.mark.parametrize('count', RUNS)
@pytest.mark.parametrize('seed', range(5))
def test_a_run_of_random_times_invents_no_gap(count: int, seed: int) -> None:
    times = TIMES.copy()
    times[100:100 + count] = np.random.default_rng(seed).uniform(-HOUR_MS, HOUR_MS, count)
    assert intervals_ms(times) == pytest.approx(INTERVAL_MS)


@pytest.mark.parametrize('count', RUNS)
@pytest.mark.parametrize('wrong_ms', [0.0, 45_000.0, HOUR_MS])
@pytest.mark.parametrize('end', [False, True])
def test_a_run_of_wrong_times_at_the_ends_invents_no_gap(
        count: int, wrong_ms: float, end: bool) -> None:
    times = TIMES.copy()
    times[-count if end else 0:None if end else count] = wrong_ms
    assert intervals_ms(times) == pytest.approx(INTERVAL_MS)


@pytest.mark.parametrize('count', [2, *RUNS])
def test_a_time_that_is_repeated_invents_no_gap(count: int) -> None:
    times = TIMES.copy()
    times[100:101 + count] = times[100]
    assert intervals_ms(times) == pytest.approx(INTERVAL_MS)


@pytest.mark.parametrize('count', RUNS)
@pytest.mark.parametrize('by_ms', [-HOUR_MS, -30_000.0, 30_000.0, HOUR_MS])
def test_a_clock_that_was_set_and_set_back_invents_no_gap(count: int, by_ms: float) -> None:
    times = TIMES.copy()
    times[100:100 + count] += by_ms
    assert intervals_ms(times) == pytest.approx(INTERVAL_MS)


@pytest.mark.parametrize('count', RUNS)
@pytest.mark.parametrize('wrong_ms', [0.0, 45_000.0, HOUR_MS])
@pytest.mark.parametrize('lost', [3, 10])
def test_what_was_lost_during_a_run_of_wrong_times_stays(
        count: int, wrong_ms: float, lost: int) -> None:
    times = TIMES + lost * INTERVAL_MS * (np.arange(400) >= 100 + count // 2)
    times[100:100 + count] = wrong_ms
    assert intervals_ms(times).sum() == pytest.approx((399 + lost) * INTERVAL_MS)
    assert intervals_ms(times).max() == pytest.approx((1 + lost) * INTERVAL_MS, rel=0.01)


@pytest.mark.parametrize('lost', [1, 2, 5, 30, 600])
@pytest.mark.parametrize('whole', [False, True])
@pytest.mark.parametrize('late', [0.0, 0.05])
def test_no_true_gap_is_taken_for_a_run_of_wrong_times(
        lost: int, whole: bool, late: float) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        gaps = np.isin(np.arange(3000), rng.integers(50, 3000, 5)).cumsum()
        times = (16.6667 * (np.arange(3000) + lost * gaps) + rng.normal(0, 1.0, 3000)
                 + 15.0 * (rng.random(3000) < late))
        times = np.sort(np.rint(times) if whole else times)
        repaired, text = rising_ns(times)
        assert 'wrong' not in text and 'set' not in text
        assert np.abs(repaired / 1e6 - times).max() < 0.01


def test_frames_that_came_together_after_a_loss_keep_their_gap() -> None:
    times = TIMES + 6 * INTERVAL_MS * (np.arange(400) >= 104)
    times[100:104] = times[104] - INTERVAL_MS
    assert intervals_ms(times)[99] == pytest.approx(10 * INTERVAL_MS)
    assert rising_ns(times)[1].startswith('3 are moved up')


def test_late_times_of_arrival_are_left_alone() -> None:
    rng = np.random.default_rng(2)
    times = np.sort(33.333 * np.arange(900) + 30.0 * (rng.random(900) < 0.05))
    assert rising_ns(times)[1] == ''


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50),
       st.booleans())
def test_whatever_was_recorded_times_rise(times: list[float], gaps_are_real: bool) -> None:
    repaired, _ = rising_ns(np.array(times), gaps_are_real=gaps_are_real)
    assert len(repaired) == len(times)
    # In the sum of all gaps an int64 may not run over.
    assert all(int(b) > int(a) for a, b in pairwise(repaired))
