# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Which values a sweep takes, and what it refuses."""
from itertools import pairwise
import math

from hypothesis import given
from hypothesis import strategies as st
from miniscope_ros.acquisition.sweep_plan import (
    MOST_FRAMES,
    MOST_VALUES,
    sweep_values,
    SweepPlan,
)
from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.errors import ConfigurationError
import pytest

CONTROLS = load_catalogue()['Miniscope_V4_BNO'].controls
FOCUS, GAIN, LED = CONTROLS['focus'], CONTROLS['gain'], CONTROLS['led']
FRAME = 608 * 608


@pytest.mark.parametrize(('first', 'last', 'step', 'values'), [
    (-8, 8, 8, (-8, 0, 8)),
    (8, -8, 8, (8, 0, -8)),
    (0, 10, 4, (0, 4, 8)),
    (5, 5, 1, (5,)),
])
def test_values_lie_a_step_apart(
        first: float, last: float, step: float, values: tuple[float, ...]) -> None:
    assert sweep_values(FOCUS, first, last, step) == values


def test_the_last_value_survives_binary_fractions() -> None:
    assert sweep_values(LED, 0.0, 0.3, 0.1) == (0.0, 0.1, 0.2, 0.3)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0.5, 200))
def test_values_begin_at_the_first_and_stay_inside(
        first: float, last: float, step: float) -> None:
    values = sweep_values(LED, first, last, step)
    assert values[0] == pytest.approx(first, abs=1e-8)
    noise = 1e-8 + 1e-9 * step  # a value that is beyond the last by so little counts as the last
    assert all(min(first, last) - noise <= value <= max(first, last) + noise for value in values)
    assert all(abs(later - earlier) == pytest.approx(step, abs=1e-7)
               for earlier, later in pairwise(values))
    assert abs(last - values[-1]) < step * (1 + 1e-6)


def test_choices_are_taken_from_one_to_another() -> None:
    assert sweep_values(GAIN, 1.0, 3.5, 0.0) == (1.0, 2.0, 3.5)
    assert sweep_values(GAIN, 3.5, 2.0, 0.0) == (3.5, 2.0)


@pytest.mark.parametrize(('control', 'first', 'last', 'step', 'reason'), [
    (FOCUS, -200, 0, 8, 'focus cannot be -200: it is -127 to 127'),
    (FOCUS, 0, 128, 8, 'focus cannot be 128'),
    (FOCUS, 0, 8, 0, 'step cannot be 0: it is above 0'),
    (FOCUS, 0, 8, -1, 'step cannot be -1: it is above 0'),
    (FOCUS, 0, 8, math.nan, 'step cannot be nan'),
    (FOCUS, math.inf, 8, 1, 'from_value cannot be inf'),
    (LED, 0, 100, 0.01, f'at most {MOST_VALUES} are taken'),
    (LED, 0, 100, 1e-300, f'at most {MOST_VALUES} are taken'),
    (LED, 0, 100, 1e-310, f'at most {MOST_VALUES} are taken'),
    (GAIN, 1, 3.5, 1, 'step 0 takes all of them from 1 to 3.5'),
    (GAIN, 1, 3, 0, 'gain cannot be 3: it is one of 1, 2, 3.5'),
])
def test_what_cannot_be_swept_is_refused(
        control: object, first: float, last: float, step: float, reason: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        sweep_values(control, first, last, step)
    assert reason in str(error.value)


def test_too_many_frames_are_refused() -> None:
    for frames in (0, MOST_FRAMES + 1):
        with pytest.raises(ConfigurationError, match=f'frames cannot be {frames}'):
            SweepPlan('focus', (0.0,), frames).check(FRAME)
    SweepPlan('focus', (0.0,), MOST_FRAMES).check(2592 * 1944)
    with pytest.raises(ConfigurationError, match='fit into memory'):
        SweepPlan('focus', (0.0,), MOST_FRAMES, keep_all=True).check(2592 * 1944)
