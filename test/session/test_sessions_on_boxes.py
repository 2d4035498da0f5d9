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
from virtual_daq import BoxConfig, VirtualDaq

LIT = {'led': 50.0, 'auto_start': False}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[VirtualDaq]:
    """Two boxes."""
    with VirtualDaq(tmp_path, [BoxConfig(kernel='fixed_firmware')] * 2) as rig:
        yield rig


@pytest.mark.parametrize('unplugged', [False, True], ids=['plugged', 'unplugged in between'])
def test_two_boxes_in_one_session(unplugged: bool, rig: VirtualDaq, tmp_path: Path) -> None:
    file = write_session(tmp_path, {
        name: {**LIT, 'device': box.by_path} for name, box in zip('ab', rig.boxes, strict=True)
    }, record={'recorder': 'builtin'})
    with session_node(file, '--programs', '--start', scope='/b') as session:
        infos = session.ear.wait_for(session.ear.listen('frame_info'), 30)
        if unplugged:
            rig.boxes[1].unplug(1.0)
            session.ear.wait_until(
                lambda: sum(info.lost_before for info in infos) > 10, 'the box is back')
        session.ear.wait_for(infos, len(infos) + 30)
        assert all(box.led > 0.4 for box in rig.boxes)
        session.node.send_signal(signal.SIGINT)
        assert session.node.wait() == 0, session.node.output
    assert [box.led for box in rig.boxes] == [0.0, 0.0]
    assert not any(box.busy for box in rig.boxes)
    bag = only_bag(tmp_path / 'bags')
    assert certificate.verify(bag) == []
    recorded = messages(bag)
    scopes = certificate.read(bag)['scopes']
    firsts = []
    for name in 'ab':
        told = recorded[f'/{name}/frame_info']
        assert [info.frame_index for info in told] == list(range(len(told)))
        assert told[0].sync_edge == 0
        firsts.append(stamp_ns(told[0]))
        lost = sum(info.lost_before for info in told)
        assert (lost > 10) == (unplugged and name == 'b')
        assert scopes[f'/{name}']['lost_by_the_scope'] == lost
        assert scopes[f'/{name}']['last_capture_index'] == told[-1].capture_index
    skew = abs(firsts[0] - firsts[1]) / 1e6
    # Both stamps are on one clock, so the bag itself shows the skew that is told.
    assert max(scope['first_frame_after_the_earliest_ms'] for scope in scopes.values()) == \
        pytest.approx(skew, abs=0.001)
    period = 1000 / 20
    if skew > period:
        assert any('more than a period' in text for text in certificate.read(bag)['warnings'])


def wait_until_armed(session: Session, seen: set[str]) -> None:
    """Return when a recording waits for its trigger whose folder was not seen before."""
    session.ear.wait_until(
        lambda: session.statuses and session.statuses[-1].state
        == RecordingStatus.WAITING_FOR_TRIGGER and session.statuses[-1].folder not in seen,
        'it waits for the trigger')
    seen.add(session.statuses[-1].folder)


def test_recordings_follow_a_digital_input(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(open_ephys=True, rate=30.0)]) as rig:
        box = rig.box
        file = write_session(
            tmp_path, {'a': {'trigger.action': 'record', 'trigger.input': 0}},
            record={'recorder': 'builtin', 'folder': str(tmp_path / 'bags' / '{time}')})
        with scope_node({**LIT, 'device': box.by_path}, remap={'__node': 'a'}), \
                session_node(file) as session:
            infos = session.ear.listen('frame_info')
            answer = session.start(notes='by the input')
            assert answer.success, answer.message
            seen: set[str] = set()
            for _ in range(2):
                wait_until_armed(session, seen)
                assert box.led == 0.0
                heard = len(infos)
                box.trigger(1)
                session.ear.wait_for(infos, heard + 20)
                assert box.led > 0.4
                box.trigger(0)
                box.wait(lambda: box.led == 0.0, PATIENCE)
            wait_until_armed(session, seen)
            session.stop()
            assert session.node.stop() == 0, session.node.output
        bags = [bag for bag in sorted((tmp_path / 'bags').iterdir())
                if certificate.read(bag)['scopes']['/a']['published']]
        assert len(bags) == 2
        for bag in bags:
            told = certificate.read(bag)
            assert told['reason'] == 'its trigger went low'
            assert told['scopes']['/a']['first_index'] == 0
            assert certificate.verify(bag) == []
            assert [note.text for note in messages(bag)['/session/notes']] == ['by the input']


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
