# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
A scope node with a fault: `failing_node.py FAULT --ros-args ..`.

It is the node itself, but for one method that raises once.
"""
import sys

from miniscope_ros.node import run
from miniscope_ros.node.diagnostics import Diagnostics
from miniscope_ros.node.display_topic import DisplayTopic
from miniscope_ros.node.frame_topics import FrameTopics
from miniscope_ros.node.publishers import Publishers
from miniscope_ros.node.scope_node import ScopeNode
from miniscope_ros.node.terminal import Terminal
from miniscope_ros.stop import Stop

AFTER, BEFORE = 'after', 'before'
FAULTS = {
    'configure': (ScopeNode, '_configure', AFTER),
    'activate': (ScopeNode, '_activate', AFTER),
    'deactivate': (ScopeNode, '_deactivate', BEFORE),
    'cleanup': (ScopeNode, '_close', BEFORE),
    'frame': (Publishers, 'on_frame', BEFORE),
    'display': (DisplayTopic, 'publish', BEFORE),
    'orientation': (FrameTopics, 'publish_orientation', BEFORE),
    'camera_info': (FrameTopics, 'publish_camera_info', BEFORE),
    'diagnostics': (Diagnostics, 'statuses', BEFORE),
    'terminal': (Terminal, 'report', BEFORE)}
TEXT = 'this fault was put in'


def put_in(fault: str) -> None:
    """Let the method of a fault raise when it is called first."""
    owner, name, when = FAULTS[fault]
    original = getattr(owner, name)

    def failing(*arguments: object) -> object:
        setattr(owner, name, original)
        if when is AFTER:
            original(*arguments)
        raise RuntimeError(TEXT)

    setattr(owner, name, failing)


if __name__ == '__main__':
    stop = Stop()
    stop.install()
    put_in(sys.argv.pop(1))
    sys.exit(run.run(stop))
