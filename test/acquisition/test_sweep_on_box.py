# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A sweep on a virtual DAQ box, which knows under which value each frame was taken."""
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path

from box_scope import CONTROL_ORDER
from capturing import Capture, PATIENCE, V4
from miniscope_ros.acquisition.sweep import Sweep, SweepEnded
from miniscope_ros.acquisition.sweep_frames import SweepFrames
from miniscope_ros.acquisition.sweep_plan import SweepPlan
from miniscope_ros.errors import DeviceError
from miniscope_ros.model import Content
import numpy as np
import pytest
from sweeping import SweepEar, SweepThread
from virtual_daq import BoxConfig, Fault, VirtualDaq

OLD = {'focus': 12.0, 'gain': 2.0, 'led': 20.0}


@contextmanager
def swept(folder: Path, values: dict[str, float], config: BoxConfig) -> Iterator[Capture]:
    """Yield an acquisition that is active; the box is dark at the end."""
    with VirtualDaq(folder, [config]) as rig:
        made = Capture(rig, values, ear=SweepEar())
        try:
            yield made.start()
        finally:
            made.stop.set()
            made.acquisition.close()
            made.acquisition.end_pursuit()
        assert rig.box.led == 0.0


@pytest.fixture
def capturing(tmp_path: Path) -> Iterator[Capture]:
    with swept(tmp_path, OLD, BoxConfig(rate=100.0)) as made:
        yield made


def make(capturing: Capture, plan: SweepPlan) -> Sweep:
    """Return a sweep that gets the frames of an acquisition."""
    name = plan.control
    capturing.ear.sweep = Sweep(
        plan, lambda value: capturing.source.set_value(name, value),
        lambda: capturing.source.set_value(name, OLD[name]))
    return capturing.ear.sweep


def wait_restored(capturing: Capture, name: str = 'focus') -> None:
    """Return when the box has executed the old value."""
    place, raw = CONTROL_ORDER.index(name), V4.controls[name].raw(OLD[name])[0]
    capturing.box.wait(lambda: int(capturing.box.frames[-1]['raw_end'][place]) == raw, PATIENCE)


@pytest.mark.parametrize(('control', 'values'), [
    ('focus', (-60.0, -20.0, 20.0)), ('gain', (1.0, 2.0, 3.5)), ('led', (0.0, 5.0, 40.0))])
def test_frames_are_wholly_under_each_value(
        capturing: Capture, control: str, values: tuple[float, ...]) -> None:
    box, frames = capturing.box, 7
    sweep = make(capturing, SweepPlan(control, values, frames, keep_all=True))
    box.plan({box.frame + 12: Fault.LOST, box.frame + 15: Fault.SHORT,
              box.frame + 24: Fault.LOST})
    run = SweepThread(sweep).join()
    assert run.error is None and [step.value for step in run.steps] == list(values)
    wait_restored(capturing, control)
    records = {int(record['frame']): record for record in box.frames}
    told = {one.frame.capture_index: one for one in capturing.ear.frames}
    place = CONTROL_ORDER.index(control)
    for step in run.steps:
        raw = V4.controls[control].raw(step.value)[0]
        taken = [index for index in sorted(told)
                 if step.first_capture_index <= index <= step.last_capture_index]
        assert len(taken) == len(step.images) == frames
        for index, image in zip(taken, step.images, strict=True):
            record = records[told[index].number]
            assert record['raw_start'][place] == record['raw_end'][place] == raw
            assert np.array_equal(image, capturing.ear.images[index])
        assert np.allclose(step.mean_image, np.mean(step.images, axis=0), atol=1e-3)
        assert step.brightness == pytest.approx(step.mean_image.mean(dtype=float), rel=1e-4)


def start(capturing: Capture) -> SweepThread:
    """Start a sweep without end and return when its first value was taken."""
    plan = SweepPlan('focus', tuple(float(n % 100) for n in range(250)), 10)
    run = SweepThread(make(capturing, plan))
    capturing.ear.wait(lambda: run.steps, 'the first value is taken')
    return run


def ended(run: SweepThread) -> str:
    """Return why a sweep has ended early."""
    run.join()
    assert isinstance(run.error, SweepEnded)
    assert len(run.steps) < 250
    return str(run.error)


