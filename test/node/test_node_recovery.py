# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The whole node, on a virtual DAQ box and with subscribers, when things go wrong."""
from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import time

from capturing import capture
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from listening import Heard, Listener, stamp_ns
from miniscope_msgs.msg import FrameInfo
from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.node.diagnostics import Diagnostics
from node_process import NodeProcess, scope_node
import pytest
from sensor_msgs.msg import Image
import shared_memory
from virtual_daq import Box, BoxConfig, Fault, VirtualDaq

STREAMED = ('image_raw', 'camera_info', 'frame_info', 'imu/data', 'orientation_rows')
SUBSCRIBER = """
import sys, time
import rclpy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('subscriber')
def take(image):
    print('got', flush=True)
    time.sleep(float(sys.argv[1]))
node.create_subscription(Image, '/miniscope/image_raw', take, 10)
rclpy.spin(node)
"""


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with VirtualDaq(tmp_path, [BoxConfig(kernel='fixed_firmware')]) as rig:
        yield rig.box


def levels(array: DiagnosticArray) -> dict[str, tuple[int, str]]:
    """Return level and message of each status by its part's name."""
    return {status.name.rpartition(': ')[2]: (ord(status.level), status.message)
            for status in array.status}


def wait_for_part(ear: Listener, heard: Heard, part: str, level: bytes, text: str) -> None:
    """Return when a part of the diagnostics, as heard from now on, has a level and a text."""
    seen = len(heard)
    ear.wait_until(
        lambda: any(now[part][0] == ord(level) and text in now[part][1]
                    for now in map(levels, heard[seen:]) if part in now),
        f'{part} says {text!r}')


def summary(node: NodeProcess) -> dict[str, int]:
    """Return the numbers of the line that the node writes when an acquisition ends."""
    line = node.wait_for_output('acquisition ended')
    found = re.search(
        r'(?P<captured>\d+) frames captured = (?P<published>\d+) published \+ (?P<lost>\d+) lost '
        r'\((?P<sequence>\d+) by sequence, (?P<counter>\d+) by counter, (?P<time>\d+) by time, '
        r'(?P<damaged>\d+) damaged\); display skipped (?P<skipped>\d+); '
        r'(?P<seconds>\d+)\.\d s, (?P<rate>\d+)\.\d+ frames/s', line)
    assert found, line
    return {name: int(number) for name, number in found.groupdict().items()}


def test_a_replug_while_subscribers_listen(box: Box) -> None:
    with Listener() as ear, scope_node(
            {'led': 20.0, 'auto_start': False, 'diagnostics_period': 0.2}) as node:
        said = ear.listen('/diagnostics', DiagnosticArray)
        assert ear.change_state('configure')
        heard = {topic: ear.listen(topic, keep=lambda message: (stamp_ns(message), message))
                 for topic in STREAMED}
        metadata = ear.listen('image_raw/metadata')
        ear.wait_for_match(*heard.values())
        assert ear.change_state('activate')
        ear.wait_for(heard['frame_info'], 20)
        wait_for_part(ear, said, 'device', DiagnosticStatus.OK, 'active')
        box.plan({box.frame + 2: Fault.LOST, box.frame + 4: Fault.UNFINISHED,
                  box.frame + 6: Fault.SHORT})
        box.wait_frames(10)

        box.unplug()
        wait_for_part(ear, said, 'device', DiagnosticStatus.ERROR, 'disconnected')
        before = {topic: len(messages) for topic, messages in heard.items()}
        assert ear.set_each(led=45.0)[0].successful
        ear.wait_for(said, len(said) + 5)  # it goes on while nothing else does
        assert {topic: len(messages) for topic, messages in heard.items()} == before
        assert levels(said[-1])['light'][0] == ord(DiagnosticStatus.ERROR)
        with Listener() as latecomer:
            late = latecomer.wait_for(latecomer.listen('image_raw/metadata'))
            assert repr(late) == repr(metadata[-1:])  # which takes NaN for equal

        box.plug(number=4)
        frames = heard['frame_info']
        ear.wait_for(frames, before['frame_info'] + 20)
        wait_for_part(ear, said, 'device', DiagnosticStatus.OK, 'active')
        assert ear.get('led') == 45.0 and box.led == pytest.approx(0.45, abs=0.01)
        device = next(s for s in said[-1].status if s.name == 'miniscope: device')
        values = {pair.key: pair.value for pair in device.values}
        assert (values['path'], values['USB port'], values['reconnects']) == (
            '/dev/video4', '1-1', '1')
        assert ear.change_state('deactivate')

        told = summary(node)
        for topic in ('image_raw', 'camera_info', 'frame_info'):
            ear.wait_for(heard[topic], told['published'])
            assert len(heard[topic]) == told['published']
        infos = [info for _, info in frames]
        assert told['captured'] == told['published'] + told['lost']
        assert told['captured'] == infos[-1].capture_index + 1
        assert told['lost'] == sum(info.lost_before for info in infos)
        assert told['sequence'] + told['counter'] + told['time'] + told['damaged'] == told['lost']
        assert (told['sequence'] >= 1, told['damaged']) == (True, 1)
        stamps = [stamp for stamp, _ in frames]
        assert stamps == [stamp for stamp, _ in heard['image_raw']]
        assert all(earlier < later for earlier, later in pairwise(stamps))
        back = infos[before['frame_info']]
        assert back.loss_evidence == FrameInfo.EVIDENCE_TIME
        gap = (stamps[before['frame_info']] - stamps[before['frame_info'] - 1]) * 30e-9
        assert abs(back.lost_before + 1 - gap) <= 2 and back.lost_before > 60
        assert (told['rate'], told['seconds']) == (
            int((told['published'] - 1) * 1e9 / (stamps[-1] - stamps[0])), pytest.approx(
                (stamps[-1] - stamps[0]) / 1e9, abs=1))


