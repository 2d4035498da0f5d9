# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What real kernels and the real firmware were seen to do, and what the driver makes of it."""
from __future__ import annotations

from contextlib import closing
from pathlib import Path

from box_scope import BoxScope
from capturing import Capture, capture, check_account
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.model import Light
from miniscope_ros.transports.v4l2 import V4l2Transport
import pytest
from virtual_daq import BoxConfig, Fault, VirtualDaq

RATE = 60.0


# ---- failed USB transfers


def test_buffers_of_a_failed_transfer_are_no_frames(tmp_path: Path) -> None:
    with capture(tmp_path, rate=RATE, jitter=0.0002) as scope:
        scope.start()
        scope.ear.wait_frames(20)
        before = scope.status.damaged
        scope.box.next_frame(Fault.TRANSFER)
        scope.ear.wait_frames(20)
        scope.acquisition.deactivate()
        assert scope.status.damaged - before == 1, 'the other buffers of the ring are no frames'
        assert check_account(scope.ear.frames, scope.box, 1e9 / RATE) == scope.status.losses.lost
        assert scope.status.losses.damaged == 1
        assert scope.status.bad_stamps == 0
        edges = [told.frame.sync_edge for told in scope.ear.frames]
        assert -1 not in edges


def fail_transfers(scope: Capture, count: int) -> None:
    """Let so many transfers fail, with frames between them."""
    for _ in range(count):
        scope.ear.wait_frames(5)
        scope.box.next_frame(Fault.TRANSFER)


@pytest.mark.parametrize('reconnect', [True, False])
def test_the_stream_is_opened_anew_before_the_driver_runs_dry(
        tmp_path: Path, caplog: pytest.LogCaptureFixture, reconnect: bool) -> None:
    with capture(tmp_path, rate=RATE) as scope:
        # No device is lost, so none is looked for.
        scope.acquisition.reconnect = reconnect
        scope.start()
        fail_transfers(scope, 4)
        scope.wait_back()
        assert '4 USB transfer errors at /dev/video0' in caplog.text
        scope.ear.wait_frames(5)
        fail_transfers(scope, 3)  # they count anew
        scope.ear.wait_frames(20)
        assert scope.status.reconnects == 1
        scope.acquisition.deactivate()
        assert scope.status.losses.damaged == 7


def test_a_driver_that_lost_all_its_transfers_is_silent(tmp_path: Path) -> None:
    # What the reopening is for: the virtual box's driver behaves like the kernel's.
    with VirtualDaq(tmp_path, [BoxConfig(rate=RATE)]) as rig, \
            closing(V4l2Transport(rig.box.path)) as transport:
        transport.open(608, 608)
        transport.start(8)
        for error in range(1, 6):
            rig.box.next_frame(Fault.TRANSFER)
            rig.box.wait(lambda: not rig.box.state['once'])
            rig.box.wait_frames(2)
            empty = 0
            while (buffer := transport._dequeue(0.0)) is not None:
                empty += transport._is_no_frame(buffer)
                transport.requeue(buffer)
            assert empty, error
            if error < 5:
                buffer = transport._dequeue(1.0)
                assert buffer is not None
                transport.requeue(buffer)
        rig.box.wait_frames(5)
        assert transport._dequeue(0.1) is None


# ---- slow frame rates


