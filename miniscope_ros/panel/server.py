# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The web server: the files of the page, and one WebSocket for each page that is open."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from aiohttp import web, WSMsgType
from aiohttp.http_exceptions import HttpProcessingError
from miniscope_ros.panel.access import Access
from miniscope_ros.panel.client import Client
from miniscope_ros.panel.connections import BoundedConnections
from miniscope_ros.panel.hub import Hub
from miniscope_ros.panel.messages import BadMessageError, dump, LONGEST, parse

PAGE = Path(__file__).parent / 'page'
_MOST_PAGES = 32
_MOST_BAD_MESSAGES = 20
_MOST_ACTIONS = 50  # the most actions of one page at the same time
_HEARTBEAT_S = 5.0

_TYPES = {'.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript',
          '.svg': 'image/svg+xml'}


class Server:
    """Serves pages of one hub."""

    def __init__(self, hub: Hub, access: Access) -> None:
        self._hub = hub
        self._sockets: set[web.WebSocketResponse] = set()
        self._files = {f'/{file.name}': (file.read_bytes(), _TYPES[file.suffix])
                       for file in PAGE.iterdir() if file.suffix in _TYPES}
        self._files['/'] = self._files['/index.html']
        self._connections: BoundedConnections | None = None
        application = web.Application(middlewares=[access.check], client_max_size=LONGEST)
        application.router.add_get('/socket', self._serve_socket)
        application.router.add_get('/{name:.*}', self._serve_file)
        application.on_response_prepare.append(_protect)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        self._server: asyncio.AbstractServer | None = None
        logging.getLogger('aiohttp.server').addFilter(_is_our_fault)

    async def open(self, host: str, port: int) -> int:
        """Begin to serve and return the port. Raises OSError if the port is in use."""
        await self._runner.setup()
        make = self._runner.server
        assert make is not None
        self._connections = BoundedConnections(make)
        self._server = await asyncio.get_running_loop().create_server(
            self._connections, host, port, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Tell the pages that the panel ends, and serve no more."""
        if self._server is not None:
            self._server.close()
        await asyncio.gather(
            *(socket.close(code=1001, message=b'the panel has ended')
              for socket in list(self._sockets)), return_exceptions=True)
        await self._runner.cleanup()

    async def _serve_file(self, request: web.Request) -> web.StreamResponse:
        if request.path not in self._files:
            raise web.HTTPNotFound
        content, kind = self._files[request.path]
        return web.Response(body=content, content_type=kind, charset='utf-8')

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        if len(self._sockets) >= _MOST_PAGES:
            return web.Response(
                status=503, text=f'There are {_MOST_PAGES} pages already; close one.\n')
        socket = web.WebSocketResponse(
            heartbeat=_HEARTBEAT_S, max_msg_size=LONGEST, compress=False)
        if not socket.can_prepare(request).ok:
            return web.Response(status=400, text='This address is for the page alone.\n')
        # Counted before anything is awaited, so that many at once are counted, too.
        self._sockets.add(socket)
        try:
            await socket.prepare(request)
            if self._connections is not None:
                self._connections.keep(request.transport)
            await self._serve_page(socket)
        finally:
            self._sockets.discard(socket)
        return socket

    async def _serve_page(self, socket: web.WebSocketResponse) -> None:
        client = Client(socket)
        self._hub.add(client)
        sender = asyncio.ensure_future(client.run())
        actions: set[asyncio.Task[None]] = set()
        bad = 0
        try:
            async for message in socket:
                try:
                    self._take(client, message, actions)
                except BadMessageError as error:
                    bad += 1
                    client.say(dump('answer', id=0, ok=False, text=str(error)))
                    if bad >= _MOST_BAD_MESSAGES:
                        await socket.close(code=1008, message=b'too many bad messages')
        finally:
            self._hub.remove(client)
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    def _take(self, client: Client, message: Any, actions: set[asyncio.Task[None]]) -> None:
        """Begin to do what a page asks; one thing does not wait for another."""
        if message.type is not WSMsgType.TEXT:
            raise BadMessageError('a message is a text')
        if len(actions) >= _MOST_ACTIONS:
            raise BadMessageError('too much is asked at once')
        parsed = parse(message.data)
        task = asyncio.ensure_future(self._do(client, parsed))
        actions.add(task)
        task.add_done_callback(actions.discard)

    async def _do(self, client: Client, message: Any) -> None:
        try:
            await self._hub.do(client, message)
        except BadMessageError as error:
            client.say(dump('answer', id=message.number, ok=False, text=str(error)))


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Return whether a log message is more than that somebody sent what is no request."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    """Forbid the browser whatever the page does not need."""
    host = request.headers.get('Host', '')
    response.headers.update({
        'Content-Security-Policy':
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
            f"connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'",
        'Cross-Origin-Resource-Policy': 'same-origin', 'X-Content-Type-Options': 'nosniff',
        'Referrer-Policy': 'no-referrer', 'Cache-Control': 'no-cache'})
