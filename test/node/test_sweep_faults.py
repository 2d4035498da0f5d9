# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A sweep of a whole node on a virtual DAQ box that is unplugged."""
from pathlib import Path

from box_scope import CONTROL_ORDER
from capturing import PATIENCE, V4
from listening import Listener
from node_process import scope_node
from sweeping import Sweeper
from virtual_daq import BoxConfig, VirtualDaq

OLD = 7


def test_an_outage_ends_it_and_the_old_value_is_resumed(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig()]) as rig, scope_node(
            {'led': 20.0, 'focus': OLD}) as node, Listener() as ear:
        frames = ear.listen('frame_info')
        ear.wait_for(frames)
        sweeper = Sweeper(ear)
        goal = sweeper.send(from_value=-100.0, to_value=100.0, step=1.0, frames=5)
        ear.wait_until(lambda: len(sweeper.feedback) >= 2, 'values are taken')
        rig.box.unplug()
        _, result = sweeper.result(goal)
        assert not result.success and len(result.values) >= 2
        assert result.message.startswith('the acquisition was interrupted: ')
        assert result.restored_value == OLD
        assert 'refused: the node is interrupted' in sweeper.sweep()[1].message
        rig.box.plug()
        seen = len(frames)
        ear.wait_for(frames, seen + 5)
        place, raw = CONTROL_ORDER.index('focus'), V4.controls['focus'].raw(OLD)[0]
        rig.box.wait(lambda: int(rig.box.frames[-1]['raw_end'][place]) == raw, PATIENCE)
        assert sweeper.sweep()[1].success, 'the next one goes'
        assert not node.said('Traceback')
    assert rig.box.led == 0.0
