# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Bounds the connections, so that a flood of them cannot lock out the page with the light."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
import resource
from typing import Any, cast

MOST = 200


class BoundedConnections:
    """
    Makes a protocol for each connection; beyond a number the oldest one without a page ends.

    A connection with a page is one that was kept by keep().
    """

    def __init__(
        self, make: Callable[[], asyncio.BaseProtocol], most: int = MOST,
    ) -> None:
        """Take the function that makes the protocol which serves a connection."""
        self._make = make
        self._most = most
        self._open: dict[asyncio.BaseTransport, None] = {}  # in the order in which they came
        self._kept: set[asyncio.BaseTransport] = set()

    def __call__(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""
        protocol = self._make()
        # Instances of aiohttp's protocol have slots: the hooks go around it.
        return _Watched(protocol, self)

    def opened(self, transport: asyncio.BaseTransport) -> None:
        """Note a connection, and end one if there are too many."""
        self._open[transport] = None
        if len(self._open) > self._most:
            oldest = next((one for one in self._open if one not in self._kept), None)
            if oldest is not None:
                cast(asyncio.Transport, oldest).abort()
                self.closed(oldest)

    def closed(self, transport: asyncio.BaseTransport) -> None:
        """Note the end of a connection."""
        self._open.pop(transport, None)
        self._kept.discard(transport)

    def keep(self, transport: asyncio.BaseTransport | None) -> None:
        """Do not end this connection in favour of newer ones."""
        if transport in self._open:
            self._kept.add(transport)


class _Watched(asyncio.Protocol):
    """Passes everything on to a protocol, and reports the begin and the end of the connection."""

    def __init__(self, protocol: Any, connections: BoundedConnections) -> None:
        self._protocol = protocol
        self._connections = connections
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._protocol.connection_made(transport)
        self._connections.opened(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._connections.closed(self._transport)
        self._protocol.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return cast('bool | None', self._protocol.eof_received())

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


def allow_open_files(wanted: int = 4096) -> None:
    """Raise the number of files that may be open, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
