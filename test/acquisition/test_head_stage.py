# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A head stage that restarts: it is set up again each time, and no frame is called lit before."""
from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
import random
import time

from capturing import Capture, capture, PATIENCE
from miniscope_ros.acquisition.head_stage import HeadStage, LIMIT_PER_HOUR
from miniscope_ros.acquisition.head_stage_signs import Sign
from miniscope_ros.model import Content, RawFrame, Reason, StampSource
import numpy as np
import pytest
from slowness import waited_s
from virtual_daq import Box, Fault

BACK_S = 3.0  # within which all values are back
RATE = 20.0  # frames/s
SILENCE_NS = 150_000_000  # between two frames, from which on a link may have been down
VALUES = {
    # Focus, gain and frame rate are other ones than at power-on, so that each has to come back.
    'Miniscope_V4_BNO': {'led': 60.0, 'focus': 40.0, 'gain': 2.0, 'frame_rate': RATE},
    'Miniscope_V3': {'led': 150.0, 'gain': 2.0, 'frame_rate': RATE},
}


def expected(scope: Capture, values: dict[str, float]) -> dict[str, int]:
    """Return the registers under the values."""
    return {name: scope.source.controls[name].raw(value)[0] for name, value in values.items()}


def is_set(box: Box, registers: dict[str, int]) -> bool:
    return all(box.raw(name) == raw for name, raw in registers.items())


def restart(scope: Capture, registers: dict[str, int], down: float = 0.3) -> None:
    """Let the head stage restart, and wait until all is as it was, within the time promised."""
    box = scope.box
    begin_ns, before, waited = time.monotonic_ns(), scope.status.restarts, waited_s()
    box.restart_head_stage(down)
    assert not is_set(box, registers)
    box.wait(lambda: is_set(box, registers), PATIENCE)
    took_s = (time.monotonic_ns() - begin_ns) / 1e9
    assert took_s < BACK_S + waited_s() - waited
    box.wait(lambda: scope.status.restarts > before, PATIENCE)
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
@pytest.mark.parametrize('count', [4, pytest.param(100, marks=pytest.mark.soak)])
def test_restarts_at_random_moments(
    tmp_path: Path, device_type: str, transport: str, count: int,
) -> None:
    restart_often(tmp_path, count, device_type=device_type, transport=transport)


@pytest.mark.parametrize('transport', ['v4l2', 'usb'])
def test_restarts_on_open_ephys_firmware(tmp_path: Path, transport: str) -> None:
    # Its state word says nothing of the head stage: the signs are those of the other firmware.
    restart_often(tmp_path, 3, device_type='Miniscope_V4_BNO', transport=transport,
                  open_ephys=True)


def restart_often(
    folder: Path, count: int, *, device_type: str, transport: str, open_ephys: bool = False,
) -> None:
    """Let the head stage restart so many times, and hold each frame against the truth."""
    values = VALUES[device_type]
    chance = random.Random(f'{device_type} {transport}')
    with capture(folder, values, transport=transport, device_type=device_type, image='lit',
                 rate=0.0, open_ephys=open_ephys) as scope:
        scope.start()
        registers = expected(scope, values)
        scope.ear.wait_frames(10)
        for _ in range(count):
            restart(scope, registers)
            # The next one comes at any moment after this one is over: after a second of frames
            # without a sign. One that comes sooner has to wait for the back-off.
            scope.ear.wait_frames(chance.randrange(24, 40))
            time.sleep(chance.random() / RATE)
        # A box that is starved of its core is silent once more, and so is a lost link.
        silences = sum(after.stamp_ns - before.stamp_ns > SILENCE_NS
                       for before, after in pairwise(scope.ear.frames))
        assert count <= scope.status.restarts <= max(count, silences)
        assert scope.status.restart_error == ''
        scope.acquisition.deactivate()
        check_no_frame_is_called_lit_before_it_is(scope, registers)
        scope.acquisition.close()
        assert scope.box.led == 0.0


def test_a_restart_while_inactive(tmp_path: Path) -> None:
    values = VALUES['Miniscope_V3']
    with capture(tmp_path, values, device_type='Miniscope_V3', image='lit', rate=0.0) as scope:
        scope.acquisition.open()
        scope.box.wait_frames(10)
        dark = {**expected(scope, values), 'led': 0}
        scope.box.wait(lambda: is_set(scope.box, dark), PATIENCE)
        restart_dark(scope, dark)
        assert scope.box.led == 0.0
        assert {change.first_capture_index for change in scope.ear.changes} == {-1}
        scope.acquisition.activate()
        scope.ear.wait_frames(5)
        assert {one.frame.content for one in scope.ear.frames} == {Content.OK}
        assert scope.status.restarts == 1


