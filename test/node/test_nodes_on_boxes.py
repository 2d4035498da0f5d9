# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Whole nodes over DDS, each on a virtual box: dark after each way to end, and two at once."""
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
import itertools
from pathlib import Path
import signal
import time
from typing import Any

from box_scope import packets
from diagnostic_msgs.msg import DiagnosticArray
from listening import Listener, RELIABLE
from node_process import NodeProcess, PATIENCE
import numpy as np
import pytest
from slowness import slowness
from virtual_daq import Box, BoxConfig, pacing_violations, VirtualDaq

PROGRAMS = str(Path(__file__).parents[1] / 'support' / 'scope_programs.py')
DARK = packets('20 01 FF, 58 00 72 FF')
AT_ONCE = 4
STUCK = 10.0  # [s] from the moment it hangs until it is dark
SOON = 4.0  # [s]; launch sends SIGTERM 5 s after SIGINT, and loses patience then
WATCHER = 'watcher: '
LOUD = 'THE LIGHT MAY STILL BE ON'
LIT = {'led': 50.0}
STARTED: list[NodeProcess] = []


@dataclass
class End:
    """How a node ended."""

    box: Box
    node: NodeProcess
    lit: bool  # before
    led: float  # after
    state: str = ''  # of its lifecycle; empty: it has ended
    status: int | None = None
    result: Any = None
    begin: int = 0  # of the lines that the node wrote, the first one of the end

    @property
    def output(self) -> str:
        """Return what the node itself wrote at its end."""
        return '\n'.join(
            itertools.takewhile(lambda line: WATCHER not in line, self.node.lines[self.begin:]))


def start(box: Box, name: str, *python: str, **parameters: Any) -> NodeProcess:
    """Start a node on a box; it is ended with the fixture."""
    options: dict[str, Any] = {'python': python} if python else {}
    node = NodeProcess(
        {'device': box.by_path, **LIT, **parameters}, remap={'__node': name}, **options)
    STARTED.append(node)
    return node


def start_lit(box: Box, name: str, **parameters: Any) -> NodeProcess:
    """Start a node and return when it is active."""
    node = start(box, name, **parameters)
    box.wait(lambda: box.sync_toggles > 3, PATIENCE)
    assert box.led > 0.4
    return node


def asked_to(*transitions: str) -> Callable[[Box, str], End]:
    """Return a way to end: by transitions."""
    def end(box: Box, name: str) -> End:
        node = start_lit(box, name)
        with Listener(f'/{name}') as listener:
            if transitions == ('shutdown',):
                assert listener.shut_down()
            else:
                assert listener.change_state(*transitions)
            led, state = box.led, listener.state
        return End(box, node, True, led, state)
    return end


def told_by(number: int) -> Callable[[Box, str], End]:
    """Return a way to end: by a signal."""
    def end(box: Box, name: str) -> End:
        node = start_lit(box, name)
        node.send_signal(number)
        return End(box, node, True, status=node.wait(), led=box.led)
    return end


def told_while_away(box: Box, name: str, returns: bool) -> End:
    """End by a signal while the box is unplugged, which comes back or not."""
    node = start_lit(box, name)
    box.unplug()
    node.wait_for_output('not back yet')  # which says that the light may be on
    before, lines = len(box.executed), len(node.lines)
    deadline = time.monotonic() + SOON * slowness()
    node.send_signal(signal.SIGINT)
    if returns:
        node.wait_for_output('waiting up to 2 s')
        box.plug()
    status = node.exit_status(deadline - time.monotonic())
    executed = box.executed[before:]
    if not returns:
        box.plug()  # for the watcher, which waits for it
    node.wait()
    return End(box, node, True, box.led, status=status, result=executed, begin=lines)


def told_when_frames_are_slow(box: Box, name: str, frozen: bool) -> End:
    """End by a signal at 2 frames/s, or when these have just stopped."""
    node = start_lit(box, name, frame_rate=2.0)
    if frozen:
        box.freeze()
    node.send_signal(signal.SIGINT)
    status = node.exit_status(SOON * slowness())
    box.reset()  # for the watcher, which waits for frames
    node.wait()
    return End(box, node, True, status=status, led=box.led)


def failing_in(kind: str, state: str) -> Callable[[Box, str], End]:
    """Return a way to end: by an error of its own, which leaves it in a lifecycle state."""
    def end(box: Box, name: str) -> End:
        node = start(box, name, PROGRAMS, kind)
        node.wait_for_output('lit')
        with Listener(f'/{name}') as listener:
            heard = listener.listen('/diagnostics', DiagnosticArray, RELIABLE)
            listener.wait_for_state(state)
            told = listener.wait_until(
                lambda: [status for message in heard for status in message.status
                         if status.name.startswith(name) and status.level == b'\2'],
                'diagnostics tell of an error')
        frames = box.frames
        return End(box, node, bool(frames['light_end'].max() > 0.4), box.led, state,
                   result=told[0].message)
    return end


