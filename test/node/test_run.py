# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""run(): what fails again and again, or at the very end, leaves neither a light nor a hot loop."""
from pathlib import Path
import signal

from node_process import NodeProcess, PATIENCE
import psutil
import pytest
from virtual_daq import BoxConfig, VirtualDaq

PROGRAMS = str(Path(__file__).parents[1] / 'support' / 'scope_programs.py')


@pytest.fixture
def rig(tmp_path: Path) -> VirtualDaq:
    """Return a box."""
    return VirtualDaq(tmp_path, [BoxConfig()])


def test_an_executor_that_always_fails_makes_it_dark_and_does_not_spin(rig: VirtualDaq) -> None:
    node = NodeProcess({'led': 50.0}, python=(PROGRAMS, 'broken'), environment=rig.environ())
    try:
        node.wait_for_output('lit')
        node.wait_for_output('the executor met an error')
        rig.box.wait(lambda: rig.box.led == 0.0)
        process = psutil.Process(node.pid)
        used, frames = process.cpu_times(), 60
        begin = node.said('failed again')
        rig.box.wait_frames(frames)
        after = process.cpu_times()
        # 2 s at 30 frames/s: a hot loop takes all of them, and logs thousands of lines.
        assert len(node.said('failed again')) - len(begin) < frames
        assert after.user + after.system - used.user - used.system < 1.0
        assert len(node.said('the executor met an error')) == 1
    finally:
        node.send_signal(signal.SIGINT)
        assert node.wait() == 0, node.output
    assert rig.box.frames['light_end'].max() > 0.4


def test_a_shutdown_that_fails_closes_all_the_same(rig: VirtualDaq) -> None:
    node = NodeProcess({'led': 50.0}, python=(PROGRAMS, 'shutdown'), environment=rig.environ())
    rig.box.wait(lambda: rig.box.sync_toggles > 3, PATIENCE)
    node.send_signal(signal.SIGINT)
    assert node.wait() == 0, node.output
    assert rig.box.led == 0.0
    assert node.said('shutdown met an error: a shutdown that fails')
    assert not node.said('watcher'), 'the node itself has made it dark'
