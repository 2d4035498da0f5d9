# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A device that is not there when the node starts by itself is waited for."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from listening import Listener
from miniscope_ros.transports.v4l2 import V4l2Transport
from node_process import scope_node
import pytest
from virtual_daq import Box, BoxConfig, VirtualDaq

WAITED_FOR = 'the device is waited for'


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """Make a box that is not plugged in."""
    with VirtualDaq(tmp_path, [BoxConfig(plugged=False)]) as rig:
        yield rig.box


def test_a_box_plugged_in_later_is_found(box: Box) -> None:
    with scope_node({'led': 20.0}) as node, Listener() as ear:
        node.wait_for_output('cannot configure: no Miniscope DAQ box')
        node.wait_for_output(WAITED_FOR)
        infos = ear.listen('frame_info')
        box.plug()
        ear.wait_for(infos, 5)
        assert box.led > 0
        assert len(node.said('cannot configure')) == len(node.said(WAITED_FOR)) == 1
        assert ear.state == 'active'
    assert box.led == 0.0


def test_a_box_in_use_is_waited_for(box: Box) -> None:
    box.plug()
    with closing(V4l2Transport(box.path)) as other:
        other.open(608, 608)
        other.start(8)
        with scope_node({}) as node, Listener() as ear:
            node.wait_for_output('in use')
            node.wait_for_output(WAITED_FOR)
            infos = ear.listen('frame_info')
            other.close()
            ear.wait_for(infos, 2)
            assert len(node.said('cannot configure')) == 1


@pytest.mark.parametrize('parameters', [
    {'reconnect': False}, {'source': 'replay', 'replay.path': '/nowhere'}])
def test_what_is_not_to_come_back_is_not_waited_for(
        box: Box, parameters: dict[str, bool | str]) -> None:
    with scope_node(parameters) as node, Listener() as ear:
        node.wait_for_output('cannot configure')
        box.plug()
        # It answers, and is still as it was.
        assert ear.state == 'unconfigured'
        assert not node.said(WAITED_FOR)
        assert node.alive


def test_whoever_configures_meanwhile_decides_what_goes_on(box: Box) -> None:
    with scope_node({}) as node, Listener() as ear:
        node.wait_for_output(WAITED_FOR)
        assert ear.set_each(reconnect=False)[0].successful
        box.plug()
        assert ear.change_state('configure')
        assert ear.state == 'inactive'
        streams = box.frame
        box.wait(lambda: box.frame > streams + 30)  # a second, in which it would have looked
        assert ear.state == 'inactive'


def test_the_end_of_the_program_does_not_wait(box: Box) -> None:
    with scope_node({}) as node:
        node.wait_for_output(WAITED_FOR)
    assert node.wait() == 0


def test_hard_reset_of_a_box_that_is_not_configured(box: Box) -> None:
    box.plug()
    with scope_node({'auto_start': False}), Listener() as ear:
        generation = int(box.state['generation'])
        answer = ear.trigger('hard_reset')
        assert answer.success and 'USB port' in answer.message
        box.wait(lambda: box.present and box.state['generation'] > generation)
    box.unplug()


def test_hard_reset_without_a_box(box: Box) -> None:
    with scope_node({'auto_start': False}), Listener() as ear:
        answer = ear.trigger('hard_reset')
        assert not answer.success and 'no Miniscope DAQ box' in answer.message