def test_without_reconnection_it_becomes_inactive_with_an_error(box: Box) -> None:
    with Listener() as ear, scope_node({'reconnect': False, 'diagnostics_period': 0.2}) as node:
        said = ear.listen('/diagnostics', DiagnosticArray)
        ear.wait_for_state('active')
        box.unplug()
        ear.wait_for_state('inactive')
        wait_for_part(ear, said, 'device', DiagnosticStatus.ERROR, '/dev/video0 has gone')
        assert not ear.change_state('activate')
        wait_for_part(ear, said, 'device', DiagnosticStatus.ERROR, '1-1')
        box.plug()
        assert ear.change_state('activate')
        wait_for_part(ear, said, 'device', DiagnosticStatus.OK, 'active')
        box.unplug()
        ear.wait_for_state('inactive')
        assert ear.change_state('cleanup')
        wait_for_part(ear, said, 'device', DiagnosticStatus.OK, 'unconfigured')
        assert len(node.said('acquisition stopped')) == 2
        wait_for_part(ear, said, 'light', DiagnosticStatus.ERROR, 'MAY STILL BE ON')
        box.plug()
        ear.wait_until(lambda: 'light' not in levels(said[-1]), 'the light is known to be dark')


def test_diagnostics_tell_what_interface_md_lists(box: Box) -> None:
    with Listener() as ear, scope_node({'led': 10.0, 'diagnostics_period': 0.2}) as node:
        said = ear.listen('/diagnostics', DiagnosticArray)
        wait_for_part(ear, said, 'device', DiagnosticStatus.OK, 'active')
        wait_for_part(ear, said, 'orientation', DiagnosticStatus.OK, 'ok')
        wait_for_part(ear, said, 'acquisition', DiagnosticStatus.OK, '0 of ')
        parts = {status.name: status for status in said[-1].status}
        assert set(parts) == {f'miniscope: {part}' for part in (
            'device', 'acquisition', 'orientation', 'light', 'picture', 'time')}
        assert {status.hardware_id for status in parts.values()} == {'1-1'}
        values = {key.rpartition(': ')[2]: {pair.key: pair.value for pair in status.values}
                  for key, status in parts.items()}
        assert values['device']['device type'] == 'Miniscope_V4_BNO'
        assert values['device']['firmware'] == 'UCLA interface 2'
        assert float(values['acquisition']['rate set [frames/s]']) == 30.0
        assert float(values['acquisition']['rate in [frames/s]']) == pytest.approx(30.0, rel=0.5)
        assert int(values['acquisition']['buffers waiting, at most']) >= 0
        assert values['light'] == {'active': 'True', 'may be lit': 'True', 'led': '10'}
        assert 0.0 <= float(values['orientation']['last change [s]']) < 60.0
        assert values['picture']['minimum'] == '0' and values['picture']['maximum'] == '255'
        assert float(values['time']['jitter [ms]']) < 1.0
        box.always(Fault.STAMP_ZERO)
        ear.wait_until(lambda: any(
            pair.key == 'bad stamps' and int(pair.value) > 5
            for status in said[-1].status for pair in status.values), 'bad stamps are counted')
        box.always(Fault.NONE)
        box.plan({box.frame + 2 * n: Fault.LOST for n in range(2, 30)})
        wait_for_part(ear, said, 'acquisition', DiagnosticStatus.ERROR, 'are being lost')
        wait_for_part(ear, said, 'acquisition', DiagnosticStatus.OK, ' of ')
        box.freeze()
        wait_for_part(ear, said, 'device', DiagnosticStatus.ERROR, 'frozen or unplugged')
        assert node.stop() == 1, 'a frozen box is not seen to go dark'


