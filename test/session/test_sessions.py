# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Recordings of simulated scopes: started, stopped, joined, split, timed; what is in the bag."""
import json
import os
from pathlib import Path
import re
import shutil
import signal

from listening import Listener, stamp_ns
from miniscope_msgs.msg import ControlChange, RecordingStatus
from miniscope_ros.commands import export_bag
from miniscope_ros.recordings import certificate
from miniscope_ros.watch.left_values import take_left_values
from node_process import NodeProcess, scope_node
import pytest
from recording_sessions import (
    messages,
    only_bag,
    RECORDERS,
    session_node,
    SIMULATED,
    write_session,
)
from small_disk import small_disk
from std_msgs.msg import String
import yaml

JOINED = 60  # frames at most that one topic has and another lacks
LATCHED_TOPICS = ('image_raw/metadata', 'controls', 'digital_inputs', 'imu/metadata',
                  'orientation_rows/metadata')


@pytest.mark.parametrize('recorder', RECORDERS)
def test_two_scopes_begin_with_frame_0_and_end_in_the_dark(recorder: str, tmp_path: Path) -> None:
    scope = {**SIMULATED, 'auto_start': False}  # so that all of its frames are recorded
    file = write_session(tmp_path, {'a': scope, 'b': scope}, record={'recorder': recorder})
    with session_node(file, '--programs', '--start') as session:
        with Listener('/b') as ear:
            ear.wait_for(ear.listen('frame_info'), 40)
        session.node.send_signal(signal.SIGINT)
        assert session.node.wait() == 0
    bag = only_bag(tmp_path / 'bags')
    recorded = messages(bag)
    for scope in '/a', '/b':
        indexes = [info.frame_index for info in recorded[f'{scope}/frame_info']]
        assert indexes == list(range(len(indexes))) and len(indexes) >= 30
        assert [info.sync_edge for info in recorded[f'{scope}/frame_info']][0] == 0
        for topic in 'image_raw', 'camera_info':
            assert len(recorded[f'{scope}/{topic}']) == len(indexes)
        for topic in LATCHED_TOPICS:
            assert recorded[f'{scope}/{topic}']
        light = [change for change in recorded[f'{scope}/control_changes']
                 if change.control == 'led']
        assert (light[-1].value, light[-1].reason) == (0.0, ControlChange.REASON_STOP)
    assert {'/rosout', '/parameter_events', '/diagnostics'} <= \
        set(certificate.read(bag)['topics'])
    told = json.loads(recorded['/session/metadata'][-1].data)
    assert told['session'] == {'researcher': 'Ada', 'animal': 'm1'}
    assert told['parameters']['/a']['led'] == 20.0
    assert told['catalogue']['Miniscope_V4_BNO']['width'] == 608
    assert told['versions']['python']
    assert certificate.verify(bag) == []
    scopes = certificate.read(bag)['scopes']
    # Who is first is 0 ms after itself.
    assert min(scope['first_frame_after_the_earliest_ms'] for scope in scopes.values()) == 0


@pytest.mark.parametrize('recorder', RECORDERS)
def test_recordings_of_an_active_scope_start_anew_and_leave_it_active(
        recorder: str, tmp_path: Path) -> None:
    file = write_session(tmp_path, {'a': {}}, record={'recorder': recorder})
    with scope_node(SIMULATED, remap={'__node': 'a'}), session_node(file) as session:
        ear = session.ear
        infos = ear.wait_for(ear.listen('frame_info'), 5)
        for name in 'first', 'second':
            answer = session.start(name, f'notes of {name}')
            assert answer.success, answer.message
            assert answer.folder == str(tmp_path / 'bags' / name)
            refused = session.start('third')
            assert not refused.success
            assert f'{name} is being recorded: stop it first' in refused.message
            session.ear.wait_for(infos, len(infos) + 20)
            answer = session.stop()
            assert answer.success, answer.message
            assert ear.state == 'active'
            ear.wait_for(infos, len(infos) + 3)
        answer = session.start('second')
        assert not answer.success and 'second exists already' in answer.message
        assert ear.state == 'active'
        assert session.stop().message == 'nothing is being recorded'
        assert session.node.stop() == 0
    for name in 'first', 'second':
        bag = tmp_path / 'bags' / name
        recorded = messages(bag)
        assert recorded['/a/frame_info'][0].frame_index == 0
        assert recorded['/session/notes'][-1].text == f'notes of {name}'
        assert certificate.verify(bag) == []
    assert not (tmp_path / 'bags' / 'third').exists()


