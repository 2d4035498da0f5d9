# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks of the light by the picture: how dark, how bright, and how soon."""

from __future__ import annotations

from itertools import pairwise

from miniscope_ros.check.bench import Bench
from miniscope_ros.check.finding import Finding, judged, Outcome, untold
from miniscope_ros.daq.control import Control

STEPS = (0.0, 0.1, 0.2, 0.3, 0.4)
"""Parts of the highest value: enough to be seen, and not the light at its full power."""

_LEAST_RISE = 0.5  # grey values a step, more than the noise of four pictures' mean
_SATURATED = 250
_DARK_AT_MOST = 64
_LOOK = 8  # frames after a command
_WHOLLY = 0.1  # a frame this near to the new level, as a share of the step, is wholly lit
_LATEST = 3  # frame that began after the command and has to be wholly under it
_MOST_MIXED = 1


def ladder(bench: Bench) -> Finding:
    """Raise each light in steps and measure the mean brightness."""
    expected = 'brightness rises with each step'
    rows = {light.name: _climb(bench, light) for light in bench.device_type.lights}
    if not rows:
        return untold('this type has no light that can be set', expected)
    every = [level for row in rows.values() for level in row]
    bench.levels = min(every), max(every)
    text = '; '.join(f'{name}: ' + ' '.join(f'{level:.1f}' for level in row)
                     for name, row in rows.items())
    data = {name: dict(zip(map(str, STEPS), row, strict=True)) for name, row in rows.items()}
    if max(every) >= _SATURATED:
        return untold(f'{text}: the picture saturates; use less ambient light', expected, **data)
    rises = all(b - a >= _LEAST_RISE for row in rows.values() for a, b in pairwise(row))
    return judged(rises, text, expected, **data)


def levels(bench: Bench) -> tuple[float, float]:
    """Return the grey values of the darkest and the brightest step, measured if need be."""
    if bench.levels is None:
        ladder(bench)
    return bench.levels or (0.0, 0.0)


def lit_value(light: Control) -> float:
    """Return the value of a light's brightest step."""
    return STEPS[-1] * (light.maximum or 0.0)


def dark_level(bench: Bench) -> Finding:
    """Look how bright the darkest picture is."""
    expected = f'a mean of at most {_DARK_AT_MOST}'
    if not bench.device_type.lights:
        return untold('this type has no light that can be set', expected)
    dark, _ = levels(bench)
    if dark > _DARK_AT_MOST:
        return untold(f'{dark:.1f}: shade the scope, the room may be bright', expected, dark=dark)
    return judged(True, f'{dark:.1f}', expected, dark=dark)


def first_lit_frame(bench: Bench) -> Finding:
    """Count the frames from the command to the first that is wholly lit."""
    response = _response(bench)
    expected = f'frame {_LATEST} that began after the command, at the latest'
    if response.wholly is None:
        return judged(False, f'none of {_LOOK}', expected, curve=response.curve)
    return judged(response.wholly <= _LATEST, f'frame {response.wholly}', expected,
                  curve=response.curve)


def mixing(bench: Bench) -> Finding:
    """Count the frames that show two values after a change of the light."""
    response = _response(bench)
    return judged(
        response.mixed <= _MOST_MIXED, f'{response.mixed} between dark and lit',
        f'at most {_MOST_MIXED}', curve=response.curve)


class _Response:
    """The brightness of the frames after a command, as part of the step: 0 dark, 1 lit."""

    def __init__(self, curve: list[float]) -> None:
        self.curve = curve
        self.wholly = next(
            (place for place in range(1, len(curve) + 1)
             if all(abs(1 - part) <= _WHOLLY for part in curve[place - 1:])), None)
        self.mixed = sum(_WHOLLY < part < 1 - _WHOLLY for part in curve)


def _climb(bench: Bench, light: Control) -> list[float]:
    row = []
    for part in STEPS:
        bench.progress(f'{light.name}: {100 * part:g} % of its maximum')
        bench.step(light.name, part * (light.maximum or 0.0))
        row.append(bench.brightness())
    bench.step(light.name, light.darkest)
    return row


def _response(bench: Bench) -> _Response:
    light = bench.device_type.lights[0]
    bench.step(light.name, light.darkest)
    dark = bench.brightness()
    source = bench.active()
    while source.waiting():
        bench.frame()
    source.set_value(light.name, lit_value(light))
    curve: list[float] = []
    sent_ns = None
    while len(curve) < _LOOK:
        frame, events = bench.frame_and_events()
        sent_ns = next((event.sent_ns for event in events), sent_ns)
        if sent_ns is not None and frame.stamp_ns > sent_ns:
            curve.append(float(frame.image.mean()))
    bright = bench.brightness()
    bench.step(light.name, light.darkest)
    span = bright - dark or 1.0
    return _Response([round((level - dark) / span, 3) for level in curve])


def is_dark(bench: Bench, grey: float, what: str) -> Finding:
    """Judge a picture of a scope that ought to be dark."""
    dark, lit = levels(bench)
    limit = dark + max(0.5, 0.1 * (lit - dark))
    expected = f'a mean of at most {limit:.1f} (dark {dark:.1f}, lit {lit:.1f})'
    if lit - dark < 2 * _LEAST_RISE:
        return untold('the light makes no difference to the picture', expected)
    outcome = Outcome.PASS if grey <= limit else Outcome.FAIL
    return Finding(outcome, f'{grey:.1f} {what}', expected, {'grey': grey})