def test_diagnostics_tell_how_many_buffers_waited(tmp_path: Path) -> None:
    diagnostics = Diagnostics('miniscope')
    held_up: list[int] = []

    def waited() -> int:
        """Return what the next message says."""
        told = diagnostics.statuses(scope.status, 'active', '', None, 0, time.monotonic())
        return next(int(pair.value) for status in told for pair in status.values
                    if pair.key == 'buffers waiting, at most')

    def hold_up(frame: Frame) -> None:
        if not held_up:
            held_up.append(scope.box.frame)
            scope.box.wait_frames(6)  # of which we take the first next, and five wait
            waited()  # what was before

    with capture(tmp_path, rate=20.0) as scope:
        scope.start()
        scope.ear.wait_frames(5)
        scope.ear.at_frame = hold_up
        scope.ear.wait_frames(4)
        assert 5 <= waited() <= scope.box.frame - held_up[0]
        scope.box.wait(lambda: waited() <= 1)


def subscriber(pause: float) -> subprocess.Popen[str]:
    """Start a subscriber to image_raw that rests after each image; return once it got one."""
    environment = {name: value for name, value in os.environ.items() if name != 'LD_PRELOAD'}
    process = subprocess.Popen(
        [sys.executable, '-c', SUBSCRIBER, str(pause)], stdout=subprocess.PIPE, text=True,
        env=environment)
    assert process.stdout is not None and process.stdout.readline() == 'got\n'
    return process


def test_slow_absent_and_dying_subscribers_cost_no_frame(box: Box) -> None:
    with Listener() as ear, scope_node({'display.mode': 'delta_f_over_f'}) as node:
        infos = ear.listen('frame_info')
        ear.wait_for(infos, 10)  # nobody takes the images
        processes = []
        try:
            processes.append(subscriber(0.5))
            for _ in range(2):
                dying = subscriber(0.0)
                processes.append(dying)
                shared_memory.note(dying.pid)
                dying.send_signal(signal.SIGKILL)
                dying.wait()
            images = ear.listen('image_raw', Image, keep=stamp_ns)
            ear.wait_for(images, 60)
            assert ear.change_state('deactivate')
        finally:
            for process in processes:
                shared_memory.note(process.pid)
                process.kill()
                process.wait()
        told = summary(node)
        ear.wait_for(infos, told['published'] - infos[0].frame_index)
        assert told['lost'] == 0
        indices = [info.frame_index for info in infos]
        assert indices == list(range(indices[0], told['published']))


def test_what_a_stopped_subscriber_costs_is_told(box: Box) -> None:
    with Listener() as ear, scope_node({'led': 10.0}) as node:
        infos, images = ear.listen('frame_info'), ear.listen('image_raw', keep=stamp_ns)
        ear.wait_for(images, 5)
        process = subscriber(0.0)
        try:
            process.send_signal(signal.SIGSTOP)
            # Others are served meanwhile. It may have been stopped while it held a lock of the
            # middleware's shared memory, which then costs a second or more.
            ear.wait_for(images, len(images) + 90)
            assert ear.change_state('deactivate')
        finally:
            shared_memory.note(process.pid)
            process.kill()
            process.wait()
        told = summary(node)
        ear.wait_until(lambda: infos[-1].frame_index == told['published'] - 1, 'all frames came')
        assert told['captured'] == told['published'] + told['lost'] == (
            infos[-1].capture_index + 1)
        for before, after in pairwise(infos):
            assert after.frame_index == before.frame_index + 1
            assert after.capture_index == before.capture_index + 1 + after.lost_before


def test_a_subscriber_that_stood_still_hears_again(box: Box) -> None:
    with Listener() as ear, scope_node() as node:
        images = ear.listen('image_raw', keep=stamp_ns)
        ear.wait_for(images, 5)
        process = subscriber(0.0)
        try:
            process.send_signal(signal.SIGSTOP)
            ear.wait_for(images, len(images) + 60)  # its port is found to give no sign of life
            process.send_signal(signal.SIGCONT)
            # It cannot have heard more so far than there was.
            assert process.stdout is not None
            for _ in range(len(images) + 90):
                assert process.stdout.readline() == 'got\n'
        finally:
            shared_memory.note(process.pid)
            process.kill()
            process.wait()
        assert node.alive
