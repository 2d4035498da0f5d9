# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What a killed node leaves in shared memory is removed, and nothing of one that lives."""
import os

from listening import Listener
from node_process import NodeProcess, scope_node
import shared_memory

SIMULATED = {'source': 'simulated', 'led': 20.0}


def existing(files: set[str]) -> set[str]:
    return {file for file in files if os.path.exists(file)}


def test_a_killed_node_leaves_nothing() -> None:
    with scope_node(SIMULATED, remap={'__node': 'other'}) as other, Listener('/other') as ear:
        node = NodeProcess(SIMULATED)
        node.wait_for_output('streaming began')
        ear.wait_for(ear.listen('frame_info'), 3)
        of_others = {*shared_memory.files_of(other.pid), *shared_memory.files_of(os.getpid())}
        its_own = existing(set(shared_memory.files_of(node.pid))) - of_others
        assert its_own
        node.kill()
        assert not existing({file for file in its_own if '_port' not in file})
        # What nobody uses any more, such as a segment of an earlier test, may be removed, too.
        in_use = of_others & {
            file for pid in (other.pid, os.getpid())
            for file in shared_memory.files_of(pid, deleted=True)}
        assert in_use and existing(in_use) == in_use
        ear.wait_for(ear.listen('frame_info'), 10)
    shared_memory.remove_noted(at_end=True)
    assert not existing(its_own)
