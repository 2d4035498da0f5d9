# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The light of the capture loop: lit as is told, and dark after each way to end, without ROS."""
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
import errno
from pathlib import Path
import random
import signal
import subprocess
import sys

from box_scope import packets
from capturing import Capture, check_changes, Ear
from miniscope_ros.acquisition.events import Change
from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.errors import DeviceError
import pytest
from virtual_daq import BoxConfig, Fault, VirtualDaq

LOUD = 'THE LIGHT MAY STILL BE ON'
DARK = packets('20 01 FF, 58 00 72 FF')
TESTS = Path(__file__).parents[1]


class Failing(Ear):
    """Somebody who cannot take what it is told."""

    frames_fail = False
    changes_fail = False

    def on_frame(self, frame: Frame) -> None:
        if self.frames_fail:
            raise RuntimeError('a frame that cannot be published')
        super().on_frame(frame)

    def on_change(self, change: Change) -> None:
        if self.changes_fail:
            raise RuntimeError('a change that cannot be published')
        super().on_change(change)


@pytest.fixture(scope='module')
def reserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Capture]]:
    """Open an acquisition for each test at once."""
    configs = [
        BoxConfig(rate=60.0, image='lit', light=1.0, port=f'{bus}-{bus}', reset_time=0.2)
        for bus in range(1, 14)]
    with VirtualDaq(tmp_path_factory.mktemp('light'), configs) as rig:
        all_of_them = [Capture(rig, {'led': 50.0}, ear=Failing(), box=box) for box in rig.boxes]
        with ThreadPoolExecutor(len(all_of_them)) as pool:
            list(pool.map(lambda one: one.acquisition.open(), all_of_them))
        yield all_of_them
        for one in all_of_them:
            one.acquisition.close()


@pytest.fixture
def one(reserve: list[Capture]) -> Iterator[Capture]:
    """Return an acquisition that runs with its light on."""
    one = reserve.pop()
    assert one.box.led == 0.0
    one.acquisition.activate()
    one.ear.wait_frames(2)
    assert one.box.led > 0.4
    yield one
    one.acquisition.close()
    assert not one.box.busy


# ---- lit as is told


def test_no_published_frame_is_lit_otherwise_than_is_told(one: Capture) -> None:
    box, ear = one.box, one.ear
    draw = random.Random(5)
    box.state['jitter_ns'] = 1_000_000
    box.plan({box.frame + n: Fault.LOST if n % 2 else Fault.UNFINISHED
              for n in draw.sample(range(5, 250), 40)})
    for _ in range(25):
        one.source.set_value('led', draw.choice([0.0, 10.0, 33.3, 100.0]))
        if draw.random() < 0.4:
            one.source.set_value('gain', draw.choice([1.0, 2.0, 3.5]))
        ear.wait_frames(draw.randint(4, 10))
    one.acquisition.deactivate()
    check_changes(ear.changes, ear.frames, box)
    for change in ear.changes:
        if change.event.control == 'led' and change.first_capture_index > 0:
            later = [told for told in ear.frames if told.stamp_ns >= change.event.sent_ns]
            first = later[0].frame
            certain = first.capture_index + 2 + first.loss.uncertainty
            assert change.first_capture_index == certain, 'later than is certain'


def test_the_sync_outputs_edges_are_the_frames_with_both_kinds_of_loss(one: Capture) -> None:
    box = one.box
    one.acquisition.deactivate()
    for kind in (Fault.LOST, Fault.UNFINISHED, Fault.ERROR_FLAG):
        before = box.sync_toggles
        one.acquisition.activate()
        one.ear.wait_frames(12)
        for gap in (3, 4, 9):
            box.plan({box.frame + gap: kind})
        one.ear.wait_frames(20)
        one.acquisition.deactivate()
        frames = one.ear.frames
        assert sum(told.frame.loss.lost for told in frames) >= 3
        assert box.sync_toggles - before == frames[-1].frame.sync_edge + 1, kind
        edges = {int(record['frame']): int(record['sync']) - before for record in box.frames}
        assert all(edges[told.number] == told.frame.sync_edge for told in frames)


