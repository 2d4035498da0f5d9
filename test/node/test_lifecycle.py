# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The life cycle: transitions and their inverses, faults on the way, and the services."""
from collections.abc import Iterator
from itertools import pairwise

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from listening import diagnosis, is_dark, Listener, stamp_ns
from miniscope_msgs.msg import ControlChange
from node_process import NodeProcess, scope_node
import pytest

LED = 20.0
SIMULATED = {'source': 'simulated', 'led': LED, 'auto_start': False, 'diagnostics_period': 0.2}


@pytest.fixture(scope='module')
def scope() -> Iterator[tuple[NodeProcess, Listener]]:
    """Run a node that the tests leave inactive."""
    with scope_node(SIMULATED) as node, Listener() as ear:
        yield node, ear


Scope = tuple[NodeProcess, Listener]


def test_diagnostics_come_in_every_state(scope: Scope) -> None:
    node, ear = scope
    reports = ear.listen('/diagnostics', DiagnosticArray)
    everything = {'device', 'acquisition', 'orientation', 'light', 'picture', 'time'}
    told = diagnosis(ear, reports)
    assert set(told) == {'device'}
    assert told['device'].message == 'unconfigured, no device open'
    assert ear.change_state('configure')
    told = diagnosis(ear, reports)
    assert set(told) == everything
    assert {status.level for status in told.values()} == {DiagnosticStatus.OK}
    assert (told['device'].message, told['light'].message) == ('inactive', 'dark')
    assert {status.hardware_id for status in told.values()} == {'simulated'}
    frames = ear.listen('frame_info')
    assert ear.change_state('activate')
    ear.wait_for(frames)
    told = diagnosis(ear, reports)
    assert set(told) == everything
    assert {status.level for status in told.values()} == {DiagnosticStatus.OK}
    assert (told['device'].message, told['light'].message) == ('active', 'lit')
    assert 'mean grey level' in told['picture'].message
    assert ear.change_state('deactivate')
    assert diagnosis(ear, reports)['light'].message == 'dark'


def test_invalid_requests_are_answered_with_failure(scope: Scope) -> None:
    node, ear = scope
    assert ear.state == 'inactive'
    for transition in ('configure', 'deactivate'):
        assert not ear.change_state(transition)
    frames = ear.listen('frame_info')
    ear.wait_for_match(frames)
    assert ear.change_state('activate')
    for transition in ('configure', 'activate', 'cleanup'):
        assert not ear.change_state(transition)
    for nonsense in (Transition(id=77), Transition(label='dance')):
        assert not ear.call(
            'change_state', ChangeState, ChangeState.Request(transition=nonsense)).success
    assert ear.state == 'active'
    seen = len(frames)
    ear.wait_for(frames, seen + 10)
    assert ear.change_state('deactivate')
    assert [frame.frame_index for frame in frames] == list(range(len(frames)))
    node.wait_for_output('WARN.*activate refused: the node is already active')
    node.wait_for_output('WARN.*dance refused: the node is active')
    assert not node.said('rcl_lifecycle|No transition'), 'only our own words'


def test_each_acquisition_counts_from_zero(scope: Scope) -> None:
    node, ear = scope
    for _ in range(3):
        frames, images = ear.listen('frame_info'), ear.listen('image_raw', keep=stamp_ns)
        changes = ear.listen('control_changes')
        ear.wait_for_match(frames, images)
        assert ear.change_state('activate')
        ear.wait_for(frames, 5)
        assert ear.change_state('deactivate')
        assert (frames[0].frame_index, frames[0].capture_index, frames[0].sync_edge) == (0, 0, 0)
        assert frames[0].time_ms == 0.0
        ear.wait_until(lambda i=images, f=frames: i == [stamp_ns(x) for x in f], 'all came')
        ear.wait_until(lambda c=changes: is_dark(c), 'it is dark')


def test_reset_background_answers(scope: Scope) -> None:
    node, ear = scope
    assert ear.trigger('reset_background').success


def test_a_hard_reset_is_recovered_from(scope: Scope) -> None:
    node, ear = scope
    changes = ear.wait_for(ear.listen('control_changes'))
    frames = ear.listen('frame_info')
    brightness = ear.listen(
        'image_raw', keep=lambda image: (stamp_ns(image), sum(image.data[::997])))
    ear.wait_for_match(frames, brightness)
    assert ear.change_state('activate')
    ear.wait_for(frames, 5)
    told_before = len(changes)
    answer = ear.trigger('hard_reset')
    assert answer.success and answer.message
    ear.wait_until(lambda: any(f.lost_before > 20 for f in frames), 'it is back')
    after = next(i for i, frame in enumerate(frames) if frame.lost_before > 20)
    ear.wait_for(frames, after + 5)
    assert ear.change_state('deactivate')
    # The outage is accounted for, and time goes on.
    assert [frame.frame_index for frame in frames] == list(range(len(frames)))
    for earlier, later in pairwise(frames):
        assert later.capture_index - earlier.capture_index == 1 + later.lost_before
        assert later.time_ms - earlier.time_ms == pytest.approx(
            (1 + later.lost_before) * 1000 / 30, abs=17)
    # Nothing of the set-up in the dark was published, and the user's value came back.
    levels = [light for _, light in brightness]
    assert min(levels) > 0.7 * max(levels)
    resumed = [c for c in changes[told_before:] if c.reason == ControlChange.REASON_RESUME]
    assert {c.control for c in resumed} == {'led', 'focus', 'gain', 'frame_rate'}
    assert [c.value for c in resumed if c.control == 'led'][-1] == LED
    node.wait_for_output('the device is back')
    node.wait_for_output('INFO.*the device restarts because of the hard reset: ')
    assert not node.said('ERROR')
    assert is_dark(changes)


def test_cleanup_is_the_inverse_of_configure(scope: Scope) -> None:
    node, ear = scope
    assert ear.change_state('cleanup')
    assert ear.state == 'unconfigured'
    assert ear.trigger('hard_reset').success, 'it needs no configuration'
    assert not ear.change_state('activate')


def test_shutdown_from_active(scope: Scope) -> None:
    node, ear = scope
    frames, changes = ear.listen('frame_info'), ear.listen('control_changes')
    reports = ear.listen('/diagnostics', DiagnosticArray)
    assert ear.change_state('configure', 'activate')
    ear.wait_for(frames)
    assert ear.shut_down()
    assert ear.state == 'finalized'
    ear.wait_until(lambda: is_dark(changes), 'it is dark')
    assert diagnosis(ear, reports)['device'].message == 'finalized, no device open'
    assert node.alive
