# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The session node in a process of its own, and what to ask of it."""
from collections.abc import Iterator, Mapping
import contextlib
from pathlib import Path
from typing import Any

from launched import needs_recorder
from listening import LATCHED, Listener
from miniscope_msgs.msg import RecordingStatus
from miniscope_msgs.srv import StartRecording
from node_process import NodeProcess
import psutil
import pytest
from rosbags.highlevel import AnyReader
from std_srvs.srv import Trigger
import yaml

RECORDERS = ['builtin', pytest.param('rosbag2', marks=needs_recorder)]
SIMULATED = {'source': 'simulated', 'led': 20.0}
LITTLE = {'min_free_gb': 0.0, 'stop_free_gb': 0.0}  # the disk's room is not what is tested


def write_session(
    folder: Path, scopes: Mapping[str, Mapping[str, Any]], **sections: Any,
) -> Path:
    """Write a session file; scopes are parameters by names, record is what differs."""
    file = folder / 'session.yaml'
    record = {'folder': str(folder / 'bags' / '{animal}_{time}'), **LITTLE,
              **sections.pop('record', {})}
    file.write_text(yaml.safe_dump({
        'session': {'researcher': 'Ada', 'animal': 'm1'}, 'record': record,
        'scopes': [{'name': name, 'parameters': dict(values)} for name, values in scopes.items()],
        **sections}))
    return file


class Session:
    """A running session node."""

    def __init__(self, node: NodeProcess, ear: Listener) -> None:
        self.node = node
        self.ear = ear
        self.statuses = ear.listen('/session/status', RecordingStatus, LATCHED)

    def start(self, name: str = '', notes: str = '') -> StartRecording.Response:
        """Ask for a recording."""
        return self.ear.call('/session/start', StartRecording,
                             StartRecording.Request(name=name, notes=notes))

    def stop(self) -> Trigger.Response:
        """Ask for its end."""
        return self.ear.call('/session/stop', Trigger, Trigger.Request())

    def wait_for(self, state: int) -> RecordingStatus:
        """Return the first status of a state that comes from now on, or the last one."""
        return self.ear.wait_until(
            lambda: next((status for status in reversed(self.statuses)
                          if status.state == state), None), f'the session is in state {state}')

    def recorder(self) -> psutil.Process:
        """Return the process that records."""
        for process in psutil.Process(self.node.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any('record' in part for part in process.cmdline()):
                    return process
        raise AssertionError('there is no recorder')


@contextlib.contextmanager
def session_node(
    file: Path, *options: str, scope: str = '/a', environment: Mapping[str, str] | None = None,
) -> Iterator[Session]:
    """Run session_node on a file; the listener is that of one of its scopes."""
    node = NodeProcess(
        python=('-m', 'miniscope_ros.commands.session_node', str(file), *options),
        environment=environment)
    try:
        with Listener(scope) as ear:
            yield Session(node, ear)
    finally:
        if node.alive:
            node.stop()


def messages(bag: Path) -> dict[str, list[Any]]:
    """Return the messages of a bag by topic."""
    found: dict[str, list[Any]] = {}
    with AnyReader([bag]) as reader:
        for connection, _, data in reader.messages():
            found.setdefault(connection.topic, []).append(
                reader.deserialize(data, connection.msgtype))
    return found


def only_bag(folder: Path) -> Path:
    """Return the one recording in a folder."""
    bag, = (path for path in folder.iterdir() if path.is_dir())
    return bag