def test_what_was_sent_is_known_although_no_frame_shows_it(one: Capture) -> None:
    one.box.always(Fault.ERROR_FLAG)
    one.source.set_value('led', 80.0)
    one.box.wait(lambda: one.status.lights == {'led': 80.0})
    assert one.ear.changes[-1].event.value == 50.0
    one.box.always(Fault.NONE)
    one.acquisition.deactivate()
    assert one.status.lights == {'led': 0.0}


# ---- dark after each way to end


def test_dark_after_deactivation(one: Capture) -> None:
    before = len(one.box.executed)
    one.acquisition.deactivate()
    assert one.box.led == 0.0
    assert one.box.executed[before:] == 3 * DARK
    assert len(set(one.box.packets['frame'][before:])) == 3
    assert one.status.state == 'inactive'


def test_dark_after_closing(one: Capture) -> None:
    one.acquisition.close()
    assert one.box.led == 0.0


def test_dark_although_nobody_can_be_told(one: Capture) -> None:
    assert isinstance(one.ear, Failing)
    one.ear.frames_fail = one.ear.changes_fail = True
    one.source.set_value('led', 80.0)
    one.box.wait(lambda: one.ear.stops)
    assert one.box.led == 0.0


def test_dark_after_closing_although_nobody_can_be_told(one: Capture) -> None:
    assert isinstance(one.ear, Failing)
    one.ear.changes_fail = True
    one.source.set_value('led', 80.0)
    one.ear.wait_frames(1)
    one.acquisition.close()
    assert one.box.led == 0.0


def test_a_frozen_box_is_opened_again_to_make_it_dark(
        one: Capture, caplog: pytest.LogCaptureFixture) -> None:
    one.box.freeze()
    one.acquisition.deactivate()
    assert LOUD in caplog.text
    assert one.box.led > 0.4
    assert one.status.state.is_disconnected
    one.acquisition.hard_reset()  # the scope keeps its power, and its light
    one.box.wait(lambda: one.status.state == 'inactive', 20.0)
    assert one.box.led == 0.0


def test_closing_on_a_frozen_box_says_that_the_light_may_be_on(
        one: Capture, caplog: pytest.LogCaptureFixture) -> None:
    one.box.freeze()
    one.acquisition.close()
    assert LOUD in caplog.text
    assert 'sends no frames' in caplog.text
    assert one.box.led > 0.4
    assert one.box.state['queued'] >= 2, 'LED dark has to wait in the queue at least'


def test_closing_waits_for_a_box_that_comes_back_lit(
        one: Capture, caplog: pytest.LogCaptureFixture) -> None:
    before = len(one.box.executed)
    one.box.unplug(seconds=0.8, number=82)
    one.acquisition.close()
    assert 'waiting up to' in caplog.text
    assert LOUD not in caplog.text
    assert one.box.present
    assert one.box.led == 0.0
    assert one.box.executed[before:][-6:] == 3 * DARK


def test_a_stalled_stream_is_opened_again_at_closing(one: Capture) -> None:
    one.box.freeze()
    one.box.wait(lambda: one.status.state.is_disconnected)
    one.box.state['frozen'] = 0  # it was the stream only
    one.acquisition.close()
    assert one.box.led == 0.0


def test_a_box_that_comes_back_is_dark_until_it_is_lit_anew(one: Capture) -> None:
    told = len(one.ear.frames)
    one.box.unplug(seconds=0.3, number=80)
    one.box.wait(lambda: one.status.state.is_disconnected)
    one.source.set_value('led', 20.0)
    one.box.wait(lambda: one.status.reconnects == 1)
    one.ear.wait_frames(5)
    assert one.box.raw('led') == 204
    records = {int(record['frame']): record for record in one.box.frames}
    back = [told for told in one.ear.frames[told:] if records[told.number]['stream'] == 2]
    assert len(back) >= 5
    for one_back in back:
        assert records[one_back.number]['raw_start'][0] == 204, 'published while it was set up'
    changes = [change for change in one.ear.changes if change.event.control == 'led']
    assert changes[-1].event.value == 20.0
    assert changes[-1].first_capture_index == back[0].frame.capture_index
    assert all(change.first_capture_index == -1 for change in changes if not change.event.value)


