# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Sessions on virtual boxes: light, loss and triggers as the hardware has them."""
from collections.abc import Iterator
from pathlib import Path
import signal

from listening import stamp_ns
from miniscope_msgs.msg import RecordingStatus
from miniscope_ros.recordings import certificate
from node_process import PATIENCE, scope_node
import pytest
from recording_sessions import messages, only_bag, Session, session_node, write_session
from uvc_camera import uvc_camera
from virtual_daq import BoxConfig, VirtualDaq

LATCHED_TOPICS = {
    'controls', 'image_raw/metadata', 'imu/metadata', 'orientation_rows/metadata'}
OF_A_CAMERA = {'image_raw/metadata'}
LIT = {'led': 50.0, 'auto_start': False}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[VirtualDaq]:
    """Two boxes and a UVC camera."""
    box = BoxConfig(kernel='fixed_firmware')
    with VirtualDaq(tmp_path, [box, box, uvc_camera(rate=30.0)]) as rig:
        yield rig


@pytest.mark.parametrize('unplugged', [False, True], ids=['plugged', 'unplugged in between'])
def test_two_boxes_and_a_camera_in_one_session(
        unplugged: bool, rig: VirtualDaq, tmp_path: Path) -> None:
    file = write_session(tmp_path, {
        name: {**LIT, 'device': box.by_path} for name, box in zip('ab', rig.boxes, strict=False)
    }, record={'recorder': 'builtin'}, cameras=[{'name': 'c', 'parameters': {
        'source': 'camera', 'device': rig.boxes[2].by_path, 'pixel_format': 'MJPG',
        'auto_start': False}}])
    with session_node(file, '--programs', '--start', scope='/b') as session:
        infos = session.ear.wait_for(session.ear.listen('frame_info'), 30)
        if unplugged:
            rig.boxes[1].unplug(1.0)
            session.ear.wait_until(
                lambda: sum(info.lost_before for info in infos) > 10, 'the box is back')
        session.ear.wait_for(infos, len(infos) + 30)
        assert all(box.led > 0.4 for box in rig.boxes[:2])
        session.node.send_signal(signal.SIGINT)
        assert session.node.wait() == 0, session.node.output
    assert [box.led for box in rig.boxes] == [0.0, 0.0, 0.0]
    assert not any(box.busy for box in rig.boxes)
    bag = only_bag(tmp_path / 'bags')
    assert certificate.verify(bag) == []
    recorded = messages(bag)
    scopes = certificate.read(bag)['scopes']
    firsts = []
    for name in 'abc':
        told = recorded[f'/{name}/frame_info']
        assert [info.frame_index for info in told] == list(range(len(told)))
        assert told[0].sync_edge == (-1 if name == 'c' else 0)
        latched = OF_A_CAMERA if name == 'c' else LATCHED_TOPICS
        assert latched <= {topic.removeprefix(f'/{name}/') for topic in recorded}
        firsts.append(stamp_ns(told[0]))
        lost = sum(info.lost_before for info in told)
        assert (lost > 10) == (unplugged and name == 'b')
        assert scopes[f'/{name}']['lost_by_the_scope'] == lost
        assert scopes[f'/{name}']['last_capture_index'] == told[-1].capture_index
    skew = (max(firsts) - min(firsts)) / 1e6
    # All stamps are on one clock, so the bag itself shows the skew that is told.
    assert max(scope['first_frame_after_the_earliest_ms'] for scope in scopes.values()) == \
        pytest.approx(skew, abs=0.001)
    period = 1000 / 20
    if skew > period:
        assert any('more than a period' in text for text in certificate.read(bag)['warnings'])
    # They begin together and end together, each with what belongs to it.
    assert min(stamp_ns(recorded[f'/{name}/frame_info'][-1]) for name in 'ac') > max(firsts)
    parameters = certificate.read(bag)['parameters']
    assert parameters['/c']['pixel_format'] == 'MJPG'
    assert '/session/metadata' in recorded and '/rosout' in recorded


