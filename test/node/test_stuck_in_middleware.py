# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
What hangs the middleware is put into its shared memory while a box is lit.

A subscriber that dies leaves a mutex that nobody frees, or a port that was never finished. Where
publish() hangs for that, the watcher ends the node and makes the box dark.
"""
from collections.abc import Callable, Iterator, Sequence
import contextlib
from dataclasses import dataclass
from itertools import pairwise
import os
from pathlib import Path
import signal
import time

from broken_shared_memory import (
    hold_mutexes,
    is_of_a_domain,
    leave_half_made,
    listener,
    ports_of,
    segments_of,
)
from listening import Listener
from miniscope_msgs.msg import FrameInfo
from miniscope_ros.stop import STALLED_STATUS
from node_process import NodeProcess, PATIENCE, scope_node
import pytest
import shared_memory
from slowness import slowness
from virtual_daq import VirtualDaq

DARK_S = 10.0  # docs/darkness.md: within so long after a hang
RATE = 30.0
HANGS = 'watcher: scope_node .* has given no sign of life for 3 s'
NOT_STARTED = 'the middleware has not started within 10 s'

pytestmark = pytest.mark.skipif(
    'fastrtps' not in os.environ.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp')
    or os.environ.get('ROS_DISTRO', 'jazzy') not in ('humble', 'jazzy'),
    reason='the files are those of Fast DDS 2')


@dataclass
class Scene:
    """A node that lights a box, and a subscriber that hears it."""

    rig: VirtualDaq
    node: NodeProcess
    victim: NodeProcess

    def kill_victim(self) -> None:
        """Kill the subscriber."""
        self.victim.send_signal(signal.SIGKILL)
        self.victim.wait()

    def check_that_it_is_ended_in_the_dark(self, began: float) -> None:
        """Fail unless the watcher ends the node, and the box is dark in time."""
        status = self.node.wait()  # the watcher, too, has ended then
        assert time.monotonic() - began < DARK_S * slowness()
        assert self.rig.box.led == 0.0
        assert status in (-signal.SIGKILL, STALLED_STATUS), self.node.output
        assert len(self.node.said(HANGS)) == 1, self.node.output

    def check_that_it_hangs_and_goes_dark(self, began: float) -> None:
        """Fail unless the node hangs, is ended by its watcher, and the box is dark in time."""
        self.check_that_it_is_ended_in_the_dark(began)
        assert self.node.said('The light of the Miniscope_V4_BNO is dark'), self.node.output
        assert not self.node.said('acquisition ended'), 'it could end in order: it did not hang'


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Run a node and a subscriber; afterwards nothing of both is in /dev/shm."""
    with contextlib.ExitStack() as stack:
        rig = stack.enter_context(VirtualDaq(tmp_path))
        node = NodeProcess({'led': 50.0}, environment=rig.environ())
        stack.callback(end, node)
        victim = listener()
        stack.callback(end, victim)
        victim.wait_for_output('heard')
        assert rig.box.led > 0.0
        files = {file for process in (node, victim)
                 for file in shared_memory.files_of(process.pid)}
        for process in (node, victim):
            shared_memory.note(process.pid)
        yield Scene(rig, node, victim)
    shared_memory.remove_noted(at_end=True)
    assert not [file for file in files if os.path.exists(file) and is_of_a_domain(file)]


def end(process: NodeProcess) -> None:
    """End a process if it has not ended."""
    if process.alive:
        process.kill()


def mutex_of_the_segment(scene: Scene) -> None:
    # Who receives looks into the sender's segment, and holds its mutexes now and then.
    hold_mutexes(segments_of(scene.node.pid), [scene.node.pid, scene.victim.pid])
    scene.kill_victim()


def half_made_port(scene: Scene) -> None:
    # A program that got the number of a dead one dies, too, before its port has a size.
    ports = ports_of(scene.victim.pid)
    assert ports
    scene.victim.send_signal(signal.SIGSTOP)  # else it would tidy up
    for port in ports:
        leave_half_made(port)
    scene.kill_victim()


