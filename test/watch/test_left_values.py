# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What was set while a node ran is left for the next one, if the node dies."""
import json
import os
from pathlib import Path

from listening import Listener
from miniscope_ros.watch.left_values import LeftValues, take_left_values
from miniscope_ros.watch.note import folder
from node_process import NodeProcess, scope_node
import pytest

SIMULATED = {'source': 'simulated', 'led': 5}


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the test a runtime folder of its own."""
    monkeypatch.setenv('XDG_RUNTIME_DIR', str(tmp_path))


def test_a_killed_node_leaves_what_was_set() -> None:
    node = NodeProcess(SIMULATED)
    names = ['t', 'a', 'b', 'c', 'größe']
    try:
        with Listener() as ear:
            assert all(one.successful for one in ear.set_each(
                led=30.0, display__maximum=180, orientation__skip_repeated=False))
            assert ear.set_together(led=40, table_header=names).successful
            assert not ear.set_each(led=1000.0)[0].successful
    finally:
        node.kill()
    assert take_left_values(node.pid) == {
        'led': 40.0, 'display.maximum': 180, 'orientation.skip_repeated': False,
        'table_header': names}
    assert take_left_values(node.pid) == {}


def test_a_node_that_ends_in_order_leaves_nothing() -> None:
    with scope_node(SIMULATED) as node, Listener() as ear:
        assert ear.set_each(led=30.0)[0].successful
        assert list(folder().iterdir())
    assert not list(folder().iterdir()) and take_left_values(node.pid) == {}


def test_a_long_text_costs_no_other_value() -> None:
    values = LeftValues()
    values.add({'led': 0.0})
    values.add({'frame_id': 100_000 * 'x'})
    assert take_left_values(os.getpid()) == {'led': 0.0, 'frame_id': 100_000 * 'x'}


def test_only_files_of_this_user_are_read(tmp_path: Path) -> None:
    values = LeftValues()
    values.add({'led': 3.0})
    file, = folder().iterdir()
    other = tmp_path / 'other'
    for content in ('{"led": 90.0}', '[' * 100_000, '[1]', ''):
        other.write_text(content)
        file.unlink(missing_ok=True)
        file.symlink_to(other)
        assert take_left_values(os.getpid()) == {}, 'a link is not followed'
        if content != '{"led": 90.0}':
            file.write_text(content)
            assert take_left_values(os.getpid()) == {}
    file.write_text(json.dumps({'led': 3.0}))
    LeftValues()
    assert take_left_values(os.getpid()) == {}, 'left by an earlier process of that number'
