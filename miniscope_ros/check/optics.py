# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks of gain and focus by the picture."""

from __future__ import annotations

from itertools import pairwise

from miniscope_ros.check.bench import Bench
from miniscope_ros.check.finding import Finding, judged, Outcome, untold
from miniscope_ros.check.light import lit_value
from miniscope_ros.daq.control import Control
import numpy as np
from numpy.typing import NDArray

_STEPS = 5
_GAIN_LIGHT = 0.15  # share of the ladder's brightest step: a high gain then saturates nothing
_FOCUS_STEPS = 9
_SATURATED = 250
_LEAST_RISE = 0.5  # grey values
_LEAST_STRUCTURE = 0.02  # standard deviation of the grey values, as part of their mean
_LEAST_PEAK = 1.1  # sharpest to least sharp


def gain_ladder(bench: Bench) -> Finding:
    """Raise the gain in steps and measure the mean brightness."""
    expected = 'brightness rises with each step'
    gain = bench.device_type.controls.get('gain')
    if gain is None:
        return untold('this type has no gain', expected)
    _light_up(bench, _GAIN_LIGHT)
    row = {}
    for value in steps(gain, _STEPS):
        bench.progress(f'gain {value:g}')
        bench.step('gain', value)
        row[value] = bench.brightness()
    bench.step('gain', gain.start)
    text = ', '.join(f'{value:g}: {level:.1f}' for value, level in row.items())
    data = {f'{value:g}': level for value, level in row.items()}
    if max(row.values()) >= _SATURATED:
        return untold(f'{text}: the picture saturates; use less ambient light', expected, **data)
    rises = all(b - a >= _LEAST_RISE for a, b in pairwise(row.values()))
    return judged(rises, text, expected, **data)


def focus_sweep(bench: Bench) -> Finding:
    """Move the focus over its range and measure the sharpness."""
    expected = 'a sharpness that depends on the focus'
    focus = bench.device_type.controls.get('focus')
    if focus is None:
        return untold('this type has no focus', expected)
    _light_up(bench, 1.0)
    curve, structure = {}, 0.0
    for value in steps(focus, _FOCUS_STEPS):
        bench.progress(f'focus {value:g}')
        bench.step('focus', round(value))
        picture = bench.frame().image.astype(np.float32)[1:]
        structure = max(structure, float(picture.std() / max(1.0, picture.mean())))
        curve[f'{round(value)}'] = fine_contrast(picture)
    bench.step('focus', focus.start)
    text = ', '.join(f'{value}: {sharp:.2f}' for value, sharp in curve.items())
    if structure < _LEAST_STRUCTURE:
        return untold('the picture has no structure: hold it in front of some', expected, **curve)
    if max(curve.values()) < _LEAST_PEAK * min(curve.values()):
        return untold(f'{text}: it makes no difference here', expected, **curve)
    return Finding(Outcome.PASS, text, expected, dict(curve))


def steps(control: Control, count: int) -> list[float]:
    """Return values of a control from the lowest to the highest, at most so many of a range."""
    if control.choices is not None:
        return sorted(control.choices)
    low, high = control.minimum or 0.0, control.maximum or 0.0
    return [low + (high - low) * i / (count - 1) for i in range(count)]


def fine_contrast(picture: NDArray[np.float32]) -> float:
    """
    Return the contrast of fine structure in a picture (height, width) [% of its brightness].

    It is the standard deviation of the differences between pixels four apart and their middle:
    neighbours would show mostly the noise of the sensor.
    """
    middle = picture[2:-2, 2:-2]
    curvature = (
        picture[:-4, 2:-2] + picture[4:, 2:-2] + picture[2:-2, :-4] + picture[2:-2, 4:]
        - 4 * middle)
    return 100 * float(curvature.std()) / max(1.0, float(middle.mean()))


def _light_up(bench: Bench, part: float) -> None:
    """Light all lights, at a part of the ladder's brightest step."""
    for light in bench.device_type.lights:
        bench.step(light.name, part * lit_value(light))
