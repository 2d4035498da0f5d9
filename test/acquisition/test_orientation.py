# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Quaternions, and the judgement of what the orientation sensor says."""

import math
import sys
from types import FrameType

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from miniscope_ros.acquisition import orientation
from miniscope_ros.acquisition.orientation import (
    norm_error,
    OrientationValidator,
    roll_pitch_yaw,
    State,
    unit,
)
from miniscope_ros.model import ReadingStatus as Status
import pytest

A, B, C = (16384, 0, 0, 0), (0, 16384, 0, 0), (0, 0, 16384, 0)
ZERO = (0, 0, 0, 0)
TORN = (16384, 0, 16384, 0)
SECOND = 1_000_000_000

int16s = st.integers(-0x8000, 0x7FFF)
untimed = settings(deadline=None)
angles = st.floats(-3.1, 3.1)


def check_all(validator, readings, period=SECOND):
    return [validator.check(reading, n * period) for n, reading in enumerate(readings)]


def from_euler(roll, pitch, yaw):
    """Multiply the three turns as quaternions: about z, then the new y, then the new x."""
    result = (1.0, 0.0, 0.0, 0.0)
    for angle, axis in ((yaw, (0, 0, 1)), (pitch, (0, 1, 0)), (roll, (1, 0, 0))):
        w, x, y, z = result
        c, s = math.cos(angle / 2), math.sin(angle / 2)
        i, j, k = (s * component for component in axis)
        result = (w * c - x * i - y * j - z * k, w * i + x * c + y * k - z * j,
                  w * j - x * k + y * c + z * i, w * k + x * j - y * i + z * c)
    return result


def test_unit_divides_raw_readings_and_leaves_floats():
    assert unit((16384, -8192, 4096, 1)) == (1.0, -0.5, 0.25, 1 / 16384)
    assert unit((1.0, 0.0, 0.0, 0.0)) == (1.0, 0.0, 0.0, 0.0)


@untimed
@given(st.tuples(int16s, int16s, int16s, int16s))
def test_norm_error_of_any_reading(raw):
    expected = abs(math.sqrt(sum(component ** 2 for component in raw)) / 16384 - 1)
    assert norm_error(raw) == pytest.approx(expected, abs=1e-12)


@untimed
@given(angles, st.floats(-1.5, 1.5), angles)
def test_roll_pitch_yaw_of_composed_turns(roll, pitch, yaw):
    assert roll_pitch_yaw(from_euler(roll, pitch, yaw)) == pytest.approx(
        (roll, pitch, yaw), abs=1e-6)


def test_pitch_is_clamped_at_the_pole():
    # Rounded up, this quaternion's sine of the pitch is above 1.
    roll, pitch, yaw = roll_pitch_yaw((11586, 0, 11586, 0))
    assert pitch == math.pi / 2
    assert math.isfinite(roll) and math.isfinite(yaw)


def test_nothing_is_published_before_the_first_change():
    assert check_all(OrientationValidator(), [None, A, A, B, B, A, None, A]) == [
        Status.NONE, Status.STALE, Status.STALE, Status.PUBLISHED, Status.REPEATED,
        Status.PUBLISHED, Status.NONE, Status.REPEATED]


def test_recorded_readings_need_no_proof_of_life():
    recorded = [(1.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.6, 0.8, 0.0, 0.0),
                (math.nan, 0.0, 0.0, 0.0), (0.6, 0.8, 0.0, 0.0)]
    assert check_all(OrientationValidator(live=False), recorded) == [
        Status.PUBLISHED, Status.REPEATED, Status.PUBLISHED, Status.INVALID,
        Status.REPEATED]


def test_a_reading_after_invalid_ones_is_compared_with_the_last_valid_one():
    assert check_all(OrientationValidator(), [A, B, TORN, B, ZERO, C]) == [
        Status.STALE, Status.PUBLISHED, Status.INVALID, Status.REPEATED, Status.INVALID,
        Status.PUBLISHED]


def test_an_invalid_reading_proves_life():
    assert check_all(OrientationValidator(), [ZERO, A, A]) == [
        Status.INVALID, Status.PUBLISHED, Status.REPEATED]
    assert check_all(OrientationValidator(), [A, TORN, A]) == [
        Status.STALE, Status.INVALID, Status.REPEATED]


def test_a_reading_that_stays_goes_stale_and_recovers():
    validator = OrientationValidator(stale_after=3.0)
    assert check_all(validator, [A, B, B, B, B, B, B, C, C]) == [
        Status.STALE, Status.PUBLISHED, *3 * [Status.REPEATED], *2 * [Status.STALE],
        Status.PUBLISHED, Status.REPEATED]