def restart_dark(scope: Capture, registers: dict[str, int]) -> None:
    scope.box.restart_head_stage()
    assert not is_set(scope.box, registers)
    scope.box.wait(lambda: is_set(scope.box, registers), PATIENCE)


def test_a_sensor_that_loses_its_set_up_is_set_up_every_time(tmp_path: Path) -> None:
    with capture(tmp_path, image='lit', kernel='fixed_firmware', rate=0.0) as scope:
        scope.start()
        scope.ear.wait_frames(10)
        for times in (1, 2):
            scope.box.brown_out()
            scope.box.wait(lambda: scope.box.state['awake'] == 3, PATIENCE)
            scope.box.wait(lambda times=times: scope.status.restarts == times, PATIENCE)
            scope.ear.wait(
                lambda: any(scope.ear.frames[-1].frame.sample.orientation or ()),
                'the sensor gave readings again')
        # The light was on all the time, and every frame says so.
        assert {one.frame.content for one in scope.ear.frames} == {Content.OK}


@pytest.mark.parametrize('frames', [
    1000, pytest.param(72_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_a_sudden_change_of_brightness_is_no_restart(tmp_path: Path, frames: int) -> None:
    """
    Nothing that happens to a scene is taken for a restart.

    The lens is covered and uncovered, the user changes the light, the animal rests, frames are
    lost. 72,000 frames are an hour at 20 frames/s; the box sends them in less time.
    """
    chance = random.Random(3)
    with capture(tmp_path, {'frame_rate': 20.0}, image='lit', jitter=0.0002) as scope:
        scope.start()
        scope.ear.wait_frames(20)
        before = len(scope.box.executed)
        covered, sent, step, last = False, 0, 0, scope.box.frame + frames
        while scope.box.frame < last:
            step += 1
            if step % 3 == 0:
                covered = not covered
                scope.box.cover(covered)
            elif step % 3 == 1:
                scope.box.rest(chance.random() < 0.5)
                value = chance.choice([0.0, 1.0, 20.0, 100.0])
                scope.source.set_value('led', value)
                sent += 1
            else:
                now = scope.box.frame
                scope.box.plan({now + 3: Fault.UNFINISHED, now + 9: Fault.LOST})
            scope.box.wait_frames(chance.randrange(8, 25))
        assert {one.frame.content for one in scope.ear.frames} == {Content.OK, Content.DARK}
        assert scope.status.restarts == 0
        assert len(scope.box.executed) - before == 2 * sent


class Frames:
    """Frames as a source gives them, for what takes longer than a test may."""

    def __init__(self, stage: HeadStage, rate: float = 20.0) -> None:
        self.stage = stage
        self.period_ns = round(1e9 / rate)
        self.stamp_ns = 0
        self.number = 0
        stage.begin_stream()
        stage.note_rate(rate)

    def take(self, count: int, *, content: Content = Content.OK, period_ns: int = 0,
             brown_out: bool = False, repair: bool = False, lit: bool = True,
             wire_stamp_ns: int | None = None) -> list[Content]:
        """Let frames come; return the contents they are published with."""
        found = []
        for _ in range(count):
            self.stamp_ns += period_ns or self.period_ns
            self.number += 1
            sample = RawFrame(
                image=np.zeros((1, 1), np.uint8), stamp_ns=self.stamp_ns,
                stamp_source=(
                    StampSource.BUFFER if wire_stamp_ns is None else StampSource.PREDICTED),
                receive_ns=self.stamp_ns, sequence=self.number, wire_stamp_ns=wire_stamp_ns)
            found.append(self.stage.observe(
                sample, content=content, lit=lit, brown_out=brown_out,
                capture_index=self.number))
            if repair:
                self.repair()
        return found

    def repair(self) -> bool:
        due = self.stage.due(self.stamp_ns / 1e9)
        if due:
            self.stage.begin_repair(self.stamp_ns / 1e9)
            self.stage.end_repair(self.stamp_ns + 1)
        return due


def test_each_sign_names_itself() -> None:
    def after(act: Callable[[Frames], object], rate: float = 20.0) -> Sign | None:
        frames = Frames(HeadStage(30.0), rate)
        frames.take(20)
        act(frames)
        return frames.stage.sign

    dark = Content.DARK
    assert after(lambda f: f.take(1, content=dark, period_ns=500_000_000)) is Sign.LINK
    assert after(lambda f: f.take(1, content=dark, period_ns=100_000_000)) is Sign.DARK_AT_GAP
    assert after(lambda f: f.take(1, brown_out=True)) is Sign.SENSOR
    assert after(lambda f: f.take(10, period_ns=33_333_333)) is Sign.RATE
    # What is no sign: darkness alone, a gap alone, a gap in a lit scene, another rate.
    assert after(lambda f: f.take(100, content=dark)) is None
    assert after(lambda f: f.take(1, period_ns=100_000_000)) is None
    assert after(lambda f: f.take(1, period_ns=500_000_000)) is None
    assert after(lambda f: f.take(20, period_ns=41_000_000)) is None
    assert after(lambda f: f.take(20, period_ns=34_500_000), 29.0) is None

    def lose_on_the_way(frames: Frames) -> None:
        frames.number += 9
        frames.take(1, content=dark, period_ns=500_000_000)

    assert after(lose_on_the_way) is None


def test_an_hour_of_a_scene_has_no_restart() -> None:
    chance, frames = random.Random(5), Frames(HeadStage(30.0))
    frames.take(20)
    covered, lit = False, True
    while frames.number < 72_000:
        event = chance.choice(['cover', 'light', 'unfinished', 'lost', 'none'])
        seen = {'content': Content.DARK if covered and lit else Content.OK, 'lit': lit}
        if event == 'unfinished':
            frames.take(1, period_ns=2 * frames.period_ns, **seen)
        elif event == 'lost':
            lost = chance.randrange(1, 12)
            frames.number += lost
            frames.take(1, period_ns=(lost + 1) * frames.period_ns, **seen)
        covered ^= event == 'cover'
        lit ^= event == 'light'
        seen = {'content': Content.DARK if covered and lit else Content.OK, 'lit': lit}
        for _ in range(chance.randrange(8, 25)):
            frames.take(1, period_ns=round(frames.period_ns * chance.gauss(1.0, 0.01)), **seen)
    assert frames.stage.restarts == 0 and frames.stage.sign is None


def test_attempts_are_put_off_longer_and_longer_and_limited() -> None:
    frames = Frames(HeadStage(30.0))
    frames.take(20)
    times = []
    for _ in range(20 * 400):
        frames.take(1, brown_out=True)
        if frames.repair():
            times.append(frames.stamp_ns / 1e9)
    waits = [round(after - before) for before, after in pairwise(times)]
    assert waits[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert frames.stage.restarts == 1
    assert 'without effect' in frames.stage.error
    frames.take(40)
    assert frames.stage.sign is None and frames.stage.error == ''


def test_a_predicted_stamp_that_is_late_ends_no_repair() -> None:
    frames = Frames(HeadStage(30.0))
    frames.take(20)
    assert frames.take(1, content=Content.DARK, period_ns=500_000_000) == [Content.DARK]
    assert frames.repair()
    # Predicted to have begun after the repair; by the stamp from the wire it was before.
    begun_ns = frames.stamp_ns - 1
    assert frames.take(4, wire_stamp_ns=begun_ns) == 4 * [Content.DARK]
    assert frames.take(5) == [Content.DARK, Content.DARK, *3 * [Content.OK]]


def test_too_many_restarts_an_hour_are_an_error() -> None:
    frames = Frames(HeadStage(30.0))
    frames.take(20)
    repairs = 0
    for _ in range(LIMIT_PER_HOUR + 5):
        frames.take(1, content=Content.DARK, period_ns=500_000_000)
        repairs += frames.repair()
        frames.take(60)
    assert repairs == LIMIT_PER_HOUR
    assert f'{LIMIT_PER_HOUR} times within an hour' in frames.stage.error
    frames.take(20 * 3700)
    assert frames.repair()


def test_frames_until_full_control_are_dark() -> None:
    frames = Frames(HeadStage(30.0))
    frames.take(20)
    assert frames.take(1, content=Content.DARK, period_ns=500_000_000) == [Content.DARK]
    assert frames.repair()
    # Half lit pictures do not look dark. The first frame that begins after the sending may be of
    # before, the second one of both.
    assert frames.take(5) == [Content.DARK, Content.DARK, *3 * [Content.OK]]