def test_a_period_that_the_firmware_cannot_stand_is_refused(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with VirtualDaq(tmp_path, [
            BoxConfig(rate=RATE), BoxConfig(rate=RATE, open_ephys=True)]) as rig:
        refused = BoxScope(rig.boxes[0], frame_rate=2.0)
        with pytest.raises(ConfigurationError, match='frame_rate cannot be 2 .* use 5 or more'):
            refused.open()
        assert not rig.boxes[0].busy
        one = BoxScope(rig.boxes[0])
        one.open()
        with pytest.raises(ConfigurationError, match='frame_rate cannot be 2 '):
            one.source.check_value('frame_rate', 2.0)
        one.source.set_value('frame_rate', 2.0)
        one.run_pending()
        assert rig.boxes[0].state['rate'] == 30.0
        assert 'not sent: frame_rate cannot be 2' in caplog.text
        one.source.set_value('frame_rate', 5.0)
        one.run_pending()
        assert rig.boxes[0].state['rate'] == 5.0
        one.source.close()
        # The other firmware has no such limit.
        other = BoxScope(rig.boxes[1], frame_rate=2.0)
        other.open()
        assert rig.boxes[1].state['rate'] == 2.0
        other.source.close()


@pytest.mark.parametrize('only_dark', [False, True])
def test_a_scope_left_at_two_frames_a_second_is_reached_again(
        tmp_path: Path, caplog: pytest.LogCaptureFixture, only_dark: bool) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(light=1.0)]) as rig:
        box = rig.box
        box.state['start_rate'] = 2.0
        box.unplug()
        box.plug()
        assert box.led == 1.0
        one = BoxScope(box)
        if only_dark:
            one.source.make_dark()
        else:
            one.open()
            assert len(one.pass_frames(10)) == 10
            one.source.close()
        assert box.led == 0.0 and box.state['rate'] == 30.0
        assert one.source.light is Light.DARK
        assert 'only the first frame of the stream came' in caplog.text
        # Nobody else is suspected of it.
        caplog.clear()
        box.freeze()
        with pytest.raises(Exception, match='no link|sends no frames'):
            BoxScope(box).open()
        assert 'only the first frame' not in caplog.text


# ---- what cannot be read


def test_the_trigger_is_unknown_over_v4l2(tmp_path: Path) -> None:
    kernels = ('old_kernel', 'new_kernel', 'fixed_firmware')
    configs = [BoxConfig(rate=RATE, kernel=kernel) for kernel in kernels]
    with VirtualDaq(tmp_path, configs) as rig:
        for box in rig.boxes:
            one = BoxScope(box, focus=1.0)
            one.open()
            seen = set()
            for level in (1, 0, 1):
                box.trigger(level)
                # The kernel answers with the last word written to GAMMA, here 0x8008 and 0x7F08.
                one.source.set_value('focus', float(level))
                one.run_pending()
                seen |= {one.read().digital_inputs for _ in range(5)}
            assert seen == {-1}
            one.source.close()


def test_firmware_without_pan_and_tilt_is_named(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [
            BoxConfig(rate=RATE, pan_tilt=False),
            BoxConfig('Miniscope_V4', rate=RATE, pan_tilt=False)]) as rig:
        one = BoxScope(rig.boxes[0])
        assert any('too old to give the orientation' in text for text in one.open().warnings)
        assert {one.read().orientation for _ in range(5)} == {None}
        one.source.close()
        without_sensor = BoxScope(rig.boxes[1])
        assert without_sensor.open().warnings == ()
        without_sensor.source.close()


def test_refused_readings_rest(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(rate=RATE)]) as rig:
        one = BoxScope(rig.box)
        one.open()
        rig.box.state['read_ns'] = 200_000_000
        rig.box.refuse('read', 110)
        one.pass_frames(20)  # the first reading takes its time, then it rests for 4 s
        frames = one.pass_frames(30)
        assert frames[-1] - frames[0] < 40, 'frames were lost while readings were waited for'
        one.source.close()


# ---- resetting


def test_hard_reset_of_a_box_that_was_never_opened(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(rate=RATE, reset_time=0.1)]) as rig:
        one = BoxScope(rig.box)
        generation = int(rig.box.state['generation'])
        assert 'USB port' in one.source.hard_reset()
        rig.box.wait(lambda: rig.box.present)
        assert rig.box.state['generation'] == generation + 1
        one.open()
        assert one.source.hard_reset() == 'the box restarts'
        one.source.close()