def without_a_context(box: Box, name: str) -> End:
    """End by a signal that ends the context before the node is destroyed."""
    node = start(box, name, PROGRAMS, 'context')
    node.wait_for_output('lit')
    lit = box.led > 0.4
    node.send_signal(signal.SIGINT)
    node.wait()
    return End(box, node, lit, box.led)


def killed_by(number: int) -> Callable[[Box, str], End]:
    """Return a way to end: by a signal that nothing in the node handles."""
    def end(box: Box, name: str) -> End:
        node = start_lit(box, name)
        before = len(box.executed)
        node.send_signal(number)
        status = node.wait()
        return End(box, node, True, box.led, status=status, result=box.executed[before:])
    return end


def stuck(box: Box, name: str) -> End:
    """End in a C function that does not return and holds the interpreter's lock."""
    node = start(box, name, PROGRAMS, 'stuck')
    node.wait_for_output('lit')
    lit, begin = box.led > 0.4, time.monotonic()
    status = node.exit_status()
    box.wait(lambda: box.led == 0.0)
    took = time.monotonic() - begin
    node.wait()
    return End(box, node, lit, box.led, status=status, result=took)


def killed_and_followed(box: Box, name: str) -> End:
    """End by kill -9, and configure another node at once."""
    node = start_lit(box, name)
    before, lit = len(box.executed), box.led > 0.4
    node.send_signal(signal.SIGKILL)
    node = start(box, name, auto_start=False)
    with Listener(f'/{name}') as listener:
        assert listener.change_state('configure')
        led = box.led
    return End(box, node, lit, led, 'inactive', result=box.executed[before:])


def refused(box: Box, name: str) -> End:
    """Fail to activate, since the device is away."""
    node = start(box, name, auto_start=False)
    with Listener(f'/{name}') as listener:
        assert listener.change_state('configure')
        box.freeze()
        activated = listener.change_state('activate')
        box.reset()
        box.wait(lambda: box.present)
        node.wait_for_output('the device is back')
        return End(box, node, True, box.led, listener.state, result=activated)


WAYS: dict[str, Callable[[Box, str], End]] = {
    'deactivate': asked_to('deactivate'),
    'cleanup': asked_to('deactivate', 'cleanup'),
    'shutdown': asked_to('shutdown'),
    'sigint': told_by(signal.SIGINT),
    'sigterm': told_by(signal.SIGTERM),
    'returning': partial(told_while_away, returns=True),
    'slow': partial(told_when_frames_are_slow, frozen=False),
    'transition': failing_in('transition', 'unconfigured'),
    'capture': failing_in('capture', 'inactive'),
    'executor': failing_in('executor', 'inactive'),
    'context': without_a_context,
    'sighup': told_by(signal.SIGHUP),
    'sigquit': told_by(signal.SIGQUIT),
    'sigkill': killed_by(signal.SIGKILL),
    'sigsegv': killed_by(signal.SIGSEGV),
    'sigabrt': killed_by(signal.SIGABRT),
    'stuck': stuck,
    'followed': killed_and_followed,
    'refused': refused,
}
NEVER_DARK: dict[str, Callable[[Box, str], End]] = {
    'gone': partial(told_while_away, returns=False),
    'frozen': partial(told_when_frames_are_slow, frozen=True),
}
ALL = {**WAYS, **NEVER_DARK}
AT_2_HZ = ('slow', 'frozen')  # which the UCLA firmware cannot do


class Ends:
    """How a node ended in each way; an error of one way is raised by the tests of that way."""

    def __init__(self, futures: dict[str, Future[End]]) -> None:
        self._futures = futures

    def __getitem__(self, way: str) -> End:
        return self._futures[way].result()


@pytest.fixture(scope='module')
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    """Let a node end in each way, some at a time."""
    configs = [
        BoxConfig(image='lit', port=f'{bus}-{bus}', reset_time=0.2, open_ephys=way in AT_2_HZ)
        for bus, way in enumerate(ALL, 1)]
    with VirtualDaq(tmp_path_factory.mktemp('ends'), configs) as rig, \
            ThreadPoolExecutor(AT_ONCE) as pool:
        futures = {
            way: pool.submit(end, box, f'scope_{way}')
            for (way, end), box in zip(ALL.items(), rig.boxes, strict=True)}
        try:
            yield Ends(futures)
        finally:
            pool.shutdown(cancel_futures=True)
            for node in STARTED:
                if node.alive:
                    node.kill()


@pytest.mark.parametrize('way', WAYS)
def test_it_was_lit_and_is_dark(ends: Ends, way: str) -> None:
    end = ends[way]
    assert end.lit
    assert end.led == 0.0, end.node.output
    assert end.box.protocol_faults == []
    assert LOUD not in end.output or way == 'refused'


