# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A device goes and comes back, and the acquisition goes on; what users do in the outage."""
from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
import errno
import logging
from pathlib import Path
import re
from statistics import median
from threading import Event
import time

from capturing import Capture, capture, check_account, FAST, PATIENCE, V4
from handles import handles
from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.errors import DeviceError
from miniscope_ros.model import Evidence, Reason
import psutil
import pytest
from virtual_daq import Fault

PAUSES = 2 * 0.4 + 1.0  # [s], of the protocol, while a scope is set up


def in_force(scope: Capture) -> dict[str, int]:
    """Return the registers that the box has now."""
    return {name: scope.box.raw(name) for name in V4.controls}


def registers(**values: float) -> dict[str, int]:
    """Return the registers of a scope with these values, the others as at the start."""
    return {
        name: control.raw(values.get(name, control.start))[0]
        for name, control in V4.controls.items()}


def said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    """Return how often a text was logged."""
    return sum(text in record.getMessage() for record in caplog.records)


def test_it_goes_on_after_a_replug_with_the_users_values(tmp_path: Path) -> None:
    with capture(tmp_path, {'led': 40.0, 'gain': 2.0, 'focus': 30.0}) as scope:
        scope.start()
        scope.ear.wait_frames(20)
        scope.box.always(Fault.LOST)  # no frame shows the gain before the cable is pulled
        scope.source.set_value('gain', 3.5)
        scope.box.wait(lambda: in_force(scope) == registers(led=40.0, gain=3.5, focus=30.0))
        scope.box.unplug()
        scope.wait_lost()
        scope.box.always(Fault.NONE)
        before = len(scope.ear.frames)
        by_user = [c for c in scope.ear.changes if c.event.reason is Reason.USER]
        assert [(c.event.value, c.first_capture_index) for c in by_user] == [(3.5, -1)]
        for name, value in (('led', 60.0), ('focus', -20.0)):
            scope.source.set_value(name, value)
        scope.box.plug(number=6)
        scope.wait_back()
        assert scope.ear.infos[-1].path == '/dev/video6'
        assert in_force(scope) == registers(led=60.0, gain=3.5, focus=-20.0)
        scope.ear.wait_frames(20)
        scope.acquisition.deactivate()
        told = scope.ear.frames
        check_account(told, scope.box)
        # The frame after the outage has the loss, and shows it by time.
        loss = told[before].frame.loss
        assert loss.evidence is Evidence.TIME and loss.lost > FAST
        assert scope.status.losses.lost == loss.lost
        assert scope.status.reconnects == 1
        # Nothing is published but what was taken under the light.
        records = {int(record['frame']): record for record in scope.box.frames}
        lit = [records[one.number]['light_start'][0] for one in told]
        assert lit[:before] == pytest.approx([0.4] * before, abs=0.01)
        assert lit[before:] == pytest.approx([0.6] * (len(told) - before), abs=0.01)
        resumed = [change for change in scope.ear.changes
                   if change.event.reason is Reason.RESUME and change.first_capture_index >= 0]
        assert {change.event.control for change in resumed} == set(V4.controls)
        assert {change.first_capture_index for change in resumed} == {
            told[before].frame.capture_index}
        assert {c.event.value for c in resumed if c.event.control == 'led'} == {60.0}


def held() -> Counter[str]:
    """Return the names of all that this process holds; a box has another lock each time."""
    return Counter(re.sub(r'/lock\.\d+$', '/lock', name) for name in handles().values())


@pytest.mark.parametrize('cycles', [
    5, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])])
