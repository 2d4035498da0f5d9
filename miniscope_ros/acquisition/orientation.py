# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
What the orientation sensor says, and whether it is to be believed.

A quaternion is w, x, y, z: floats are about a unit quaternion, ints are raw (1.0 = 16384).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
import math

from miniscope_ros.acquisition.turn_check import TurnCheck
from miniscope_ros.model import Quaternion, RawQuaternion, ReadingStatus

ONE = 16384
"""The BNO055's 1.0 (its data sheet: 1 quaternion = 2^14 LSB)."""

MAX_RATE_RAD_PER_S = 35.0
"""
How fast a head may turn, if nothing else is asked for [rad/s].

It is the full scale of the BNO055's gyroscope, 2000 degrees/s, in all modes that fuse its
readings: the sensor itself follows no faster turn.
"""

_WAIT_FOR_CHANGE_S = 10.0
"""A reading that has not changed for this time is an error; an animal moves sooner."""

_BROWN_OUT_S = 1.0
"""Zeros for this time are a brown-out; a starting sensor has them for 0.65 s (data sheet)."""

_RECENT_READINGS = 300
"""Readings over which the running share of valid ones reaches: 10 s at 30 frames/s."""

_ENOUGH_VALID = 0.9
"""Share of valid readings below which there is a warning."""


def unit(quaternion: Quaternion | RawQuaternion) -> Quaternion:
    """Return a raw reading in units of 1, its norm as it was read; one of floats as it is."""
    w, x, y, z = quaternion
    if isinstance(w, int):
        return w / ONE, x / ONE, y / ONE, z / ONE
    return w, x, y, z


def normalized(quaternion: Quaternion) -> Quaternion:
    """Return the same rotation with norm 1; the norm given is not 0."""
    w, x, y, z = quaternion
    norm = math.hypot(w, x, y, z)
    return w / norm, x / norm, y / norm, z / norm


def norm_error(quaternion: Quaternion | RawQuaternion) -> float:
    """Return by how much the norm of the unit quaternion differs from 1."""
    return abs(math.hypot(*unit(quaternion)) - 1)


def roll_pitch_yaw(quaternion: Quaternion | RawQuaternion) -> tuple[float, float, float]:
    """
    Return roll, pitch and yaw [rad].

    The rotation is about z by yaw, then about the new y by pitch, then about the new x by roll.
    """
    w, x, y, z = unit(quaternion)
    return (
        math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)),
        math.asin(max(-1.0, min(1.0, 2 * (w * y - z * x)))),
        math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


class State(Enum):
    """How the orientation sensor does."""

    OK = 'ok'
    NO_SENSOR = 'no sensor'
    WAITING = 'waiting'
    NEVER_CHANGED = 'never changed'
    CONSTANT = 'constant'
    ALL_ZERO = 'all zero'
    INVALID = 'invalid readings'


@dataclass(frozen=True)
class OrientationHealth:
    """How the orientation sensor does, for diagnostics."""

    state: State
    message: str  # with cause and remedy where something is wrong
    valid_share: float  # running share, over some 300 readings; NaN before the first
    unchanged_s: float  # since the reading last changed; NaN: it has not in this stream

    @property
    def level(self) -> int:
        """Return 0 (ok), 1 (warning) or 2 (error), as in DiagnosticStatus."""
        if self.state in (State.NEVER_CHANGED, State.ALL_ZERO):
            return 2
        return int(self.state in (State.CONSTANT, State.INVALID))


