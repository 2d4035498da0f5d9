# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Whenever a signal comes, the node ends in order: dark, with its last words said, status 0."""
from collections.abc import Iterator, Sequence
import contextlib
from functools import partial
from pathlib import Path
import signal
import tempfile

from lifecycle_msgs.msg import TransitionEvent
from listening import is_dark, lights, Listener, RELIABLE, stamp_ns
from node_process import ENTRY_POINT, NodeProcess, PATIENCE, scope_node
import pytest
from recording_folders import scenes, write_miniscope_daq
from slowness import slowness
from together import Outcomes, run_at_once
from virtual_daq import BoxConfig, VirtualDaq

LED = 20.0
SIMULATED = {'source': 'simulated', 'led': LED, 'auto_start': False}
LAST_PACKET = 20  # of what a box gets while it is configured
SOON = 4.0  # [s]; launch sends SIGTERM 5 s after SIGINT, and loses patience then
COMPLAINT = (  # a busy computer loses frames and is late
    r'Traceback|Error|\[ERROR\]|\[WARN\](?!.*(runs as root|frames are being lost|'
    r'the sync output was switched))')


def ended(node: NodeProcess) -> None:
    """Check that it ends by itself, without a complaint."""
    assert node.wait(SOON * slowness()) == 0, node.output
    assert not node.said(COMPLAINT), node.output


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
@pytest.mark.parametrize(
    'module', ['numpy.version', 'cv2', 'rclpy', 'miniscope_ros.node.scope_node'])
def test_during_import(module: str, number: int) -> None:
    # Python tells on stderr what it has imported.
    python = ('-X', 'importtime', '-c', ENTRY_POINT)
    with scope_node({'source': 'simulated'}, python=python) as node:
        node.wait_for_output(rf'\| +{module}$')
        node.send_signal(number)
        ended(node)
        assert not node.said('configured')


# From here on scenarios, several at once.

@contextlib.contextmanager
def scope(namespace: str) -> Iterator[tuple[NodeProcess, Listener]]:
    """Run an unconfigured node."""
    with (scope_node(SIMULATED, remap={'__ns': f'/{namespace}'}) as node,
          Listener(f'/{namespace}/miniscope') as ear):
        yield node, ear


def while_unconfigured(name: str) -> None:
    with scope(name) as (node, ear):
        assert ear.state == 'unconfigured'
        node.send_signal(signal.SIGINT)
        ended(node)


