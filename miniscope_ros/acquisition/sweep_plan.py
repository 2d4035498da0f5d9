# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Which values of a control a sweep takes, and how many frames of each."""

from __future__ import annotations

from dataclasses import dataclass
import math

from miniscope_ros.daq.control import Control, LIGHTS, show
from miniscope_ros.errors import ConfigurationError

SWEPT = ('focus', 'gain', *LIGHTS)
"""The controls that can be swept; the frame rate cannot change while frames are published."""

MOST_VALUES = 256
"""So many values are taken at most: each level of the focus once."""

MOST_FRAMES = 1000
"""So many frames are taken at most under each value."""

_MOST_BYTES = 1 << 30  # of the frames of one value, where all are kept
_DIGITS = 9  # of a value; against binary noise


@dataclass(frozen=True)
class SweepPlan:
    """The values of one control, in the order in which they are taken."""

    control: str
    values: tuple[float, ...]
    frames: int  # of each value
    keep_all: bool = False  # every frame; else the mean image alone

    def check(self, frame_bytes: int) -> None:
        """Raise ConfigurationError for more than can be taken; frame_bytes is of one frame."""
        if not 1 <= self.frames <= MOST_FRAMES:
            raise ConfigurationError(
                f'frames cannot be {self.frames}: it is 1 to {MOST_FRAMES}')
        most = _MOST_BYTES // max(1, frame_bytes)
        if self.keep_all and self.frames > most:
            raise ConfigurationError(
                f'frames cannot be {self.frames} where all are kept: at most {most} of this size '
                'fit into memory')


def sweep_values(control: Control, first: float, last: float, step: float) -> tuple[float, ...]:
    """
    Return the values from first to last, both in the control's unit.

    They lie step apart; last is among them if a step ends there. Of a control with choices they
    are the choices from first to last, and step is 0. Raises ConfigurationError for what cannot
    be set.
    """
    for name, value in (('from_value', first), ('to_value', last), ('step', step)):
        if not math.isfinite(value):
            raise ConfigurationError(f'{name} cannot be {value}: it is a number')
    _check(control, first)
    _check(control, last)
    if control.choices is not None:
        return _choices(control, first, last, step)
    if step <= 0:
        raise ConfigurationError(f'step cannot be {show(step)}: it is above 0')
    steps = abs(last - first) / step + 10 ** -_DIGITS
    if steps >= MOST_VALUES:  # or infinitely many
        raise ConfigurationError(
            f'a step of {show(step)} makes too many values: at most {MOST_VALUES} are taken')
    count = math.floor(steps) + 1
    direction = step if last >= first else -step
    return tuple(round(first + n * direction, _DIGITS) for n in range(count))


def _choices(control: Control, first: float, last: float, step: float) -> tuple[float, ...]:
    assert control.choices is not None
    if step != 0:
        raise ConfigurationError(
            f'step cannot be {show(step)}: {control.name} has choices; step 0 takes all of them '
            f'from {show(first)} to {show(last)}')
    low, high = sorted((first, last))
    return tuple(sorted(
        (float(choice) for choice in control.choices if low <= choice <= high),
        reverse=last < first))


def _check(control: Control, value: float) -> None:
    try:
        control.check(value)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
