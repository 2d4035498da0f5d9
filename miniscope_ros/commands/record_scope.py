# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Records a scope from its first frame to its last; scope.launch.py runs it.

The node is configured, then `ros2 bag record` is started, and only when that listens to every
topic is the node activated. The recorder is stopped after the node has ended.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import contextlib
import math
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time
from types import TracebackType

from miniscope_ros.errors import ConfigurationError, DeviceError, Interrupted, MiniscopeError
from miniscope_ros.stop import Stop

TOPICS = (
    'image_raw', 'image_raw/metadata', 'camera_info', 'frame_info', 'controls',
    'control_changes', 'digital_inputs')
ORIENTATION_TOPICS = (
    'imu/data', 'imu/metadata', 'orientation_rows', 'orientation_rows/metadata')
"""Topics of a scope that has the sensor."""
DISPLAY_TOPICS = ('image_display', 'image_display/metadata')

# [s]
_STEP = 0.05
_NODE_IS_THERE = 20.0
_TRANSITION = 30.0
_RECORDER_LISTENS = 20.0
_NODE_ENDS = 8.0
_NODE_RETURNS = 20.0
_RECORDER_TAKES = 0.5  # what has arrived, but not yet been taken from its queue
_RECORDER_ENDS = 25.0


class Recorder:
    """A running `ros2 bag record`."""

    def __init__(self, folder: Path, topics: Sequence[str]) -> None:
        """Start to record topics into a new folder."""
        self._folder = folder
        self.name = f'recorder_{os.getpid()}'
        options = ['--node-name', self.name, '--disable-keyboard-controls', '--topics']
        if os.environ.get('ROS_DISTRO') == 'humble':
            self.name = 'rosbag2_recorder'
            options = []
        # Killed, we would leave it running.
        prefix = ['setpriv', '--pdeathsig', 'INT'] if shutil.which('setpriv') else []
        # It gets a session of its own: Ctrl-C in a terminal reaches every program that runs in
        # it, and the recorder has to outlive the node.
        self._process = subprocess.Popen(
            [*prefix, 'ros2', 'bag', 'record', '--storage', 'mcap', '--output', str(folder),
             *options, *topics], stdin=subprocess.DEVNULL, start_new_session=True)

    def __enter__(self) -> Recorder:
        return self

    def check(self) -> None:
        """Raise DeviceError if it does not run any more."""
        if self._process.poll() is not None:
            raise DeviceError(
                f'the recorder has died, exit code {self._process.returncode}; what it said is '
                f'above; {self._folder} may lack its end')

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let it write what it has and close the bag; raise DeviceError if it does not."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_RECORDER_ENDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if error is None and not (self._folder / 'metadata.yaml').exists():
            raise DeviceError(
                f'the recorder did not close the bag within {_RECORDER_ENDS:g} s; {self._folder} '
                'may lack its end')


def main(arguments: Sequence[str] | None = None) -> None:
    """Record until a signal; exit status 1, with the reason, if that was not possible."""
    options = _parser().parse_args(arguments)
    stop = Stop()
    stop.install()
    try:
        _record('/' + options.scope.strip('/'), Path(options.bag), options.display, stop,
                respawn=options.respawn)
    except Interrupted:
        print('record_scope: ended before there was anything to record', flush=True)
    except (MiniscopeError, OSError) as error:
        print(f'record_scope: NOT RECORDED: {error}', file=sys.stderr, flush=True)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='record_scope', description='Configures a scope node that was started with '
        'auto_start:=false, starts ros2 bag record, activates the node as soon as the recorder '
        'listens, and stops the recorder after the node has ended. End both with SIGINT.')
    parser.add_argument('scope', help='full name of the node, as /lab/miniscope')
    parser.add_argument('bag', help='folder of the new bag')
    parser.add_argument(
        '--respawn', action='store_true',
        help='a node that dies is started again by somebody else: go on recording')
    parser.add_argument('--display', action='store_true', help='record image_display, too')
    return parser


def _record(
        scope: str, folder: Path, display: bool, stop: Stop, *, respawn: bool = False) -> None:
    if folder.exists():
        raise ConfigurationError(f'{folder} exists already: name a folder that does not')
    folder.parent.mkdir(parents=True, exist_ok=True)
    required = [f'{scope}/{topic}' for topic in TOPICS + (DISPLAY_TOPICS if display else ())]
    required.append('/diagnostics')
    optional = [f'{scope}/{topic}' for topic in ORIENTATION_TOPICS]
    # Only now what takes long to import: a folder that exists is told at once.
    from miniscope_ros.commands.scope_client import ScopeClient
    with ScopeClient(scope, stop.event) as client:
        client.await_node(_NODE_IS_THERE)
        client.change_state('configure', _TRANSITION)
        with Recorder(folder, [*required, *optional]) as recorder:

            def listens() -> bool:
                recorder.check()
                topics = required + [topic for topic in optional if client.has_publisher(topic)]
                return all(client.has_subscriber(topic, recorder.name) for topic in topics)

            client.await_condition(
                listens, _RECORDER_LISTENS, 'the recorder does not listen to every topic; the '
                'node was not activated')
            with contextlib.suppress(Interrupted):  # it may become active all the same
                client.change_state('activate', _TRANSITION)
            print(f'record_scope: recording {scope} into {folder}', flush=True)
            deadline, seen = math.inf, time.monotonic()
            while time.monotonic() < deadline:
                if client.has_publisher(f'{scope}/control_changes'):
                    seen = time.monotonic()
                elif (not respawn or stop.event.is_set()
                        or time.monotonic() > seen + _NODE_RETURNS):
                    break
                recorder.check()
                if stop.event.is_set():
                    # The node was told to end, too.
                    deadline = min(deadline, time.monotonic() + _NODE_ENDS)
                time.sleep(_STEP)
            time.sleep(_RECORDER_TAKES)
    print(f'record_scope: the recording of {scope} is in {folder}', flush=True)