@pytest.mark.parametrize(('way', 'state'), [
    ('deactivate', 'inactive'), ('cleanup', 'unconfigured'), ('shutdown', 'finalized')])
def test_transitions_lead_to_their_states(ends: Ends, way: str, state: str) -> None:
    end = ends[way]
    assert end.state == state
    assert end.box.streaming == (way == 'deactivate')
    assert pacing_violations(end.box.writes) == []


@pytest.mark.parametrize('way', [
    'sigint', 'sigterm', 'sighup', 'sigquit', 'returning', 'slow', 'gone', 'frozen'])
def test_signals_end_it_in_order(ends: Ends, way: str) -> None:
    # Whoever started it learns by the status that the light may be on.
    assert ends[way].status == (1 if way in NEVER_DARK else 0)
    assert not ends[way].box.busy
    assert 'Traceback' not in ends[way].node.output


def test_a_box_that_comes_back_in_time_is_made_dark_at_the_end(ends: Ends) -> None:
    end = ends['returning']
    assert end.result[-6:] == 3 * DARK
    assert end.node.said('came back and was made dark')


@pytest.mark.parametrize('way', NEVER_DARK)
def test_what_could_not_be_made_dark_is_said(ends: Ends, way: str) -> None:
    assert ends[way].output.count(LOUD) == 1


@pytest.mark.parametrize(('way', 'text'), [
    ('transition', 'a transition that fails'), ('capture', 'destruction was requested'),
    ('executor', 'a callback that fails')])
def test_errors_are_told_with_their_cause(ends: Ends, way: str, text: str) -> None:
    assert text in ends[way].result
    assert ends[way].node.said('Traceback')


@pytest.mark.parametrize(('way', 'number'), [
    ('sigkill', signal.SIGKILL), ('sigsegv', signal.SIGSEGV), ('sigabrt', signal.SIGABRT),
    ('stuck', signal.SIGKILL)])
def test_the_watcher_makes_it_dark(ends: Ends, way: str, number: int) -> None:
    end = ends[way]
    assert end.status == -number
    pid = end.node.pid
    assert f'watcher: scope_node (process {pid}) has ended and its light may' in end.node.output
    assert end.node.said('The light of the Miniscope_V4_BNO is dark')
    assert LOUD not in end.node.output
    assert not end.box.busy


def test_a_stuck_node_is_ended_and_made_dark(ends: Ends) -> None:
    end = ends['stuck']
    assert end.node.said('has given no sign of life for 3 s and its light may be on: ending it')
    assert end.result < STUCK * slowness()


def test_the_watcher_leaves_the_box_to_a_node_that_follows(ends: Ends) -> None:
    end = ends['followed']
    assert end.state == 'inactive'
    assert end.box.busy
    assert not end.node.said('cannot configure')


def test_after_a_kill_dark_is_the_first_control_after_the_init_list(
        ends: Ends) -> None:
    executed = ends['followed'].result
    start_of_init = executed.index(b'\xc0\x22\x02')
    assert executed[start_of_init + 11:start_of_init + 17] == 3 * DARK


def test_an_activation_that_fails_leaves_it_inactive(ends: Ends) -> None:
    end = ends['refused']
    assert end.result is False
    assert end.state == 'inactive'
    assert end.node.said('cannot activate: .*no frame for')


def test_two_boxes_at_once_each_with_its_own_node(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    banks = [random.integers(0, 256, (3, 608, 608), np.uint8) for _ in range(2)]
    configs = [BoxConfig(image=bank, port=f'{bus}-{bus}')
               for bus, bank in enumerate(banks, start=1)]
    with VirtualDaq(tmp_path, configs) as rig:
        left, right = rig.boxes
        nodes = [start(left, 'left', led=10.0), start(right, 'right', led=60.0),
                 start(left, 'third', auto_start=False),
                 NodeProcess({'auto_start': True}, remap={'__node': 'undecided'})]
        try:
            for name, box, bank, raw in (
                    ('left', left, banks[0], 230), ('right', right, banks[1], 102)):
                with Listener(f'/{name}') as listener:
                    images = listener.listen(
                        'image_raw', keep=lambda m: np.frombuffer(m.data, np.uint8))
                    listener.wait_for(images, 5)
                assert box.raw('led') == raw
                known = {frame.tobytes() for frame in bank}
                assert all(image.tobytes() in known for image in images)
            undecided = nodes[3].wait_for_output('cannot configure')
            assert 'more than one DAQ box: set device to one of' in undecided
            assert left.by_path in undecided
            assert right.by_path in undecided
            with Listener('/third') as listener:
                assert not listener.change_state('configure')
                assert listener.state == 'unconfigured'
            assert f'(process {nodes[0].pid})' in nodes[2].wait_for_output('cannot configure')
            assert nodes[0].stop() == 0
            assert (left.led, right.raw('led')) == (0.0, 102)
        finally:
            for node in nodes:
                if node.alive:
                    assert node.stop() == 0
        assert right.led == 0.0
