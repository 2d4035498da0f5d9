# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The watcher as a process: what it holds, what it needs, and that it cannot be ended easily."""
from collections.abc import Iterator
import contextlib
import os
from pathlib import Path
import signal
import subprocess
import sys

from miniscope_ros.watch import watcher
from node_process import NodeProcess, PATIENCE
import psutil
from virtual_daq import BoxConfig, VirtualDaq

LARGEST = 16e6  # [bytes] of its own; a node has 100 MB


@contextlib.contextmanager
def lit_node(rig: VirtualDaq) -> Iterator[NodeProcess]:
    """Run a node that is lit."""
    node = NodeProcess({'led': 50.0}, environment=rig.environ())
    try:
        rig.box.wait(lambda: rig.box.sync_toggles > 3, PATIENCE)
        yield node
    finally:
        if node.alive:
            node.kill()


def watcher_of(node: NodeProcess) -> psutil.Process:
    """Return its watcher."""
    found, = (child for child in psutil.Process(node.pid).children()
              if any('watcher.py' in part for part in child.cmdline()))
    return found


def test_it_is_small_and_apart(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig()]) as rig, lit_node(rig) as node:
        process = watcher_of(node)
        assert process.memory_full_info().uss < LARGEST
        assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid
        assert not process.open_files() and process.num_fds() == 3
        loaded = ' '.join(area.path for area in process.memory_maps())
        assert 'rcl' not in loaded and 'numpy' not in loaded
        before = process.cpu_times().user
        rig.box.wait_frames(100)
        assert process.cpu_times().user - before < 0.1
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            process.send_signal(number)
        node.send_signal(signal.SIGKILL)
        node.wait()
        assert rig.box.led == 0.0


def test_one_that_was_killed_is_replaced(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig()]) as rig, lit_node(rig) as node:
        watcher_of(node).kill()
        node.wait_for_output('the watcher had ended .*; another one was started')
        assert watcher_of(node).is_running()
        node.send_signal(signal.SIGKILL)
        node.wait()
        assert rig.box.led == 0.0


def test_a_node_that_is_stopped_is_ended(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig()]) as rig, lit_node(rig) as node:
        rig.box.wait_frames(45)  # 1.5 s: it has given a sign of life
        node.send_signal(signal.SIGSTOP)
        assert node.wait() == -signal.SIGKILL
        assert rig.box.led == 0.0


def test_a_light_that_is_announced_is_watched_before_it_is_on(tmp_path: Path) -> None:
    script = """
import ctypes
from threading import Event, Semaphore
from miniscope_ros.watch.watch import Watch
asked = Semaphore(0)
# The source has not begun yet.
watch = Watch(lambda: asked.release() or False, Event(), 'Miniscope_V4_BNO')
watch.opening('/dev/video0', '1-1')
watch.lighting()
for _ in range(3):
    asked.acquire()
ctypes.PyDLL(None).sleep(1000)
"""
    with VirtualDaq(tmp_path, [BoxConfig()]) as rig:
        hanging = NodeProcess(python=('-c', script), environment=rig.environ())
        assert hanging.wait() == -watcher.STALLED
        assert 'is dark' in hanging.output


def test_a_node_that_is_dark_and_closed_is_left_alone(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig()]) as rig, lit_node(rig) as node:
        assert node.stop() == 0
        assert not node.said('watcher'), node.output
        assert not list(Path(tmp_path, 'virtual_daq', 'miniscope_ros').glob('*.json'))


def test_it_is_no_part_of_what_never_opens_a_box() -> None:
    node = NodeProcess({'source': 'simulated', 'led': 50.0})
    try:
        node.wait_for_output('streaming|configured')
        assert not psutil.Process(node.pid).children()
    finally:
        node.send_signal(signal.SIGINT)
        assert node.wait() == 0


def test_it_imports_nothing_but_light_parts_of_the_standard_library() -> None:
    script = f"""
import sys
sys.argv = ['watcher.py', '1', '']
exec(compile(open({watcher.__file__!r}).read(), 'watcher.py', 'exec'), {{'__name__': 'x'}})
print(len(sys.modules), [n for n in sys.modules if n in ('typing', 'logging', 'subprocess')])
"""
    output = subprocess.run(
        [sys.executable, '-S', '-E', '-c', script], check=True, text=True,
        capture_output=True).stdout
    assert output.endswith('[]\n'), output
