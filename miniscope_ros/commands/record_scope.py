# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Records a scope from its first frame to its last; scope.launch.py runs it.

The node is configured, then the recorder is started, and only when that listens to every topic
is the node activated. The recorder is stopped after the node has ended.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys

from miniscope_ros.errors import MiniscopeError
from miniscope_ros.stop import Stop

NODE_RETURNS_S = 20.0  # [s]


def main(arguments: Sequence[str] | None = None) -> None:
    """Record until a signal; exit status 1, with the reason, if that was not possible."""
    options = _parser().parse_args(arguments)
    stop = Stop()
    stop.install()
    folder = Path(options.bag).expanduser().absolute()
    from miniscope_ros.session.session_file import parse_session
    namespace, _, name = options.scope.strip('/').rpartition('/')
    try:
        if folder.exists():
            raise MiniscopeError(f'{folder} exists already: name a folder that does not')
        session = parse_session({
            'record': {
                'folder': str(folder).replace('{', '{{').replace('}', '}}'),
                'display': options.display, 'storage': options.storage,
                'storage_config': options.storage_config, 'recorder': options.recorder,
                'split_minutes': options.split_minutes,
                'duration_minutes': options.duration_minutes,
                'min_free_gb': options.min_free_gb, 'stop_free_gb': options.stop_free_gb},
            'scopes': [{'name': name, 'namespace': namespace}], 'also': options.also})
    except MiniscopeError as error:
        print(f'record_scope: NOT RECORDED: {error}', file=sys.stderr, flush=True)
        sys.exit(1)
    # Slow imports come late, so that an existing folder is reported at once.
    from miniscope_ros.session.run import run, Task
    task = Task(
        name=f'record_{name}', start=True, once=True,
        returns_s=NODE_RETURNS_S if options.respawn else 0.0)
    sys.exit(run(session, stop, task, [], namespace=f'/{namespace}'))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='record_scope', description='Configures a scope node that was started with '
        'auto_start:=false, starts a recorder, activates the node as soon as the recorder '
        'listens, and stops the recorder after the node has ended. End both with SIGINT.')
    parser.add_argument('scope', help='full name of the node, as /lab/miniscope')
    parser.add_argument('bag', help='folder of the new bag')
    parser.add_argument(
        '--respawn', action='store_true',
        help='a node that dies is started again by somebody else: go on recording')
    parser.add_argument('--display', action='store_true', help='record image_display, too')
    parser.add_argument('--also', nargs='*', default=[], metavar='TOPIC',
                        help='other topics, by their full names')
    parser.add_argument('--recorder', default='auto', help='auto, rosbag2 or builtin')
    parser.add_argument('--storage', default='none',
                        help='none, fastwrite, zstd_fast or zstd_small')
    parser.add_argument('--storage-config', default='', metavar='FILE',
                        help='settings of the storage of rosbag2')
    parser.add_argument('--split-minutes', type=float, default=0.0,
                        help='begin a new file after so long; 0: never')
    parser.add_argument('--duration-minutes', type=float, default=0.0,
                        help='end after so long; 0: never')
    parser.add_argument('--min-free-gb', type=float, default=5.0,
                        help='do not begin with less free space (default: %(default)s)')
    parser.add_argument('--stop-free-gb', type=float, default=2.0,
                        help='end with less free space (default: %(default)s)')
    return parser


if __name__ == '__main__':
    main()
