# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""record_scope with both recorders: nothing is missing at either end of the bag."""
from collections.abc import Iterator, Mapping
import contextlib
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
from typing import Any
import zlib

import av
from launched import launched, needs_launch, needs_recorder
from listening import Listener
from miniscope_msgs.msg import ControlChange
from miniscope_ros.session import topics as record
from node_process import PATIENCE, scope_node
import psutil
import pytest
from real_recording import blink1
from recording_sessions import RECORDERS
from rosbags.highlevel import AnyReader
import shared_memory
import yaml

SIMULATED = {'source': 'simulated', 'led': 20.0, 'auto_start': False}
FRAMES = 1287  # of the real recording
FASTER = 4.0
PER_FRAME = {'image_raw', 'camera_info', 'frame_info'}
KEPT = {'image_raw/metadata', 'imu/metadata', 'orientation_rows/metadata', 'digital_inputs'}


@contextlib.contextmanager
def record_scope(
    bag: Path, *options: str, environment: Mapping[str, str] = os.environ,
) -> Iterator[subprocess.Popen[str]]:
    """Run the command; what it and the recorder write to stderr can be read."""
    process = subprocess.Popen(
        [sys.executable, '-c', 'from miniscope_ros.commands.record_scope import main; main()',
         '/miniscope', str(bag), '--min-free-gb=0', '--stop-free-gb=0', *options],
        env=environment, text=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        shared_memory.note(process.pid)
        process.kill()
        process.communicate(timeout=PATIENCE)
        shared_memory.remove_noted()


def outcome(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return exit status and errors once it has ended."""
    _, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, errors


def topics(bag: Path, scope: str = '/miniscope') -> dict[str, list[Any]]:
    """Return the messages of a bag by the topics' names below the scope."""
    messages: dict[str, list[Any]] = {}
    with AnyReader([bag]) as reader:
        for connection, _, data in reader.messages():
            messages.setdefault(connection.topic.removeprefix(f'{scope}/'), []).append(
                reader.deserialize(data, connection.msgtype))
    return messages


def check_ends(bag: Mapping[str, list[Any]], frames: int, led: float) -> None:
    """Fail unless frames are complete from index 0 on and the light's first and last are there."""
    assert frames > 0
    assert [info.frame_index for info in bag['frame_info']] == list(range(frames))
    for topic in PER_FRAME:
        assert len(bag[topic]) == frames, topic
    light = [change for change in bag['control_changes'] if change.control == 'led']
    assert (light[-2].value, light[-2].reason) == (led, ControlChange.REASON_START)
    assert (light[-1].value, light[-1].reason) == (0.0, ControlChange.REASON_STOP)


@pytest.mark.parametrize('recorder', RECORDERS)
def test_a_bag_begins_with_frame_0_and_ends_in_the_dark(recorder: str, tmp_path: Path) -> None:
    bag = tmp_path / 'new' / 'bag'
    with scope_node(SIMULATED) as node, Listener() as ear, \
            record_scope(bag, '--recorder', recorder) as recording:
        frames = ear.listen('frame_info')
        ear.wait_for(frames, 60)
        # Ctrl-C tells both at once; what records has to outlast what is recorded.
        recording.send_signal(signal.SIGINT)
        assert node.stop() == 0
        status, errors = outcome(recording)
        assert status == 0, errors
        published = int(node.said(r' published \+ ')[0].split(' published')[0].split()[-1])
    recorded = topics(bag)
    check_ends(recorded, published, led=20.0)
    assert published >= 60
    assert {*record.TOPICS, *record.ORIENTATION_TOPICS, *record.GENERAL[:2],
            '/record_miniscope/metadata'} <= set(recorded)
    assert 'image_display' not in recorded
    assert all(len(recorded[topic]) in (1, 2) for topic in KEPT)


@needs_launch
@needs_recorder
def test_two_scopes_are_recorded_at_once_by_the_launch_file(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        launches = []
        for name in 'ab':
            launches.append(stack.enter_context(launched(
                name=name, namespace='lab', source='simulated', led=20, device='seed=7',
                record=tmp_path / name, record_display='true')))
        for name, launch in zip('ab', launches, strict=True):
            with Listener(f'/lab/{name}') as ear:
                ear.wait_for(ear.listen('frame_info'), 30)
            launch.press_ctrl_c()
        for launch in launches:
            status, output = launch.wait()
            assert status == 0, output
            assert not launch.programs()
    for name in 'ab':
        recorded = topics(tmp_path / name, f'/lab/{name}')
        check_ends(recorded, len(recorded['frame_info']), led=20.0)
        assert {*record.DISPLAY_TOPICS} < set(recorded)
        assert not any(topic.startswith('/lab') for topic in recorded)


@needs_launch
@needs_recorder
def test_every_frame_of_a_real_recording_is_recorded_again(tmp_path: Path) -> None:
    folder = blink1()
    file = tmp_path / 'replay.yaml'
    file.write_text(yaml.safe_dump({'/**': {'ros__parameters': {
        'replay.path': str(folder), 'replay.rate': FASTER}}}))
    with launched(source='replay', params_file=file, record=tmp_path / 'bag') as launch:
        status, output = launch.wait()  # it ends with the file
    assert status == 0, output
    recorded = topics(tmp_path / 'bag')
    for topic in PER_FRAME:
        assert len(recorded[topic]) == FRAMES, topic
    assert [info.frame_index for info in recorded['frame_info']] == list(range(FRAMES))
    video, = folder.glob('videos/miniscope/*.mkv')
    with av.open(str(video)) as container:
        decoded = [zlib.crc32(frame.to_ndarray(format='gray'))
                   for frame in container.decode(video=0)]
    assert [zlib.crc32(image.data) for image in recorded['image_raw']] == decoded


@pytest.mark.parametrize('recorder', RECORDERS)
def test_a_recording_of_a_replay_ends_with_the_file(recorder: str, tmp_path: Path) -> None:
    played = tmp_path / 'played'
    with scope_node(SIMULATED), record_scope(played, '--duration-minutes=0.03') as recording:
        status, errors = outcome(recording)
        assert status == 0, errors
    with scope_node({'source': 'replay', 'replay.path': str(played), 'auto_start': False}), \
            record_scope(tmp_path / 'again', f'--recorder={recorder}') as recording:
        status, errors = outcome(recording)  # nobody ends it
        assert status == 0, errors
    assert 'what was replayed has come to its end' in errors
    before, after = topics(played), topics(tmp_path / 'again')
    assert [zlib.crc32(image.data) for image in after['image_raw']] == [
        zlib.crc32(image.data) for image in before['image_raw']]
    assert len(after['frame_info']) == len(before['frame_info']) > 10


@pytest.mark.parametrize('recorder', RECORDERS)
def test_a_recorder_that_dies_is_an_error_at_once(recorder: str, tmp_path: Path) -> None:
    with scope_node(SIMULATED), Listener() as ear, \
            record_scope(tmp_path / 'bag', '--recorder', recorder) as recording:
        ear.wait_for(ear.listen('frame_info'), 10)
        recorders = psutil.Process(recording.pid).children(recursive=True)
        assert recorders
        for recorder in recorders:
            shared_memory.note(recorder.pid)
            recorder.kill()
        status, errors = outcome(recording)
        assert status == 1
        assert 'NOT RECORDED: the recorder has died, exit code -9' in errors
        assert ear.state == 'inactive'


@needs_recorder
@pytest.mark.soak
def test_a_recorder_that_does_not_listen_is_an_error_and_nothing_is_lit(tmp_path: Path) -> None:
    # The real one, in a domain where nobody publishes.
    deaf = tmp_path / 'ros2'
    deaf.write_text(
        f'#!/bin/sh\nROS_DOMAIN_ID=101 exec {shutil.which("ros2")} "$@"\n')
    deaf.chmod(0o755)
    environment = {**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'}
    with scope_node(SIMULATED), Listener() as ear, \
            record_scope(tmp_path / 'bag', environment=environment) as recording:
        status, errors = outcome(recording)
        assert status == 1
        assert 'the recorder does not listen to every topic; the scopes were not act' in errors
        assert ear.state == 'inactive'


def test_without_rosbag2_nothing_is_lit_where_it_is_asked_for(tmp_path: Path) -> None:
    environment = {**os.environ, 'PATH': str(tmp_path)}
    with scope_node(SIMULATED), Listener() as ear, record_scope(
            tmp_path / 'bag', '--recorder', 'rosbag2', environment=environment) as recording:
        status, errors = outcome(recording)
        assert status == 1
        assert 'NOT RECORDED: record.recorder is rosbag2, but ros2' in errors
        assert ear.state == 'unconfigured'


def test_a_node_that_cannot_be_configured_is_an_error(tmp_path: Path) -> None:
    with scope_node({'source': 'replay', 'replay.path': '/nowhere', 'auto_start': False}), \
            record_scope(tmp_path / 'bag') as recording:
        status, errors = outcome(recording)
        assert status == 1
        assert 'NOT RECORDED: /miniscope cannot configure; the log of the node says why' in errors
    assert not (tmp_path / 'bag').exists()


def test_an_existing_folder_is_an_error(tmp_path: Path) -> None:
    with record_scope(tmp_path) as recording:
        status, errors = outcome(recording)
    assert status == 1
    assert f'NOT RECORDED: {tmp_path} exists already: name a folder that does not' in errors
    assert not list(tmp_path.iterdir())