def test_session_data_in_the_notes_go_into_folder_metadata_and_documents(tmp_path: Path) -> None:
    file = write_session(tmp_path, {'a': {}})
    with scope_node(SIMULATED, remap={'__node': 'a'}), session_node(file) as session:
        told = []
        for notes in 'animal: m2\nsex: F\n', 'ate: a pellet, then: slept', '{animal: [m3, m4]}':
            answer = session.start(notes=notes)
            assert answer.success, answer.message
            assert session.stop().success
            bag = Path(answer.folder)
            recorded = messages(bag)
            told.append((bag.name.split('_')[0],
                         json.loads(recorded['/session/metadata'][-1].data)['session'],
                         yaml.safe_load((bag / 'session.yaml').read_text())['session']))
            assert recorded['/session/notes'][-1].text == notes
            assert certificate.verify(bag) == []
        assert session.node.stop() == 0
    own = {'researcher': 'Ada', 'animal': 'm1'}
    theirs = {**own, 'animal': 'm2', 'sex': 'F'}
    assert told == [('m2', theirs, theirs), ('m1', own, own), ('m1', own, own)]


@pytest.mark.parametrize('recorder', RECORDERS)
def test_a_recording_that_joins_leaves_the_scope_alone(recorder: str, tmp_path: Path) -> None:
    file = write_session(tmp_path, {'a': {}}, record={'recorder': recorder, 'restart': False})
    with scope_node(SIMULATED, remap={'__node': 'a'}), session_node(file) as session:
        ear = session.ear
        infos = ear.wait_for(ear.listen('frame_info'), 5)
        assert session.start('joined').success
        ear.wait_for(infos, len(infos) + 30)
        notes = ear.node.create_publisher(String, '/session/note', 10)
        ear.wait_until(notes.get_subscription_count, 'the session listens to notes')
        notes.publish(String(data='the mouse yawns'))
        ear.wait_for(infos, len(infos) + 10)
        assert session.stop().success
        assert ear.state == 'active'
        ear.wait_for(infos, len(infos) + 3)
        assert session.node.stop() == 0
        indexes = [info.frame_index for info in infos]
        assert indexes == list(range(indexes[0], indexes[0] + len(indexes)))  # never restarted
    bag = tmp_path / 'bags' / 'joined'
    recorded = messages(bag)
    indexes = [info.frame_index for info in recorded['/a/frame_info']]
    assert indexes[0] > 0
    assert indexes == list(range(indexes[0], indexes[0] + len(indexes)))
    assert [note.text for note in recorded['/session/notes']] == ['the mouse yawns']
    for topic in LATCHED_TOPICS:
        assert recorded[f'/a/{topic}']
    assert certificate.verify(bag) == []


@pytest.mark.parametrize('recorder', RECORDERS)
def test_a_recording_ends_after_its_duration(recorder: str, tmp_path: Path) -> None:
    file = write_session(tmp_path, {'a': SIMULATED}, record={
        'recorder': recorder, 'duration_minutes': 0.05})
    with session_node(file, '--programs', '--start', '--once') as session:
        assert session.node.wait() == 0
    bag = only_bag(tmp_path / 'bags')
    content = certificate.read(bag)
    assert content['reason'] == 'its 0.05 minutes are over'
    assert content['verdict'] == 'complete'
    frames = content['scopes']['/a']['published']
    assert 60 < frames < 3 * 30 * 3  # 3 s at 30 frames/s, and more only if the machine is slow
    assert certificate.verify(bag) == []