class OrientationValidator:
    """
    Tells for one stream of readings which ones can be published.

    A live reading that has never changed since the stream began is stale: the kernel may answer
    from its cache, which looks like a head at rest. So nothing is published until the first
    change is seen; judge the readings of an inactive scope too. Recorded readings need no such
    proof. A reading that turns the head faster than max_rate is invalid (see TurnCheck). The
    attributes may be changed at any time.
    """

    def __init__(
            self, max_norm_error: float = 0.05, stale_after: float = 30.0, *,
            max_rate: float = math.inf, has_sensor: bool = True, live: bool = True) -> None:
        """
        Begin a stream.

        Parameters
        ----------
        max_norm_error
            How far the norm of a valid reading may be from 1.
        stale_after
            After how long without a change a reading is stale [s].
        max_rate
            How fast a head can turn [rad/s].
        has_sensor
            Whether the device type has an orientation sensor.
        live
            False for recorded readings.

        """
        self.max_rate = max_rate
        self.max_norm_error = max_norm_error
        self.stale_after = stale_after
        self.has_sensor = has_sensor
        self.live = live
        self.reset()

    def reset(self) -> None:
        """Begin a new stream, of which nothing is known yet."""
        # One attribute, since health() is asked in another thread: reading and time [ns].
        self._first: tuple[Quaternion, int] | None = None
        self._turn_check = TurnCheck()
        self._changed = False
        self._last_valid: Quaternion | None = None
        self._last_change_ns: int | None = None
        self._zero_since_ns: int | None = None
        self._brown_out = False
        self.set_up()

    def set_up(self) -> None:
        """Count valid readings from now on: before its set-up a sensor has none."""
        self._readings = 0
        self._valid_share = math.nan

    @property
    def brown_out(self) -> bool:
        """
        Return whether readings have been all zero for a second, after others in this stream.

        The sensor has then lost its set-up, which the init list restores. True until the first
        other reading. Zeros from the beginning are no brown-out: the set-up was just sent.
        """
        return self._brown_out and self._changed

    def check(self, quaternion: Quaternion | RawQuaternion | None, time_ns: int) -> ReadingStatus:
        """Judge the reading taken at a time [ns] of any clock that does not go back."""
        if quaternion is None:
            return ReadingStatus.NONE
        reading = unit(quaternion)
        self._watch_zero(reading, time_ns)
        if self._first is None:
            self._changed = not self.live
            self._first = reading, time_ns
        elif reading != self._first[0] and not self._changed:
            # An invalid reading proves as well that readings come from the sensor.
            self._changed = True
            self._last_change_ns = time_ns
        valid = norm_error(reading) < self.max_norm_error
        if valid:
            valid = self._turn_check.possible(reading, time_ns, self.max_rate)
        self._count(valid)
        if not valid:
            return ReadingStatus.INVALID
        new = reading != self._last_valid
        self._last_valid = reading
        if not self._changed:
            return ReadingStatus.STALE
        if new or self._last_change_ns is None:
            self._last_change_ns = time_ns
            return ReadingStatus.PUBLISHED
        if time_ns - self._last_change_ns > self.stale_after * 1e9:
            return ReadingStatus.STALE
        return ReadingStatus.REPEATED

    def health(self, time_ns: int) -> OrientationHealth:
        """Return how the sensor does at a time [ns] of the clock that judge was given."""
        state, message = self._diagnose(time_ns)
        changed_ns = self._last_change_ns  # read once: the capture thread goes on
        unchanged_s = math.nan if changed_ns is None else (time_ns - changed_ns) / 1e9
        return OrientationHealth(state, message, self._valid_share, unchanged_s)

    def _count(self, valid: bool) -> None:
        self._readings += 1
        if self._readings == 1:
            self._valid_share = float(valid)
        else:
            readings = min(self._readings, _RECENT_READINGS)
            self._valid_share += (valid - self._valid_share) / readings

    def _watch_zero(self, reading: Quaternion, time_ns: int) -> None:
        if any(reading):
            self._zero_since_ns = None
            self._brown_out = False
            return
        if self._zero_since_ns is None:
            self._zero_since_ns = time_ns
        self._brown_out = time_ns - self._zero_since_ns >= _BROWN_OUT_S * 1e9

    def _diagnose(self, time_ns: int) -> tuple[State, str]:
        if not self.has_sensor:
            return State.NO_SENSOR, 'this device type has no orientation sensor'
        # Read once and in this order: the capture thread goes on, and may begin a new stream.
        changed = self._changed
        first = self._first
        if first is None:
            return State.WAITING, 'no reading yet'
        if self.brown_out:
            return State.ALL_ZERO, (
                'all readings are zero: the sensor lost its set-up in a brown-out, or is '
                'missing; if sending the init list again did not help, reconnect the scope and '
                'check its cable and supply')
        if not changed:
            waited = (time_ns - first[1]) / 1e9
            if waited < _WAIT_FOR_CHANGE_S:
                return State.WAITING, 'the reading has not changed yet'
            return State.NEVER_CHANGED, (
                f'the reading has not changed in the {waited:.0f} s since the stream began, so '
                'none is published: over V4L2 current kernels answer from a cache unless the box '
                'runs fixed firmware; set transport to usb (a scope that lies still may look the '
                'same: move it; so may one without its sensor)')
        if self._valid_share < _ENOUGH_VALID:
            return State.INVALID, (
                f'{1 - self._valid_share:.0%} of the readings are no unit quaternions, or turn '
                'the head faster than orientation.max_rate, and are not '
                'published: check the cable of the scope; if that does not help, its sensor may '
                'be defective')
        last_change_ns = self._last_change_ns
        constant = (time_ns - (first[1] if last_change_ns is None else last_change_ns)) / 1e9
        if constant > self.stale_after:
            return State.CONSTANT, (
                f'the reading has not changed for {constant:.0f} s: the animal rests, or the '
                'sensor is frozen; if it moves, deactivate, clean up and configure again')
        return State.OK, 'ok'
