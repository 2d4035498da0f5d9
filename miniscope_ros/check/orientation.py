# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks of the orientation sensor."""

from __future__ import annotations

from itertools import pairwise
import math

from miniscope_ros.acquisition.orientation import (
    MAX_RATE_RAD_PER_S,
    norm_error,
    normalized,
    unit,
)
from miniscope_ros.check.ask import ask
from miniscope_ros.check.bench import Bench
from miniscope_ros.check.finding import Finding, judged, untold
from miniscope_ros.model import Quaternion, RawQuaternion

_MAX_NORM_ERROR = 0.05
_VALID_SHARE = 0.98
_LEAST_TURN_RAD = math.radians(45)  # the user is asked for 90 degrees
_STILL_RAD = math.radians(5)  # a sensor that shows less did not follow
_AXES = ('x (forward)', 'y (left)', 'z (up)')


def norm(bench: Bench) -> Finding:
    """Count the readings whose norm is that of a unit quaternion."""
    expected = f'{100 * _VALID_SHARE:g} % within {_MAX_NORM_ERROR:g} of 1'
    if not bench.device_type.orientation:
        return untold(f'a {bench.device_type.name} has no sensor', expected)
    readings = [one for one, _ in _readings(bench)]
    if not readings:
        return untold('no readings came', expected)
    errors = sorted(norm_error(one) for one in readings)
    valid = sum(error < _MAX_NORM_ERROR for error in errors) / len(errors)
    return judged(
        valid >= _VALID_SHARE, f'{100 * valid:.1f} % of {len(errors)}, median error '
        f'{errors[len(errors) // 2]:.4f}', expected, valid_share=valid)


def rate_of_change(bench: Bench) -> Finding:
    """Measure the fastest turn between two readings."""
    expected = f"at most {MAX_RATE_RAD_PER_S:g} rad/s, the sensor's own limit"
    speeds = []
    for (a, a_ns), (b, b_ns) in pairwise(
            (one, ns) for one, ns in _readings(bench) if norm_error(one) < _MAX_NORM_ERROR):
        if a != b and b_ns > a_ns:
            speeds.append(1e9 * _angle(turn_between(a, b)) / (b_ns - a_ns))
    if not speeds:
        return untold('the reading never changed: at rest, or stale', expected)
    return judged(
        max(speeds) <= MAX_RATE_RAD_PER_S,
        f'{len(speeds)} changes, {max(speeds):.2f} rad/s at most', expected, fastest=max(speeds))


def turn_left(bench: Bench) -> Finding:
    """Let the user turn the head stage to the left: about +z."""
    return _turn(bench, 'turn it by 90 degrees to the left (seen from above counter-clockwise)', 2)


def nose_down(bench: Bench) -> Finding:
    """Let the user tilt the head stage forward: about +y."""
    return _turn(bench, 'tilt it by 90 degrees nose down', 1)


def tilt_right(bench: Bench) -> Finding:
    """Let the user tilt the head stage to the right: about +x."""
    return _turn(bench, 'tilt it by 90 degrees to its right side', 0)


def turn_between(
    before: Quaternion | RawQuaternion, after: Quaternion | RawQuaternion,
) -> tuple[float, float, float]:
    """Return the turn from one orientation to the next, about the body's axes [rad]."""
    w, x, y, z = normalized(unit(before))
    a, b, c, d = normalized(unit(after))
    turn = (
        w * a + x * b + y * c + z * d, w * b - x * a - y * d + z * c,
        w * c + x * d - y * a - z * b, w * d - x * c + y * b - z * a)
    sign = -1.0 if turn[0] < 0 else 1.0
    length = math.hypot(*turn[1:])
    if not length:
        return 0.0, 0.0, 0.0
    factor = sign * 2 * math.atan2(length, sign * turn[0]) / length
    return factor * turn[1], factor * turn[2], factor * turn[3]


def judge_turn(turn: tuple[float, float, float], axis: int) -> Finding:
    """Return whether a turn [rad about x, y, z] is mainly a positive one about an axis."""
    degrees = [math.degrees(angle) for angle in turn]
    main = max(range(3), key=lambda i: abs(turn[i]))
    measured = ', '.join(
        f'{angle:+.0f} about {name}' for angle, name in zip(degrees, 'xyz', strict=True))
    expected = f'about +90 degrees about {_AXES[axis]}'
    if _angle(turn) < _STILL_RAD:
        return judged(False, f'it did not follow: {measured}', expected, degrees=degrees)
    if _angle(turn) < _LEAST_TURN_RAD:
        return untold(f'too small a turn: {measured}', expected, degrees=degrees)
    return judged(main == axis and turn[axis] > 0, measured, expected, degrees=degrees)


def _turn(bench: Bench, what: str, axis: int) -> Finding:
    expected = f'about +90 degrees about {_AXES[axis]}'
    if not bench.device_type.orientation:
        return untold(f'a {bench.device_type.name} has no sensor', expected)
    if bench.settings.unattended:
        return untold('skipped: --unattended', expected)
    bench.active()
    latest: list[RawQuaternion | Quaternion] = []

    def look() -> None:
        reading = bench.frame().orientation
        if reading is not None and norm_error(reading) < _MAX_NORM_ERROR:
            latest[:] = [reading]

    if not ask('Lay the head stage level and keep it at rest.', look) or not latest:
        return untold('nobody answered, or no valid reading came', expected)
    before = latest[0]
    if not ask(f'Now {what} and keep it there.', look):
        return untold('skipped', expected)
    return judge_turn(turn_between(before, latest[0]), axis)


def _angle(turn: tuple[float, float, float]) -> float:
    return math.hypot(*turn)


def _readings(bench: Bench) -> list[tuple[RawQuaternion | Quaternion, int]]:
    # Readings belong to the ends of frames; when they were asked for depends on the computer.
    return [(frame.orientation, frame.stamp_ns)
            for frame in bench.count_frames(bench.settings.sequence_s)
            if frame.orientation is not None]