def test_split_files_are_each_complete_and_one_recording(tmp_path: Path) -> None:
    # Without auto_start every frame that is heard belongs to the recording.
    file = write_session(tmp_path, {'a': {**SIMULATED, 'auto_start': False}}, record={
        'recorder': 'builtin', 'split_gb': 0.004})
    with session_node(file, '--programs', '--start') as session:
        session.ear.wait_for(session.ear.listen('frame_info'), 190)
        assert session.stop().success
        assert session.node.stop() == 0
    bag = only_bag(tmp_path / 'bags')
    files = certificate.mcap_files(bag)
    assert [int(file.stem.rpartition('_')[2]) for file in files] == list(range(len(files)))
    assert len(files) > 10  # _10 comes after _9
    for file in files:
        recorded = messages(file)
        for topic in LATCHED_TOPICS:
            assert recorded[f'/a/{topic}'], (file, topic)
    indexes = [info.frame_index for info in messages(bag)['/a/frame_info']]
    assert indexes == list(range(len(indexes)))
    changes = messages(bag)['/a/control_changes']
    assert len(changes) == certificate.read(bag)['topics']['/a/control_changes']['published']
    (bag / 'metadata.yaml').unlink()
    contents = certificate.Contents(bag)
    assert contents.runs['/a/frame_info'].as_list() == [[0, len(indexes) - 1, len(indexes)]]


def test_a_scope_that_ends_alone_is_told_and_the_rest_recorded(tmp_path: Path) -> None:
    file = write_session(tmp_path, {'a': {}, 'b': {}}, record={'recorder': 'builtin'})
    with scope_node(SIMULATED, remap={'__node': 'a'}) as a, \
            scope_node(SIMULATED, remap={'__node': 'b'}), \
            session_node(file, scope='/b') as session:
        infos = session.ear.listen('frame_info')
        assert session.start('bag').success
        session.ear.wait_for(infos, len(infos) + 10)
        assert a.stop() == 0
        session.ear.wait_until(
            lambda: any('/a HAS ENDED' in status.message for status in session.statuses),
            'it is told')
        assert session.stop().success
        assert session.node.stop() == 0
    content = certificate.read(tmp_path / 'bags' / 'bag')
    assert content['verdict'] == 'incomplete'
    assert content['problems'] == []


def test_a_scope_that_is_not_there_makes_the_start_fail(tmp_path: Path) -> None:
    file = write_session(tmp_path, {'a': {}, 'b': {'source': 'replay', 'replay.path': '/no'}})
    with scope_node({**SIMULATED, 'auto_start': False}, remap={'__node': 'a'}), \
            scope_node({'source': 'replay', 'replay.path': '/no', 'auto_start': False},
                       remap={'__node': 'b'}), session_node(file) as session:
        answer = session.start()
        assert not answer.success
        assert '/b cannot configure' in answer.message
        assert session.wait_for(RecordingStatus.FAILED)
        assert session.ear.state == 'inactive'
        assert session.node.stop() == 1
    assert not (tmp_path / 'bags').exists()