def during_configure(name: str, number: int, packets: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # Not entered: its environment would be that of the other scenarios' nodes, too.
        check_during_configure(VirtualDaq(Path(folder), [BoxConfig()]), name, number, packets)


def check_during_configure(rig: VirtualDaq, name: str, number: int, packets: int) -> None:
    with (scope_node({'auto_start': False, 'led': LED}, remap={'__ns': f'/{name}'},
                     environment=rig.environ()) as node,
          Listener(f'/{name}/miniscope') as ear):
        ear.ask_change('configure')
        rig.box.wait(lambda: len(rig.box.executed) >= packets, PATIENCE)
        node.send_signal(number)
        ended(node)
        assert rig.box.led == 0.0 and not rig.box.busy
        gave_up, finished = node.said('configure was given up'), node.said('configured')
        assert bool(gave_up) != bool(finished), node.output
        # After the last packet it may be faster than the signal.
        assert not finished or packets == LAST_PACKET


def during_activation(name: str, number: int) -> None:
    with scope(name) as (node, ear):
        changes = ear.listen('control_changes')
        transitions = ear.listen(
            'transition_event', TransitionEvent, RELIABLE, lambda event: event.goal_state.label)
        assert ear.set_together(frame_rate=5).successful  # the frames thrown away take 0.6 s
        assert ear.change_state('configure')
        ear.wait_until(lambda: 'inactive' in transitions, 'transitions are told')
        ear.ask_change('activate')
        ear.wait_until(lambda: 'activating' in transitions, 'it activates')
        node.send_signal(number)
        ended(node)
        ear.wait_until(lambda: is_dark(changes), 'it is dark')
        # What was sent is told, though it never held for a frame.
        assert LED in [value for value, _ in lights(changes)]


def while_inactive(name: str) -> None:
    with scope(name) as (node, ear):
        changes = ear.listen('control_changes')
        assert ear.change_state('configure')
        node.send_signal(signal.SIGTERM)
        ended(node)
        assert {value for value, _ in lights(changes)} == {0.0}


def while_active(name: str, numbers: Sequence[int]) -> None:
    with scope(name) as (node, ear):
        assert ear.change_state('configure')
        changes, controls = ear.listen('control_changes'), ear.listen('controls')
        frames, images = ear.listen('frame_info'), ear.listen('image_raw', keep=stamp_ns)
        ear.wait_for_match(changes, controls, frames, images)
        assert ear.change_state('activate')
        ear.wait_for(images, 10)
        for number in numbers:
            node.send_signal(number)
        ended(node)
        ear.wait_until(lambda: is_dark(changes), 'it is dark')
        assert changes[-1].control == 'led'
        ear.wait_until(
            lambda: dict(zip(controls[-1].names, controls[-1].values, strict=True))['led'] == 0.0,
            'the controls in force are told')
        # Nothing is missing up to the last frame.
        line, = node.said('acquisition ended')
        words = line.split()
        count = int(words[words.index('published') - 1])
        ear.wait_until(lambda: len(frames) == len(images) == count, 'all frames came')
        assert [stamp_ns(frame) for frame in frames] == images
        assert [frame.frame_index for frame in frames] == list(range(count))


def while_the_box_is_away(name: str) -> None:
    with scope(name) as (node, ear):
        changes = ear.listen('control_changes')
        assert ear.change_state('configure', 'activate')
        assert ear.trigger('hard_reset').success
        node.wait_for_output('the device restarts because of the hard reset')
        node.send_signal(signal.SIGINT)
        assert node.wait(SOON * slowness()) == 0, node.output
        # Made dark if it could be opened again so soon, else that is said.
        ear.wait_until(lambda: is_dark(changes) or node.said('THE LIGHT MAY STILL BE ON'), 'told')


def while_a_recording_is_played(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_miniscope_daq(
            Path(folder, 'recording'), scenes(200), [50 * n for n in range(200)])
        given = {'source': 'replay', 'replay.path': str(path)}
        with (scope_node(given, remap={'__ns': f'/{name}'}) as node,
              Listener(f'/{name}/miniscope') as ear):
            ear.wait_for(ear.listen('frame_info'), 5)
            node.send_signal(signal.SIGINT)
            ended(node)


SCENARIOS = {
    'while_unconfigured': while_unconfigured,
    **{f'during_configure_after_{sent}_packets': partial(
        during_configure, number=number, packets=sent)
       for sent, number in ((0, signal.SIGINT), (1, signal.SIGTERM), (6, signal.SIGINT),
                            (LAST_PACKET, signal.SIGTERM))},
    'while_inactive': while_inactive,
    **{'_'.join([scenario.__name__, *(number.name for number in numbers)]): partial(
        scenario, **given)
       for scenario, numbers, given in (
           (during_activation, [signal.SIGINT], {'number': signal.SIGINT}),
           (during_activation, [signal.SIGTERM], {'number': signal.SIGTERM}),
           *((while_active, numbers, {'numbers': numbers}) for numbers in (
               [signal.SIGINT], [signal.SIGTERM], [signal.SIGHUP], [signal.SIGQUIT],
               [signal.SIGINT, signal.SIGTERM], [signal.SIGINT] * 5)))},
    'while_the_box_is_away': while_the_box_is_away,
    'while_a_recording_is_played': while_a_recording_is_played}
outcomes = run_at_once(SCENARIOS, workers=4)


@pytest.mark.parametrize('scenario', SCENARIOS)
def test_signal(scenario: str, outcomes: Outcomes) -> None:
    outcomes[scenario].result()