def test_limits_can_be_changed_while_it_runs():
    validator = OrientationValidator()
    nearly = (16384 * 94 // 100, 0, 0, 0)
    assert check_all(validator, [A, nearly]) == [Status.STALE, Status.INVALID]
    validator.max_norm_error = 0.1
    validator.stale_after = 1.0
    assert validator.check(nearly, 2 * SECOND) == Status.PUBLISHED
    assert validator.check(nearly, 3 * SECOND) == Status.REPEATED
    assert validator.check(nearly, 3 * SECOND + 1) == Status.STALE


def test_the_limit_itself_is_invalid():
    validator = OrientationValidator(max_norm_error=0.25, live=False)
    assert validator.check((0.75, 0.0, 0.0, 0.0), 0) == Status.INVALID
    assert validator.check((0.7500001, 0.0, 0.0, 0.0), 1) == Status.PUBLISHED


def test_reset_forgets_the_stream():
    validator = OrientationValidator(stale_after=3.0)
    check_all(validator, [A, B])
    validator.reset()
    assert validator.health(0).state == State.WAITING
    assert validator.check(C, 0) == Status.STALE
    assert validator.stale_after == 3.0


@untimed
@given(st.lists(st.sampled_from([None, A, B, C, ZERO, TORN]), max_size=40))
def test_what_is_published_is_valid_new_and_proven(readings):
    validator = OrientationValidator()
    previous = None
    seen = []
    for n, reading in enumerate(readings):
        reading_status = validator.check(reading, n * SECOND // 20)
        assert (reading_status == Status.NONE) == (reading is None)
        assert (reading_status == Status.INVALID) == (reading in (ZERO, TORN))
        if reading is not None:
            seen.append(reading)
        if reading_status == Status.PUBLISHED:
            assert reading != previous
            assert len(set(seen)) > 1
        if reading in (A, B, C):
            previous = reading


@untimed
@given(st.tuples(int16s, int16s, int16s, int16s), st.integers(1, 50))
def test_a_frozen_sensor_is_never_published(reading, count):
    verdicts = set(check_all(OrientationValidator(), count * [reading]))
    assert verdicts in ({Status.STALE}, {Status.INVALID})


@untimed
@given(st.lists(st.tuples(int16s, int16s, int16s, int16s), max_size=20))
def test_raw_and_unit_readings_are_judged_alike(readings):
    assume(len(readings) > 1)
    assert check_all(OrientationValidator(), readings) == check_all(
        OrientationValidator(), [unit(reading) for reading in readings])


def test_health_without_a_sensor_and_before_the_first_reading():
    health = OrientationValidator(has_sensor=False).health(0)
    assert (health.state, health.level) == (State.NO_SENSOR, 0)
    validator = OrientationValidator()
    validator.check(None, 0)
    health = validator.health(60 * SECOND)
    assert (health.state, health.level) == (State.WAITING, 0)
    assert math.isnan(health.valid_share)
    assert math.isnan(health.unchanged_s)


def test_health_of_a_reading_that_never_changed():
    validator = OrientationValidator()
    check_all(validator, 11 * [A])
    assert validator.health(10 * SECOND - 1).state == State.WAITING
    health = validator.health(10 * SECOND)
    assert (health.state, health.level, health.valid_share) == (State.NEVER_CHANGED, 2, 1.0)
    assert math.isnan(health.unchanged_s)
    assert 'current kernels answer from a cache' in health.message
    assert 'set transport to usb' in health.message


def test_health_of_a_reading_that_changed_earlier():
    validator = OrientationValidator(stale_after=30.0)
    check_all(validator, [A, B])
    health = validator.health(31 * SECOND)
    assert (health.state, health.level, health.unchanged_s) == (State.OK, 0, 30.0)
    health = validator.health(32 * SECOND)
    assert (health.state, health.level) == (State.CONSTANT, 1)
    assert 'rests' in health.message and 'frozen' in health.message


def test_health_and_flag_of_a_brown_out():
    validator = OrientationValidator()
    check_all(validator, [A, B])
    validator.check(ZERO, 2 * SECOND)
    validator.check(ZERO, 3 * SECOND - 1)
    assert not validator.brown_out, 'the sensor reads zero for a moment while it starts'
    validator.check(ZERO, 3 * SECOND)
    assert validator.brown_out
    health = validator.health(3 * SECOND)
    assert (health.state, health.level) == (State.ALL_ZERO, 2)
    assert 'brown-out' in health.message and 'init list' in health.message
    validator.check(C, 4 * SECOND)
    assert not validator.brown_out
    assert validator.health(4 * SECOND).state != State.ALL_ZERO


def test_health_counts_the_share_of_valid_readings():
    validator = OrientationValidator()
    check_all(validator, [A, B, C, TORN])
    health = validator.health(3 * SECOND)
    assert (health.state, health.level) == (State.INVALID, 1)
    assert health.valid_share == pytest.approx(0.75)
    assert '25% of the readings' in health.message and 'cable' in health.message
    check_all(validator, 1000 * [A, B], SECOND // 20)
    health = validator.health(100 * SECOND)
    assert (health.state, health.level) == (State.OK, 0)
    assert health.valid_share > 0.99
    check_all(validator, 100 * [TORN], SECOND // 20)
    assert validator.health(100 * SECOND).state == State.INVALID, 'a long past must not hide it'


def test_a_stream_that_begins_while_it_is_looked_at_is_not_old() -> None:
    # At every instruction of the capture thread another thread may ask for the health.
    now_ns = 123_456_000_000_000
    validator = OrientationValidator()
    states: list[State] = []

    def look(frame: FrameType, event: str, argument: object) -> object:
        if frame.f_code.co_filename != orientation.__file__:
            return None
        frame.f_trace_opcodes = True
        sys.settrace(None)
        states.append(validator.health(now_ns).state)
        sys.settrace(look)
        return look

    for _ in range(2):
        sys.settrace(look)
        try:
            validator.reset()
            validator.check(A, now_ns)
            validator.check(B, now_ns)
        finally:
            sys.settrace(None)
    assert len(states) > 100
    assert State.NEVER_CHANGED not in states
    assert State.CONSTANT not in states


def turned(angle):
    """Return a raw reading that is turned about x."""
    return round(16384 * math.cos(angle / 2)), round(16384 * math.sin(angle / 2)), 0, 0


def swapped(reading):
    w, x, y, z = reading
    return y, z, w, x


RATE = 35.0
FRAME = SECOND // 30


def check_turns(readings, period=FRAME, max_rate=RATE):
    validator = OrientationValidator(max_rate=max_rate, live=False)
    return check_all(validator, readings, period)


def test_a_single_reading_with_misplaced_components_is_invalid():
    readings = [turned(0.05 * n) for n in range(20)]
    readings[7] = swapped(readings[7])
    expected = [Status.PUBLISHED] * 20
    expected[7] = Status.INVALID
    assert check_turns(readings) == expected
    assert check_turns(readings, max_rate=math.inf) == [Status.PUBLISHED] * 20


@pytest.mark.parametrize('count', [1, 2])
def test_different_wrong_readings_in_a_row_are_invalid(count):
    wrong = [B, C][:count]  # after three frames at 30/s a head can be anywhere
    readings = [turned(0.01 * n) for n in range(10)]
    assert check_turns([*readings, *wrong, *readings[::-1]]) == [
        *10 * [Status.PUBLISHED], *count * [Status.INVALID], Status.REPEATED,
        *9 * [Status.PUBLISHED]]


def test_a_heading_that_is_set_anew_costs_one_reading():
    before = [turned(0.02 * n) for n in range(5)]
    after = [turned(2.5 + 0.02 * n) for n in range(5)]
    assert check_turns(before + after) == [
        *5 * [Status.PUBLISHED], Status.INVALID, *4 * [Status.PUBLISHED]]


def test_a_turn_that_took_longer_is_possible():
    validator = OrientationValidator(max_rate=RATE, live=False)
    assert validator.check(turned(0.0), 0) == Status.PUBLISHED
    # Frames without a reading, or lost ones, leave more time for the turn.
    assert validator.check(turned(3.0), 3 * FRAME) == Status.PUBLISHED
    assert validator.check(turned(0.0), 4 * FRAME) == Status.INVALID


def test_a_turn_after_a_reading_that_was_taken_too_early_is_possible():
    fast = RATE * 0.95 * FRAME / SECOND
    readings = [turned(0), turned(fast), turned(fast), turned(3 * fast), turned(4 * fast)]
    assert check_turns(readings) == [
        Status.PUBLISHED, Status.PUBLISHED, Status.REPEATED, Status.PUBLISHED, Status.PUBLISHED]


def test_a_quaternion_of_the_other_sign_is_the_same_orientation():
    readings = [turned(0.1), tuple(-component for component in turned(0.12)), turned(0.14)]
    assert check_turns(readings) == [Status.PUBLISHED] * 3


@untimed
@given(st.lists(st.floats(-0.99, 0.99), min_size=1, max_size=40), st.floats(0.96, 1.04))
def test_no_turn_that_a_head_can_make_is_invalid(steps, norm):
    angle, readings = 0.0, []
    for step in steps:
        angle += step * RATE * FRAME / SECOND
        readings.append((norm * math.cos(angle / 2), norm * math.sin(angle / 2), 0.0, 0.0))
    assert Status.INVALID not in check_turns(readings)