def test_a_scope_that_is_started_again_is_recorded_on(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_RUNTIME_DIR', str(tmp_path))
    bag = tmp_path / 'bag'
    # Without the arguments of ROS that every node gets here.
    program = ('import sys; from miniscope_ros.commands.record_scope import main; '
               "main(sys.argv[1:sys.argv.index('--ros-args')])")
    command = ('-c', program, '/a', str(bag), '--respawn', '--recorder', 'builtin',
               '--min-free-gb', '0', '--stop-free-gb', '0')
    started = [NodeProcess({**SIMULATED, 'auto_start': False}, remap={'__node': 'a'})]
    try:
        with Listener('/a') as ear:
            infos = ear.listen('frame_info')
            recording = NodeProcess(python=command)
            started.append(recording)
            ear.wait_for(infos, 90)  # more than the next node publishes unheard
            assert ear.set_each(led=30.0)[0].successful
            started[0].kill()
            count = len(infos)
            # What the launch file does with respawn:=true.
            left = take_left_values(started[0].pid)
            assert left == {'led': 30.0}
            started.append(NodeProcess({**SIMULATED, **left}, remap={'__node': 'a'}))
            # Discovery is repeated every 3 s where a message of it was lost.
            ear.wait_for(infos, count + 200)
            recording.send_signal(signal.SIGINT)
            assert started[-1].stop() == 0
            assert recording.wait() == 0, recording.output
    finally:
        for process in started:
            if process.alive:
                process.kill()
            print(process.output)  # pytest shows it where the test fails
    runs = certificate.read(bag)['topics']['/a/frame_info']['runs']
    assert len(runs) == 2
    assert runs[0][0] == 0
    assert all(last - begin + 1 == count for begin, last, count in runs)
    problem, = certificate.verify(bag)
    assert 'incomplete: /a HAS ENDED during the recording, and was started again' in problem
    between_ns = check_gap(bag, runs)
    assert export_bag.main([str(bag), str(tmp_path / 'out')]) == export_bag.DONE
    # Each acquisition is a session of its own, in folders of date and time.
    folders = sorted(path.parent for path in (tmp_path / 'out').rglob('a/timeStamps.csv'))
    for folder, (_, _, count) in zip(folders, runs, strict=True):
        table = (folder / 'timeStamps.csv').read_text().splitlines()
        # The recorder meets one topic of the new node after the other.
        assert abs(len(table) - 1 - count) < JOINED
        assert (folder / '0.avi').exists()
    gap, = re.findall(r'begins (\S+) s after the last frame of a\n',
                      (tmp_path / 'out' / 'report.txt').read_text())
    # What is exported are the images. A node that is killed may have published an image whose
    # frame_info never came, and the recorder may meet the new node's image_raw later.
    stamps = [stamp_ns(image) for image in messages(bag)['/a/image_raw']]
    last = max(stamp for stamp in stamps if stamp < between_ns)
    begin = min(stamp for stamp in stamps if stamp > between_ns)
    assert float(gap) == pytest.approx((begin - last) / 1e9, abs=0.001)


def check_gap(bag: Path, runs: list[list[int]]) -> int:
    """Fail unless frame_info of the second acquisition tells the gap; return its middle [ns]."""
    infos = messages(bag)['/a/frame_info']
    before, after = infos[:runs[0][2]], infos[runs[0][2]:]
    assert before[-1].frame_index == runs[0][1]
    # The recorder may meet the new node a moment late, which the index tells.
    assert after[0].frame_index == runs[1][0] <= after[0].capture_index
    assert (after[0].frame_index == 0) == (after[0].time_ms == 0.0)
    began_ns = stamp_ns(after[0]) - round(after[0].time_ms * 1e6)
    assert began_ns - stamp_ns(before[-1]) > 5e8  # a node takes longer than that to start
    return (began_ns + stamp_ns(before[-1])) // 2


def test_room_on_the_disk_is_told_while_nothing_is_recorded(tmp_path: Path) -> None:
    with small_disk(tmp_path / 'disk', 200) as disk, session_node(write_session(
            tmp_path, {'a': {}}, record={'folder': str(disk / 'bag')})) as session:
        first = session.ear.wait_until(
            lambda: next((status for status in session.statuses if status.free_bytes), None),
            'the room is told')
        assert first.state == RecordingStatus.IDLE
        assert first.free_bytes == shutil.disk_usage(disk).free
        with (disk / 'large').open('wb') as file:
            os.posix_fallocate(file.fileno(), 0, 100_000_000)
        session.ear.wait_until(
            lambda: session.statuses[-1].free_bytes <= first.free_bytes - 90_000_000,
            'the change is told')