def test_without_reconnection_a_refused_write_ends_it_in_the_dark(one: Capture) -> None:
    one.acquisition.reconnect = False
    one.box.refuse_writes(errno.EIO, 3)
    one.source.set_value('focus', 10.0)
    one.box.wait(lambda: one.ear.stops)
    assert one.box.led == 0.0
    assert 'takes no commands' in one.status.error
    one.acquisition.close()
    with pytest.raises(DeviceError, match='not open'):
        one.acquisition.activate()


# ---- programs that die

PROGRAM = """
import sys
from threading import Event
sys.path[:0] = sys.argv[1:]
from capturing import Ear
from miniscope_ros.acquisition.capture import CaptureEngine
from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.acquisition.orientation import OrientationValidator
from miniscope_ros.sources.registry import make_daq

device_type = load_catalogue()['Miniscope_V4_BNO']
values = {name: control.start for name, control in device_type.controls.items()}
source = make_daq('', device_type, Event(), values | {'led': 50.0}, transport='v4l2')
acquisition = CaptureEngine(source, Ear(), OrientationValidator())
acquisition.open()
acquisition.activate()
print('lit', flush=True)
sys.stdin.readline()
raise RuntimeError('an error of the program that uses the driver')
"""


@pytest.fixture
def lit_rig(tmp_path: Path) -> Iterator[tuple[VirtualDaq, 'subprocess.Popen[str]']]:
    """Run a program that has lit a scope."""
    with VirtualDaq(tmp_path, [BoxConfig(rate=60.0)]) as rig:
        program = rig.popen(
            '-c', PROGRAM, str(TESTS), str(TESTS / 'support'), stderr=subprocess.PIPE)
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == 'lit\n'
            assert rig.box.led > 0.4
            yield rig, program
        finally:
            program.kill()
            program.communicate()


def lights_off(rig: VirtualDaq, *arguments: str) -> 'subprocess.CompletedProcess[str]':
    """Run the command."""
    return subprocess.run(
        [sys.executable, '-c', 'from miniscope_ros.commands.lights_off import main; main()',
         *arguments],
        env=rig.environ(), text=True, capture_output=True, timeout=30)


def test_dark_after_an_error_of_the_program_around_it(
        lit_rig: tuple[VirtualDaq, 'subprocess.Popen[str]']) -> None:
    rig, program = lit_rig
    _, errors = program.communicate('\n', timeout=20)
    assert program.returncode == 1
    assert 'RuntimeError' in errors
    assert rig.box.led == 0.0


def test_lights_off_after_a_kill(
        lit_rig: tuple[VirtualDaq, 'subprocess.Popen[str]']) -> None:
    rig, program = lit_rig
    busy = lights_off(rig)
    assert busy.returncode == 1
    assert f'in use by {Path(sys.executable).resolve().name}' in busy.stderr or (
        f'(process {program.pid})' in busy.stderr)
    assert LOUD in busy.stderr
    assert rig.box.led > 0.4
    program.send_signal(signal.SIGKILL)
    program.wait(10)
    assert rig.box.led > 0.4
    before = len(rig.box.executed)
    done = lights_off(rig, rig.box.by_path, '--device-type', 'Miniscope_V4_BNO')
    assert (done.returncode, done.stdout) == (0, 'The light of the Miniscope_V4_BNO is dark.\n')
    assert rig.box.led == 0.0
    assert rig.box.executed[before:][-6:] == 3 * DARK
    again = lights_off(rig)
    assert again.returncode == 0, 'it does no harm where it is dark'


def test_lights_off_says_where_it_could_not(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(light=1.0), BoxConfig(link='none')]) as rig:
        for arguments, reason in (
                ([], 'more than one DAQ box: set device to one of'),
                (['/dev/video9'], '/dev/video9 is no DAQ box'),
                ([rig.boxes[1].path], 'no link to the scope'),
                (['--device-type', 'V5'], 'device type V5 is unknown; there are Mini')):
            failed = lights_off(rig, *arguments)
            assert failed.returncode == 1
            assert reason in failed.stderr
            assert LOUD in failed.stderr
            assert 'Traceback' not in failed.stderr
        other = lights_off(rig, rig.boxes[0].path, '--device-type', 'Miniscope_V3')
        assert other.returncode == 1
        assert 'only damaged ones: check device_type' in other.stderr
        assert rig.boxes[0].led == 1.0