def test_replugging_again_and_again(
        tmp_path: Path, cycles: int, caplog: pytest.LogCaptureFixture) -> None:
    memory = psutil.Process().memory_info
    seconds: list[float] = []
    # The orientation is read for most of a period, so the box mostly goes while a buffer is held.
    with capture(tmp_path, reading_time=0.003) as scope:
        scope.start()
        scope.ear.wait_frames(5)
        early: Counter[str] = Counter()
        early_bytes = 0
        for cycle in range(cycles):
            scope.box.unplug()
            scope.wait_lost()
            scope.source.set_value('led', 20.0 + cycle % 50)
            scope.source.set_value('gain', (1.0, 2.0, 3.5)[cycle % 3])
            scope.box.plug(number=2 * (cycle % 5))
            plugged = time.monotonic()
            scope.wait_back()
            seconds.append(time.monotonic() - plugged)
            assert scope.ear.infos[-1].path == f'/dev/video{2 * (cycle % 5)}'
            assert in_force(scope) == registers(
                led=20.0 + cycle % 50, gain=(1.0, 2.0, 3.5)[cycle % 3])
            if cycle == cycles // 5:
                early, early_bytes = held(), memory().rss
        # What else runs in this process may still be about to let go of something.
        deadline = time.monotonic() + PATIENCE
        while (more := held() - early) and time.monotonic() < deadline:
            scope.ear.wait_frames(20)
        late_bytes = memory().rss
        scope.acquisition.deactivate()
        check_account(scope.ear.frames, scope.box)
        assert scope.status.reconnects == cycles
    assert early[str(scope.box.folder / 'lock')] == 1
    # How long it takes is what is required here; one cycle may fall into a busy moment.
    assert median(seconds) < 2.0 + PAUSES
    assert not more
    assert late_bytes - early_bytes < 5_000_000
    # What keeps log records, as pytest does, must keep no error: its traceback has a buffer.
    assert said(caplog, 'the device is lost') == cycles
    assert not [value for record in caplog.records for value in record.args or ()
                if isinstance(value, BaseException)]
    print(f'{cycles} times back after {min(seconds):.2f} to {max(seconds):.2f} s, in the median '
          f'{median(seconds):.2f} s; {sum(early.values())} handles and threads, '
          f'{late_bytes - early_bytes} bytes more')


def test_what_happened_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, 'miniscope_ros')
    with capture(tmp_path) as scope:
        scope.start()
        scope.ear.wait_frames(5)
        scope.box.unplug(seconds=1.5)  # it is looked for several times
        scope.wait_lost()
        with pytest.raises(DeviceError, match='USB port 1-1'):
            scope.acquisition.hard_reset()
        scope.box.refuse('open', errno.EACCES)
        scope.box.wait(lambda: 'udev rule' in scope.status.error)
        scope.box.refuse('open', 0)
        scope.wait_back()
        for text in ('the device is lost', 'not back yet: no DAQ box at USB port 1-1',
                     'not back yet: no permission to open /dev/video0',
                     'the device is back at /dev/video0'):
            scope.box.wait(lambda text=text: said(caplog, text))
            assert said(caplog, text) == 1
        assert scope.status.error == ''


@pytest.mark.parametrize('open_ephys', [
    False, pytest.param(True, marks=pytest.mark.soak)])
def test_a_frozen_box_is_reset_and_goes_on(tmp_path: Path, open_ephys: bool) -> None:
    with capture(tmp_path, open_ephys=open_ephys, reset_number=8) as scope:
        scope.start()
        scope.ear.wait_frames(20)
        scope.box.freeze()
        scope.wait_back()
        assert scope.ear.infos[-1].path == '/dev/video8'
        scope.acquisition.deactivate()
        check_account(scope.ear.frames, scope.box)


