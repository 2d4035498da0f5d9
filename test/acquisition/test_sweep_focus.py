# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The focus of the simulated scope is found: in each of 20 tissues, within one step."""
from threading import Event

import cv2
from miniscope_ros.acquisition.capture import CaptureEngine
from miniscope_ros.acquisition.orientation import OrientationValidator
from miniscope_ros.acquisition.sharpness import sharpness
from miniscope_ros.acquisition.sweep import Sweep
from miniscope_ros.acquisition.sweep_plan import sweep_values, SweepPlan
from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.simulation.box import SimulatedTransport
from miniscope_ros.sources.miniscope import MiniscopeSource
import numpy as np
import pytest
from sweeping import SweepEar, SweepThread

V4 = load_catalogue()['Miniscope_V4_BNO']
STEP = 8
TRUE_FOCUS = V4.controls['focus'].start  # of the simulated scope
SPEED = 5.0  # its frames come so much faster than those of a real one


@pytest.mark.parametrize('seed', range(20))
def test_the_true_focus_is_found(seed: int) -> None:
    box = SimulatedTransport(V4, seed=seed, loss_rate=0.01, true_rate=SPEED)
    start = {name: control.start for name, control in V4.controls.items()}
    source = MiniscopeSource(
        V4, lambda port: box, Event(), values={**start, 'led': 20.0, 'focus': 50.0}, pauses=False)
    ear = SweepEar()
    engine = CaptureEngine(source, ear, OrientationValidator())
    first = -32.0 + seed % STEP  # the true focus is another value each time, or none
    values = sweep_values(V4.controls['focus'], first, 32.0, STEP)
    engine.open()
    try:
        engine.activate()
        ear.sweep = Sweep(
            SweepPlan('focus', values, 5), lambda value: source.set_value('focus', value),
            lambda: source.set_value('focus', 50.0))
        run = SweepThread(ear.sweep).join()
    finally:
        engine.close()
    assert run.error is None and len(run.steps) == len(values) >= 8
    best = max(run.steps, key=lambda step: step.sharpness)
    assert abs(best.value - TRUE_FOCUS) <= STEP


def test_noise_brightness_and_a_flare_are_no_sharpness() -> None:
    rng = np.random.default_rng(3)

    def noisy(level: float) -> np.ndarray:
        return rng.normal(level, 5.0, (608, 608)).astype(np.float32)

    detail = np.zeros((608, 608), np.float32)
    detail[::16, ::16] = 100.0
    plain = sharpness(noisy(50), noisy(50))
    detailed = sharpness(noisy(50) + detail, noisy(50) + detail)
    assert abs(plain) < 0.05 * detailed
    brighter = sharpness(3 * (noisy(50) + detail), 3 * (noisy(50) + detail))
    assert brighter == pytest.approx(detailed, rel=0.1)
    # A cell that flares up in a blurred picture is no focus.
    focused = 50 + detail / 5
    flaring = cv2.GaussianBlur(focused, (0, 0), 1.5)
    cv2.circle(flaring, (304, 304), 6, 255.0, -1)
    assert sharpness(flaring, flaring) < sharpness(focused, focused)
    black = np.zeros((8, 8), np.float32)
    assert sharpness(black, black) == 0.0
