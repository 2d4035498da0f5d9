# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A node that was cleaned up while its box was away, lit: it goes on making it dark."""
from collections.abc import Iterator
from pathlib import Path

from listening import Listener
from node_process import NodeProcess, PATIENCE, scope_node
import pytest
from virtual_daq import Box, BoxConfig, VirtualDaq


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with VirtualDaq(tmp_path, [BoxConfig()]) as rig:
        yield rig.box


def notes(box: Box) -> list[Path]:
    """Return the notes that say whose light may be on."""
    return list((box.folder.parents[1] / 'miniscope_ros').glob('*.json'))


def clean_up_without_box(node: NodeProcess, ear: Listener, box: Box) -> None:
    """Unplug a lit box and bring its node to the state unconfigured."""
    box.wait(lambda: box.sync_toggles > 3, PATIENCE)
    box.unplug()
    node.wait_for_output('the device is lost')
    assert ear.change_state('deactivate')
    assert ear.change_state('cleanup')
    node.wait_for_output('THE LIGHT MAY STILL BE ON')


def test_a_box_that_comes_back_is_made_dark_and_left_alone(box: Box) -> None:
    with Listener() as ear, scope_node({'led': 50.0}) as node:
        clean_up_without_box(node, ear, box)
        assert notes(box)
        box.plug()
        box.wait(lambda: not notes(box), PATIENCE)
        assert box.led == 0.0
        assert ear.change_state('configure'), 'nobody else has the box'
        assert ear.change_state('cleanup')
        assert node.stop() == 0


def test_a_node_that_ends_before_that_says_so(box: Box) -> None:
    with Listener() as ear, scope_node({'led': 50.0}) as node:
        clean_up_without_box(node, ear, box)
        assert node.stop() == 1
        assert notes(box)