def test_an_end_restores_the_old_value(capturing: Capture) -> None:
    run = start(capturing)
    capturing.ear.sweep.end('enough')
    assert ended(run) == 'enough'
    wait_restored(capturing)
    # The box obeys before the change is told.
    capturing.ear.wait(lambda: [
        change.event.value for change in capturing.ear.changes
        if change.event.control == 'focus'][-1] == OLD['focus'], 'no value is sent after it')


def test_an_outage_ends_it_and_the_old_value_comes_back(capturing: Capture) -> None:
    run = start(capturing)
    capturing.box.unplug()
    assert ended(run).startswith('the acquisition was interrupted: ')
    capturing.box.plug()
    capturing.wait_back()
    wait_restored(capturing)


@pytest.mark.parametrize('control', ['focus', 'gain', 'led'])
def test_a_head_stage_that_restarts_ends_it(tmp_path: Path, control: str) -> None:
    values = {**OLD, 'frame_rate': 20.0}  # each is another one than at power-on
    with swept(tmp_path, values, BoxConfig(image='lit', rate=0.0)) as scope:
        scope.ear.wait_frames(10)
        levels = {'focus': (30.0, 60.0), 'gain': (2.0, 3.5), 'led': (10.0, 40.0)}[control]
        run = SweepThread(make(scope, SweepPlan(control, 100 * levels, 3)))
        scope.ear.wait(lambda: run.steps, 'the first value is taken')
        scope.box.restart_head_stage()
        assert ended(run) == 'the controls of the scope were sent again, for it had lost them'
        wait_restored(scope, control)
        place = CONTROL_ORDER.index(control)
        records = {int(record['frame']): record for record in scope.box.frames}
        told = {one.frame.capture_index: one for one in scope.ear.frames}
        for step in run.steps:
            raw = V4.controls[control].raw(step.value)[0]
            for index in (step.first_capture_index, step.last_capture_index):
                record = records[told[index].number]
                assert record['raw_start'][place] == record['raw_end'][place] == raw
        assert scope.status.restarts == 1


def test_another_control_that_is_set_ends_it(capturing: Capture) -> None:
    run = start(capturing)
    capturing.source.set_value('gain', 3.5)
    assert ended(run) == 'gain was set to 3.5'
    wait_restored(capturing)


def test_the_same_control_that_is_set_ends_it(capturing: Capture) -> None:
    run = start(capturing)
    capturing.source.set_value('focus', -111.0)
    assert ended(run) == 'focus was set to -111'
    wait_restored(capturing)


def test_what_was_set_right_before_it_does_not_end_it(capturing: Capture) -> None:
    sweep = make(capturing, SweepPlan('focus', (0.0, 5.0), 3))
    capturing.source.set_value('gain', 3.5)
    run = SweepThread(sweep).join()
    assert run.error is None and len(run.steps) == 2


def test_a_consumer_that_fails_ends_it(capturing: Capture) -> None:
    def fail(step: object) -> None:
        raise OSError('the disk is full')

    run = SweepThread(make(capturing, SweepPlan('focus', (0.0, 5.0), 3)), fail).join()
    assert isinstance(run.error, OSError) and len(run.steps) == 1
    wait_restored(capturing)


def test_a_light_that_is_never_sent_ends_it(capturing: Capture) -> None:
    capturing.acquisition.light_input = 0  # its level is not known: dark
    capturing.box.wait(lambda: capturing.box.led == 0.0, PATIENCE)
    run = SweepThread(make(capturing, SweepPlan('led', (10.0, 20.0), 3))).join()
    assert isinstance(run.error, SweepEnded) and 'was not sent within' in str(run.error)
    assert capturing.box.led == 0.0


def test_damaged_pictures_are_not_taken(capturing: Capture) -> None:
    capturing.ear.wait_frames(1)
    frame = capturing.ear.frames[-1].frame
    frames = SweepFrames('focus', 3.0, 2, keep_all=False)
    frames.starts_at(frame.capture_index)
    with pytest.raises(DeviceError, match=r'only 0 of \d+ frames under focus 3 can be used'):
        for content in cycle((Content.BANDED, Content.BLOCKS_MISPLACED, Content.DARK)):
            frames.add(replace(frame, content=content))
            assert not frames.complete
