# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Records scopes, cameras and other topics as a session file says; the node `session`.

Exit status: 0 all was recorded; 1 a recording failed, or none could be made; 2 the command line
is wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys

from miniscope_ros.errors import MiniscopeError
from miniscope_ros.stop import Stop


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until a signal."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options, ros = _parser().parse_known_args(given)
    if ros and ros[0] != '--ros-args':
        _parser().error(f'unknown: {" ".join(ros)}')
    stop = Stop()
    stop.install()
    from miniscope_ros.session.session_file import read_session_file
    try:
        session = read_session_file(options.session)
    except MiniscopeError as error:
        print(f'session_node: {error}', file=sys.stderr, flush=True)
        sys.exit(1)
    # Slow imports come late, so that a faulty file is reported at once.
    from miniscope_ros.session.run import run, Task
    sys.exit(run(session, stop, Task(
        start=options.start, folder=options.folder, once=options.once,
        programs=options.programs), ros))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='session_node', description='Records the scopes, cameras and topics that a session '
        'file names. Recordings are started and stopped by the services ~/start and ~/stop.')
    parser.add_argument('session', type=Path, help='the session file (YAML)')
    parser.add_argument('--start', action='store_true', help='begin a recording at once')
    parser.add_argument('--once', action='store_true',
                        help='end after the first recording')
    parser.add_argument('--folder', default='',
                        help='of the recording of --start; not given: by the session file')
    parser.add_argument('--programs', action='store_true',
                        help='start the nodes of scopes and cameras, too, and end them')
    return parser


if __name__ == '__main__':
    main()
