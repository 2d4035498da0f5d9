# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Command that serves the page in the browser."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import sys

from miniscope_ros.installing import pip_install
from miniscope_ros.stop import Stop

_ROS_ARGUMENTS = '--ros-args'


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the page until a signal; exit status 1 if it cannot be served, 2 if misused."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    own, ros = given, []
    if _ROS_ARGUMENTS in given:
        at = given.index(_ROS_ARGUMENTS)
        own, ros = given[:at], given[at:]
    options = _parser().parse_args(own)
    stop = Stop()
    stop.install()
    # Only now what takes long to import: a signal during that ends us cleanly, too.
    try:
        from miniscope_ros.panel.run import Options, run
    except ModuleNotFoundError as error:
        if error.name != 'aiohttp':
            raise
        print('panel: needs aiohttp: sudo apt install python3-aiohttp, or '
              f'{pip_install("aiohttp")}', file=sys.stderr)
        sys.exit(1)
    if stop.event.is_set():
        sys.exit(0)
    sys.exit(run(Options(options.host, options.port, tuple(ros)), stop))


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f'{port} is not a port: 0 to 65535')
    return port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='panel', description='Serves a page that shows and steers all scopes that ROS finds.',
        epilog='ROS arguments follow --ros-args. Ctrl-C ends the panel; scopes and recordings '
        'go on.')
    parser.add_argument(
        '--host', default='', metavar='NAME',
        help='serve others on the network, too, at this name or address (0.0.0.0: at every one); '
        'they need the token that is printed. Without it: this computer alone')
    parser.add_argument(
        '--port', type=_port, default=8642, help='default: 8642; 0: one that is free')
    return parser


if __name__ == '__main__':
    main()