def test_a_node_that_follows_may_have_the_number_of_a_half_made_port(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        rig = stack.enter_context(VirtualDaq(tmp_path))
        victim = listener()  # before the node: it has the first number
        stack.callback(end, victim)
        stack.callback(shared_memory.remove_noted, at_end=True)
        victim.wait_for_output('listens')
        node = NodeProcess({'led': 50.0}, environment=rig.environ())
        stack.callback(end, node)
        victim.wait_for_output('heard')
        shared_memory.note(node.pid)
        half_made_port(Scene(rig, node, victim))
        assert node.wait() in (-signal.SIGKILL, STALLED_STATUS), node.output
        assert rig.box.led == 0.0
        with scope_node({'led': 50.0}, environment=rig.environ()):
            rig.box.wait(lambda: rig.box.led > 0.0, PATIENCE)


@pytest.mark.parametrize('break_it', [mutex_of_the_segment, half_made_port])
def test_a_node_that_hangs_in_publish_is_ended_in_the_dark(
        break_it: Callable[[Scene], None], scene: Scene) -> None:
    began = time.monotonic()
    break_it(scene)
    scene.check_that_it_hangs_and_goes_dark(began)


def test_a_mutex_of_the_dead_ones_own_port_costs_frames_that_are_told(scene: Scene) -> None:
    """
    Fast DDS gives it up after 1 s, and the node goes on.

    Where the stand-still lasts 3 s, as it may on a busy computer, the watcher ends the node.
    """
    with Listener() as ear:
        frames = ear.wait_for(ear.listen('frame_info'), 10)
        began = time.monotonic()
        assert hold_mutexes(
            ports_of(scene.victim.pid), [scene.node.pid, scene.victim.pid]) >= 1
        scene.kill_victim()
        scene.rig.box.wait(lambda: not scene.node.alive or goes_on_after_a_loss(frames), PATIENCE)
        if scene.node.alive:
            assert scene.node.stop() == 0, scene.node.output
            assert not scene.node.said(HANGS)
        else:
            scene.check_that_it_is_ended_in_the_dark(began)  # in order, if it goes on by then
    for before, after in pairwise(frames):
        if after.frame_index == before.frame_index + 1:
            assert after.capture_index == before.capture_index + 1 + after.lost_before
    assert scene.rig.box.led == 0.0


def goes_on_after_a_loss(frames: Sequence[FrameInfo]) -> bool:
    """Whether a frame was told as lost, and 20 frames came after that."""
    return any(frame.lost_before for frame in frames[:-20])


def test_a_new_subscriber_that_meets_a_half_made_port_leaves_the_node_alone(
        scene: Scene, tmp_path: Path) -> None:
    last = ports_of(scene.node.pid) + ports_of(scene.victim.pid)
    name, _, number = max(str(port) for port in last).rpartition('port')
    following = Path(f'{name}port{int(number) + 2}')  # of the next participant
    assert not following.exists()
    leave_half_made(following, begun=True)
    published = scene.rig.box.sync_toggles
    recorder = NodeProcess(python=(
        '-c', 'import sys; from miniscope_ros.commands.record_scope import main; '
        "main(sys.argv[1:sys.argv.index('--ros-args')])", '/miniscope', str(tmp_path / 'bag'),
        '--min-free-gb', '0', '--stop-free-gb', '0'))
    try:
        assert recorder.wait() == 1, recorder.output
        line, = recorder.said(NOT_STARTED)
        assert 'delete /dev/shm/fast*' in line
    finally:
        end(recorder)
    # It goes on, without a loss: 10 s of frames, of which a busy computer may lose some.
    scene.rig.box.wait(lambda: scene.rig.box.sync_toggles > published + 8 * RATE, PATIENCE)
    assert not scene.node.said(HANGS) and scene.rig.box.led > 0.0
    assert scene.node.stop() == 0, scene.node.output
    assert scene.rig.box.led == 0.0
