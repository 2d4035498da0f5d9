# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A head stage that restarts: it is set up again each time, and no frame is called lit before."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import random
import time

from capturing import capture, Capture, PATIENCE, Told
from miniscope_ros.model import Content, Reason
import pytest
from slowness import slowness
from virtual_daq import Box

BACK_S = 3.0  # within which all values are back
CONTROLS = ('led', 'focus', 'gain', 'frame_rate')
VALUES = {
    # Focus, gain and frame rate are other ones than at power-on, so that each has to come back.
    'Miniscope_V4_BNO': {'led': 60.0, 'focus': 40.0, 'gain': 2.0, 'frame_rate': 20.0},
    'Miniscope_V3': {'led': 150.0, 'gain': 2.0, 'frame_rate': 20.0},
}


def expected(scope: Capture, values: dict[str, float]) -> dict[str, int]:
    """Return the registers under the values."""
    return {name: scope.source.controls[name].raw(value)[0] for name, value in values.items()}


def is_set(box: Box, registers: dict[str, int]) -> bool:
    return all(box.raw(name) == raw for name, raw in registers.items())


def is_lit(one: Told, box: Box) -> bool:
    """Return whether the box took a frame wholly under full values."""
    record = box.frames[box.frames['frame'] == one.number][0]
    return bool(record['light_start'][0] > 0 and record['light_end'][0] > 0)


def restart(scope: Capture, registers: dict[str, int], down: float = 0.3) -> None:
    """Let the head stage restart, and wait until all is as it was, within the time promised."""
    box = scope.box
    begin_ns, before = time.monotonic_ns(), scope.status.restarts
    box.restart_head_stage(down)
    assert not is_set(box, registers)
    box.wait(lambda: is_set(box, registers), PATIENCE)
    took_s = (time.monotonic_ns() - begin_ns) / 1e9
    assert took_s < BACK_S * slowness()
    box.wait(lambda: scope.status.restarts == before + 1, PATIENCE)
    scope.ear.wait(lambda: scope.ear.frames[-1].frame.content is Content.OK, 'it is lit again')


def check_no_frame_is_called_lit_before_it_is(scope: Capture, registers: dict[str, int]) -> None:
    records = {int(record['frame']): record for record in scope.box.frames}
    places = {name: ('led', 'led2', 'focus', 'gain', 'frame_rate').index(name)
              for name in registers}
    resumed = [change for change in scope.ear.changes if change.event.reason is Reason.RESUME]
    assert all(change.first_capture_index >= 0 for change in resumed)
    for one in scope.ear.frames:
        record = records[one.number]
        wholly = all(record[side][places[name]] == raw
                     for side in ('raw_start', 'raw_end') for name, raw in registers.items())
        if not wholly:
            assert one.frame.content is Content.DARK, one.frame
        index = one.frame.capture_index
        led = [c for c in scope.ear.changes
               if c.event.control == 'led' and 0 <= c.first_capture_index <= index][-1]
        if one.frame.content is Content.OK:
            assert led.event.raw == registers['led']
            assert wholly


@pytest.mark.parametrize('transport', ['v4l2', 'usb'])
@pytest.mark.parametrize('device_type', VALUES)
@pytest.mark.parametrize('count', [10, pytest.param(100, marks=pytest.mark.soak)])
def test_restarts_at_random_moments(
    tmp_path: Path, device_type: str, transport: str, count: int,
) -> None:
    values = VALUES[device_type]
    chance = random.Random(f'{device_type} {transport}')
    with capture(tmp_path, values, transport=transport, device_type=device_type, image='lit',
                 rate=0.0) as scope:
        scope.start()
        registers = expected(scope, values)
        scope.ear.wait_frames(10)
        for _ in range(count):
            restart(scope, registers)
            time.sleep(chance.uniform(1.2, 2.0))  # the next one comes at any moment
        assert scope.status.restarts == count
        assert scope.status.restart_error == ''
        scope.acquisition.deactivate()
        check_no_frame_is_called_lit_before_it_is(scope, registers)
        scope.acquisition.close()
        assert scope.box.led == 0.0
