# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The trigger at the node: taken where the inputs can be read, else refused with why."""
from pathlib import Path

from listening import Listener
from node_process import scope_node
import pytest
from virtual_daq import BoxConfig, VirtualDaq

QUIET = {'auto_start': False}


@pytest.mark.parametrize('action', ['light', 'record'])
def test_it_is_refused_where_the_inputs_cannot_be_read(action: str, tmp_path: Path) -> None:
    light = {'trigger.input': 0, 'trigger.action': action}
    with VirtualDaq(tmp_path, [BoxConfig(), BoxConfig(open_ephys=True)]) as rig:
        with (scope_node({**QUIET, **light, 'device': rig.boxes[0].by_path,
                          'transport': 'v4l2'}) as node, Listener('/miniscope') as ear):
            assert not ear.change_state('configure')
            node.wait_for_output('set transport to usb')
        with (scope_node({**QUIET, **light, 'device': rig.boxes[1].by_path}) as node,
              Listener('/miniscope') as ear):
            assert ear.change_state('configure')
        with (scope_node({**QUIET, **light, 'trigger.input': 2,
                          'device': rig.boxes[1].by_path}) as node, Listener('/miniscope') as ear):
            assert not ear.change_state('configure')
            node.wait_for_output('this box has 2 that can be read, numbered from 0')
    with (scope_node({**QUIET, **light, 'source': 'simulated'}) as node,
          Listener('/miniscope') as ear):
        assert not ear.change_state('configure')
        node.wait_for_output('this source has no digital inputs')
