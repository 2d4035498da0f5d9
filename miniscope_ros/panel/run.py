# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the panel: the node, the server, and an end in order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
import secrets
import socket
import sys

from miniscope_ros.panel.access import Access
from miniscope_ros.panel.connections import allow_open_files
from miniscope_ros.panel.form import Form, form_path
from miniscope_ros.panel.hub import Hub
from miniscope_ros.panel.ros_link import NotStartedError, RosLink
from miniscope_ros.panel.server import Server
from miniscope_ros.stop import Stop

LOOPBACK = '127.0.0.1'
_ANY = ('0.0.0.0', '::')
_TOKEN_BYTES = 16


@dataclass(frozen=True)
class Options:
    """The options of the panel at its start."""

    host: str = ''  # empty: this computer alone
    port: int = 8642
    ros_arguments: tuple[str, ...] = ()


def run(options: Options, stop: Stop) -> int:
    """Serve the page until stop is asked for; return the exit status."""
    allow_open_files()
    try:
        asyncio.run(_serve(options, stop))
    except NotStartedError as error:
        print(f'panel: {error}', file=sys.stderr)
        return 1
    except OSError as error:
        reason = error.strerror or str(error)
        print(f'panel: cannot serve at port {options.port}: {reason}; another panel may have it, '
              'name another port with --port', file=sys.stderr)
        return 1
    return 0


async def _serve(options: Options, stop: Stop) -> None:
    token = secrets.token_urlsafe(_TOKEN_BYTES) if options.host else ''
    host = options.host or LOOPBACK
    link = RosLink(arguments=list(options.ros_arguments))
    hub = Hub(link, Form(form_path()))
    server = Server(hub, Access(host, token))
    try:
        port = await server.open(host, options.port)
        print(f'Panel: {address(host, port, token)}', flush=True)
        await asyncio.get_running_loop().run_in_executor(None, stop.wait)
    finally:
        await server.close()
        await hub.close()
        await link.close()


def address(host: str, port: int, token: str) -> str:
    """Return the address to open; with its token, if there is one."""
    if host in _ANY:
        host = socket.gethostname()
    shown = f'[{host}]' if ':' in host else host
    return f'http://{shown}:{port}/' + (f'?token={token}' if token else '')