def test_a_frozen_box_that_may_not_be_reset_tells_why(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with capture(tmp_path) as scope:
        scope.start()
        scope.box.refuse('reset', errno.EACCES)
        scope.box.freeze()
        scope.box.wait(lambda: said(caplog, 'could not be reset'), PATIENCE)
        assert 'no permission to open /dev/bus/usb/001/001' in scope.status.error
        assert 'udev rule' in scope.status.error
        assert said(caplog, 'could not be reset') == 1
        scope.box.unplug()


def test_every_kind_of_outage_one_by_one(tmp_path: Path) -> None:
    with capture(tmp_path, {'led': 35.0}) as scope:
        scope.box.bad_at_start(40)
        scope.start()
        for lose in (lambda: scope.box.next_frame(Fault.UNPLUG), scope.box.reset,
                     scope.acquisition.hard_reset, lambda: scope.box.refuse_writes(errno.EIO)):
            scope.ear.wait_frames(10)
            lose()
            scope.source.set_value('focus', 10.0)
            scope.wait_lost()
            scope.box.refuse_writes(0)
            if not scope.box.present and not scope.box.state['reappear_ns']:
                scope.box.plug()
            scope.wait_back()
            assert in_force(scope) == registers(led=35.0, focus=10.0)
        scope.acquisition.deactivate()
        check_account(scope.ear.frames, scope.box)
        assert scope.status.damaged >= 5 * 40
        assert scope.status.reconnects == 4


def test_frames_that_wait_at_a_hard_reset_are_published_as_they_came(tmp_path: Path) -> None:
    held, go_on = Event(), Event()

    def hold(frame: Frame) -> None:
        held.set()
        assert go_on.wait(PATIENCE)
    with capture(tmp_path, rate=60.0) as scope, ThreadPoolExecutor() as pool:
        scope.start()
        scope.ear.wait_frames(5)
        scope.ear.at_frame = hold
        assert held.wait(PATIENCE)
        reset = pool.submit(scope.acquisition.hard_reset)
        scope.box.wait_frames(10)  # they wait in the ring
        go_on.set()
        reset.result(PATIENCE)
        scope.wait_back()
        scope.acquisition.deactivate()
        numbers = [one.number for one in scope.ear.frames]
        assert numbers == sorted(set(numbers))
        check_account(scope.ear.frames, scope.box, 1e9 / 60)


def test_reconnect_false_ends_the_acquisition_with_an_error(tmp_path: Path) -> None:
    with capture(tmp_path) as scope:
        scope.acquisition.reconnect = False
        scope.start()
        scope.ear.wait_frames(5)
        scope.box.unplug()
        scope.ear.wait(lambda: scope.ear.stops, 'the acquisition stopped by itself')
        assert (scope.status.state, scope.ear.stops) == ('failed', 1)
        assert '/dev/video0 has gone' in scope.status.error
        scope.acquisition.deactivate()
        assert scope.status.state == 'failed'
        with pytest.raises(DeviceError, match='1-1'):
            scope.acquisition.activate()
        scope.box.plug()
        scope.acquisition.activate()
        scope.ear.wait_frames(5)
        assert (scope.status.state, scope.status.error) == ('active', '')


def test_reconnect_switched_off_in_an_outage_ends_the_search(tmp_path: Path) -> None:
    with capture(tmp_path) as scope:
        scope.start()
        scope.box.unplug()
        scope.wait_lost()
        scope.acquisition.reconnect = False
        scope.ear.wait(lambda: scope.ear.stops, 'the acquisition stopped by itself')
        assert scope.status.state == 'failed'


# ---- transitions in an outage


def test_deactivation_in_an_outage(tmp_path: Path) -> None:
    with capture(tmp_path, {'led': 50.0}) as scope:
        scope.start()
        scope.box.unplug()
        scope.wait_lost()
        scope.acquisition.deactivate()
        assert scope.status.state.is_disconnected
        with pytest.raises(DeviceError, match='disconnected'):
            scope.acquisition.activate()
        told = len(scope.ear.frames)
        scope.source.set_value('frame_rate', 20.0)
        scope.box.plug()
        scope.wait_state('inactive')
        assert scope.status.reconnects == 1
        assert len(scope.ear.frames) == told and scope.box.led == 0.0
        scope.acquisition.activate()
        scope.ear.wait_frames(5)
        assert in_force(scope) == registers(led=50.0, frame_rate=20.0)
        assert check_account(scope.ear.frames, scope.box) == 0


def test_closing_in_an_outage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with capture(tmp_path) as scope:
        scope.start()
        scope.box.unplug()
        scope.wait_lost()
        scope.acquisition.close()
        assert scope.status.state == 'closed'
        assert said(caplog, 'THE LIGHT MAY STILL BE ON')
        scope.box.plug()
        scope.start()
        scope.ear.wait_frames(5)


@pytest.mark.parametrize('frozen', [False, pytest.param(True, marks=pytest.mark.soak)])
def test_the_end_of_the_program_is_not_held_up_by_a_search(tmp_path: Path, frozen: bool) -> None:
    with capture(tmp_path) as scope:
        scope.start()
        scope.box.unplug()
        scope.wait_lost()
        if frozen:
            scope.box.always(Fault.FREEZE)
        streams = scope.box.state['streams']
        scope.box.plug()
        scope.box.wait(lambda: scope.box.state['streams'] > streams)  # it is being set up
        scope.stop.set()
        begin = time.monotonic()
        scope.acquisition.close()
        print(f'closed after {time.monotonic() - begin:.2f} s')