def wait_until_armed(session: Session, seen: set[str]) -> None:
    """Return when a recording waits for its trigger whose folder was not seen before."""
    session.ear.wait_until(
        lambda: session.statuses and session.statuses[-1].state
        == RecordingStatus.WAITING_FOR_TRIGGER and session.statuses[-1].folder not in seen,
        'it waits for the trigger')
    seen.add(session.statuses[-1].folder)


@pytest.mark.parametrize('count', [
    10, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_recordings_follow_a_digital_input_to_the_frame(count: int, tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(open_ephys=True, rate=60.0)]) as rig:
        box = rig.box
        file = write_session(
            tmp_path, {'a': {'trigger.action': 'record', 'trigger.input': 0}},
            record={'recorder': 'builtin', 'folder': str(tmp_path / 'bags' / '{animal}')})
        low = []  # number of the frame from which on the input is low again
        dark = []  # numbers of frames between which nothing may be lit
        with scope_node({**LIT, 'device': box.by_path}, remap={'__node': 'a'}), \
                session_node(file) as session:
            infos = session.ear.listen('frame_info')
            answer = session.start(notes='by the input')
            assert answer.success, answer.message
            seen: set[str] = set()
            for number in range(count):
                wait_until_armed(session, seen)
                assert box.led == 0.0 and box.raw('led') == box.state['light_dark'][0]
                begin = box.frame
                high = begin + 3
                box.trigger(1, at=high)
                dark.append((begin, high))
                heard = len(infos)
                session.ear.wait_for(infos, heard + 10)
                assert box.led > 0.4
                box.trigger(0, at=box.frame + 5 + number % 7)
                box.wait(lambda: box.led == 0.0, PATIENCE)
                low.append(box.inputs_changed)
            wait_until_armed(session, seen)
            session.stop()
            assert session.node.stop() == 0, session.node.output
        frames = box.frames
        by_count = {int(record['counter']): record for record in frames}
        bags = [bag for bag in sorted((tmp_path / 'bags').iterdir(), key=bag_time)
                if certificate.read(bag)['scopes']['/a']['published']]
        assert len(bags) == count and bags[1].name == 'm1_2'
        for bag, first_low, between in zip(bags, low, dark, strict=True):
            told = certificate.read(bag)
            assert told['reason'] == 'its trigger went low'
            assert certificate.verify(bag) == []
            recorded = messages(bag)
            assert [note.text for note in recorded['/session/notes']] == ['by the input']
            published = recorded['/a/frame_info']
            taken = [by_count[info.device_frame_count] for info in published]
            # From frame 0, which is wholly lit, to the last one that was published.
            assert [info.frame_index for info in published] == list(range(len(published)))
            assert told['scopes']['/a']['first_index'] == 0
            assert told['scopes']['/a']['last_index'] == len(published) - 1
            assert taken[0]['light_start'][0] == taken[0]['light_end'][0] > 0.4
            # The first low frame is that of the box.
            index = told['trigger']['first_low_index']
            assert taken[index]['frame'] == first_low
            inputs = [info.digital_inputs for info in published[:index + 1]]
            assert min(inputs) >= 0, 'all are known'
            assert [levels & 1 for levels in inputs] == [1] * index + [0]
            resting = frames[(between[0] <= frames['frame']) & (frames['frame'] <= between[1])]
            assert len(resting) and not resting['light_start'].any()
            assert not resting['light_end'].any()


def bag_time(bag: Path) -> int:
    """Return when a recording ended [ns]."""
    return int(certificate.read(bag)['ended_ns'])


def test_a_trigger_that_nobody_can_read_is_told_and_not_waited_for(
        rig: VirtualDaq, tmp_path: Path) -> None:
    trigger = {'trigger.action': 'record', 'trigger.input': 0}
    file = write_session(tmp_path, {'a': trigger})
    with scope_node({**LIT, 'device': rig.boxes[0].by_path}, remap={'__node': 'a'}), \
            session_node(file) as session:
        session.start()
        told = session.wait_for(RecordingStatus.FAILED)
        assert '/a does not report its digital inputs' in told.message
        assert session.node.stop() == 1
