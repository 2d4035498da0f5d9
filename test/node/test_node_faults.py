# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Nodes that are cycled, faulty, many, or on another clock: none leaks, dies or stays lit.

Each scenario has nodes of its own, and all run at once.
"""
from collections.abc import Iterator
import contextlib
from functools import partial
from itertools import pairwise
from pathlib import Path
import tempfile
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import failing_node
from listening import diagnosis, is_dark, lights, Listener, stamp_ns
from miniscope_msgs.msg import ControlChange, FrameInfo
from node_process import NodeProcess, PATIENCE, scope_node
import pytest
from rclpy.clock import Clock as NodeClock
from rclpy.clock import ClockType
from rclpy.qos import ReliabilityPolicy
from recording_folders import scenes, write_miniscope_daq
from rosgraph_msgs.msg import Clock
from together import Outcomes, run_at_once

LED = 20.0
QUIET = {'auto_start': False, 'diagnostics_period': 0.2}
SIMULATED = {'source': 'simulated', 'led': LED}
CYCLES = 20
LOOKS = 40  # at the surroundings; 8 s
WARM = 5  # cycles after which everything that is made once has been made


@contextlib.contextmanager
def scope(namespace: str, fault: str = '', **given) -> Iterator[tuple[NodeProcess, Listener]]:
    """Run a node, simulated unless a source is given, with a fault if there is to be one."""
    # A clock of its own: others run at the same time.
    remap = {'__ns': f'/{namespace}', '/clock': f'/{namespace}/clock'}
    options = {'remap': remap, 'tracebacks': bool(fault)}
    if fault in failing_node.FAULTS:
        options['python'] = (failing_node.__file__, fault)
    source = {} if 'source' in given else SIMULATED
    with (scope_node({**QUIET, **source, **given}, **options) as node,
          Listener(f'/{namespace}/miniscope') as ear):
        yield node, ear


def twenty_cycles_leak_nothing(name: str) -> None:
    psutil = pytest.importorskip('psutil')
    with scope(name) as (node, ear):
        process = psutil.Process(node.pid)
        frames = ear.listen('frame_info')
        used = []
        for _ in range(CYCLES):
            assert ear.change_state('configure', 'activate')
            ear.wait_for(frames, len(frames) + 3)
            assert ear.change_state('deactivate', 'cleanup')
            used.append((
                process.num_threads(), process.num_fds(), process.memory_info().rss / 2**20))
        threads, files, megabytes = zip(*used, strict=True)
        assert max(threads[WARM:]) <= max(threads[:WARM]), used
        assert max(files[WARM:]) <= max(files[:WARM]), used
        assert megabytes[-1] < megabytes[WARM] + 10, used
        node.wait_for_output('acquisition ended', CYCLES)


def exception(name: str, fault: str, transitions: tuple[str, ...]) -> None:
    with scope(name, fault) as (node, ear):
        changes = ear.listen('control_changes')
        assert ear.change_state(*transitions[:-1])
        if transitions[-1] == 'shutdown':
            assert not ear.shut_down()
        else:
            assert not ear.change_state(transitions[-1])
        assert ear.state == 'unconfigured'
        node.wait_for_output(rf'ERROR.*{transitions[-1]} met an error: {failing_node.TEXT}')
        node.wait_for_output('^RuntimeError')  # the traceback is part of the log
        if 'activate' in transitions:
            assert (LED, ControlChange.REASON_START) in lights(changes)
            ear.wait_until(lambda: is_dark(changes), 'it is dark')
        assert ear.change_state('configure')  # the fault was there once


def exception_while_frames_are_published(name: str) -> None:
    with scope(name, 'frame') as (node, ear):
        changes = ear.listen('control_changes')
        reports = ear.listen('/diagnostics', DiagnosticArray)
        assert ear.change_state('configure', 'activate')
        ear.wait_for_state('inactive')
        ear.wait_until(lambda: is_dark(changes), 'it is dark')
        device = diagnosis(ear, reports)['device']
        assert device.level == DiagnosticStatus.ERROR
        assert failing_node.TEXT in device.message
        node.wait_for_output('^RuntimeError')
        frames = ear.listen('frame_info')
        assert ear.change_state('activate')
        assert ear.wait_for(frames, 5)
        assert diagnosis(ear, reports)['device'].level == DiagnosticStatus.OK


def exception_beside_the_raw_stream(name: str, fault: str) -> None:
    with scope(name, fault) as (node, ear):
        frames = ear.listen('frame_info')
        reports = ear.listen('/diagnostics', DiagnosticArray)
        shown, turns = ear.listen('image_display'), ear.listen('imu/data')
        infos = ear.listen('camera_info')
        assert ear.change_state('configure')
        ear.wait_for_match(frames, shown, turns, infos)
        assert ear.change_state('activate')
        node.wait_for_output(f'ERROR.*met an error and is switched off.*{failing_node.TEXT}')
        node.wait_for_output('^RuntimeError')
        node.wait_for_output('works again')
        for heard in (reports, shown, turns, infos):
            ear.wait_for(heard, len(heard) + 3)
        assert ear.state == 'active'
        assert not node.said('acquisition ended')
        indices = [frame.frame_index for frame in frames]
        assert all(earlier < later for earlier, later in pairwise(indices))
        assert ear.change_state('deactivate')
        node.wait_for_output('acquisition ended')


def statistics_are_of_published_frames(name: str) -> None:
    with scope(name) as (node, ear):
        reports = ear.listen('/diagnostics', DiagnosticArray)
        frames = ear.listen('frame_info')
        for _ in range(2):
            assert ear.change_state('configure', 'activate')
            ear.wait_for(frames, len(frames) + 5)
            ear.wait_until(
                lambda: 'mean grey level' in diagnosis(ear, reports)['picture'].message,
                'the picture is described')
            assert ear.change_state('deactivate')
            assert diagnosis(ear, reports)['picture'].message == 'no frame is published'
            assert not diagnosis(ear, reports)['picture'].values
            assert ear.change_state('cleanup')


def a_clock_that_does_not_come_is_told(name: str) -> None:
    with scope(name, use_sim_time=True) as (node, ear):
        assert ear.change_state('configure')
        node.wait_for_output('WARN.*use_sim_time is true, but no time has come on /clock')


def a_clock_that_is_asked_for_later_and_does_not_come_is_told(name: str) -> None:
    with scope(name) as (node, ear):
        reports = ear.listen('/diagnostics', DiagnosticArray)
        ear.wait_until(
            lambda: sum(report.status[0].name.startswith(f'{name}/') for report in list(reports))
            >= LOOKS, 'it has looked at its surroundings often')
        assert ear.set_each(use_sim_time=True)[0].successful
        node.wait_for_output('WARN.*use_sim_time is true, but no time has come on /clock')


def two_nodes_of_one_name(name: str) -> None:
    with scope(name) as (first, _):
        assert not first.said('another node has the same name')
        with scope(name) as (second, _):
            for node in (first, second):
                node.wait_for_output(
                    f'WARN.*another node has the same name, /{name}/miniscope: ')


def without_reconnection_a_lost_box_ends_the_acquisition(name: str) -> None:
    with scope(name, reconnect=False) as (node, ear):
        reports = ear.listen('/diagnostics', DiagnosticArray)
        frames = ear.listen('frame_info')
        assert ear.change_state('configure', 'activate')
        ear.wait_for(frames)
        assert ear.trigger('hard_reset').success
        ear.wait_for_state('inactive')
        device = diagnosis(ear, reports)['device']
        assert device.level == DiagnosticStatus.ERROR
        assert 'has restarted' in device.message
        node.wait_for_output('ERROR.*acquisition stopped')
        seen = len(frames)
        deadline = time.monotonic() + PATIENCE
        while not ear.change_state('activate'):  # the box takes a moment to restart
            assert time.monotonic() < deadline
        ear.wait_until(
            lambda: 0 in [frame.frame_index for frame in frames[seen:]], 'it counts anew')
        assert diagnosis(ear, reports)['device'].level == DiagnosticStatus.OK


def two_nodes_in_two_namespaces(name: str) -> None:
    with (scope('left', device='seed=1') as (_, left),
          scope('right', device='seed=2') as (_, right)):
        reports = left.listen('/diagnostics', DiagnosticArray)
        images = []
        for ear, side in ((left, 'left'), (right, 'right')):
            images.append(ear.listen('image_raw'))
            assert ear.change_state('configure', 'activate')
            ear.wait_for(images[-1], 3)
            assert images[-1][0].header.frame_id == f'{side}_miniscope_optical_frame'
        assert images[0][0].data != images[1][0].data
        left.wait_until(
            lambda: {'left/miniscope: light', 'right/miniscope: light'} <= {
                status.name for report in list(reports) for status in report.status},
            'both are diagnosed')


def simulated_time_is_followed(name: str, **given) -> None:
    begin_ns, tick_ns = 1_000_000_000_000, 10_000_000
    ticks = 0
    with scope(name, use_sim_time=True, **given) as (node, ear):
        reports = ear.listen('/diagnostics', DiagnosticArray)
        frames, images = ear.listen('frame_info'), ear.listen('image_raw', keep=stamp_ns)
        clock = ear.node.create_publisher(Clock, f'/{name}/clock', 10)

        def tick() -> None:
            # Slower than frames come, and at a tenth of the real pace.
            nonlocal ticks
            ticks += 1
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(
                begin_ns + ticks * tick_ns, 1_000_000_000)
            clock.publish(message)

        ear.node.create_timer(0.1, tick, clock=NodeClock(clock_type=ClockType.STEADY_TIME))
        assert ear.change_state('configure')
        ear.wait_for_match(frames, images)
        assert ear.change_state('activate')
        ear.wait_until(
            lambda: frames and stamp_ns(frames[-1]) > begin_ns + 30 * tick_ns, 'it follows')
        assert ear.change_state('deactivate')
        # The last ten are kept for whoever is late, as the scopes beside it may make it.
        ear.wait_until(
            lambda: images[-10:] == [stamp_ns(frame) for frame in frames][-10:],
            'the last images came')
        stamps = [stamp_ns(frame) for frame in frames]
        assert all(earlier < later for earlier, later in pairwise(stamps))
        assert stamps[-1] < begin_ns + (ticks + 1) * tick_ns
        assert reports  # they do not wait for a clock
        # On a busy computer these are true.
        allowed = (r'WARN(?!.*(sync output was switched|being lost|skips pictures|runs as root|'
                   r'no time has come))')
        assert not node.said(allowed)


def simulated_time_is_followed_by_a_recording(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_miniscope_daq(Path(folder) / 'scope', scenes(5), [0, 50, 100, 150, 200])
        simulated_time_is_followed(
            name, source='replay', **{'replay.path': str(path), 'replay.loop': True})


def a_type_without_orientation_has_no_such_topics(name: str) -> None:
    with scope(name, device_type='Miniscope_V3', led=10.0) as (node, ear):
        images = ear.listen('image_raw')
        assert ear.change_state('configure', 'activate')
        ear.wait_for(images)
        assert (images[0].width, images[0].height) == (752, 480)
        frames = ear.wait_for(ear.listen('frame_info'), 3)
        assert {frame.orientation for frame in frames} == {FrameInfo.ORIENTATION_NONE}
        topics = {topic for topic, _ in ear.node.get_topic_names_and_types()}
        assert ear.topic('frame_info') in topics
        assert not topics & set(map(ear.topic, (
            'imu/data', 'imu/metadata', 'orientation_rows', 'orientation_rows/metadata')))


def qos_is_overridden(name: str) -> None:
    topic = f'/{name}/miniscope/image_raw'
    given = {f'qos_overrides.{topic}.publisher.reliability': 'best_effort'}
    with scope(name, **given) as (node, ear):
        for _ in range(2):
            assert ear.change_state('configure')
            info, = ear.node.get_publishers_info_by_topic(topic)
            assert info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
            info, = ear.node.get_publishers_info_by_topic(ear.topic('frame_info'))
            assert info.qos_profile.reliability == ReliabilityPolicy.RELIABLE
            assert ear.change_state('cleanup')


def qos_that_there_is_not_is_one_line(name: str) -> None:
    topic = f'/{name}/miniscope/image_raw'
    given = {f'qos_overrides.{topic}.publisher.reliability': 'perfect'}
    with scope(name, **given) as (node, ear):
        assert not ear.change_state('configure')
        line = node.wait_for_output(r'\[ERROR\]')
        assert 'image_raw' in line and 'perfect' in line
        assert ear.state == 'unconfigured'


CYCLE = ('configure', 'activate', 'deactivate', 'cleanup')
SCENARIOS = {
    **{scenario.__name__: scenario for scenario in (
        twenty_cycles_leak_nothing,  # takes longest
        exception_while_frames_are_published,
        without_reconnection_a_lost_box_ends_the_acquisition,
        two_nodes_in_two_namespaces,
        simulated_time_is_followed,
        simulated_time_is_followed_by_a_recording,
        a_type_without_orientation_has_no_such_topics,
        qos_is_overridden,
        qos_that_there_is_not_is_one_line,
        statistics_are_of_published_frames,
        a_clock_that_does_not_come_is_told,
        a_clock_that_is_asked_for_later_and_does_not_come_is_told,
        two_nodes_of_one_name)},
    **{f'exception_in_the_{part}': partial(exception_beside_the_raw_stream, fault=part)
       for part in ('display', 'orientation', 'camera_info', 'diagnostics', 'terminal')},
    **{f'exception_in_{step}': partial(exception, fault=step, transitions=CYCLE[:number + 1])
       for number, step in enumerate(CYCLE)},
    'exception_in_shutdown': partial(
        exception, fault='cleanup', transitions=('configure', 'activate', 'shutdown'))}
# Two participants each: on one computer Fast DDS looks for 32 of them at most.
outcomes = run_at_once(SCENARIOS, workers=8)


@pytest.mark.parametrize('scenario', SCENARIOS)
def test_that(scenario: str, outcomes: Outcomes) -> None:
    outcomes[scenario].result()
