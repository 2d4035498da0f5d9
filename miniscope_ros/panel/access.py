# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Who may use the panel.

A website that is open in the same browser must not be able to light an LED. Its requests carry
its own Origin, or, when it lets its name resolve to this computer (DNS rebinding), its own Host:
both are refused. On a network the token that the panel prints is needed as well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
import hmac
import ipaddress
import socket
from urllib.parse import urlsplit

from aiohttp import web

COOKIE = 'miniscope_panel'
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_SAFE = ('GET', 'HEAD')


class Access:
    """The checks that every request passes."""

    def __init__(self, host: str, token: str) -> None:
        """Serve at a host; an empty token means that none is needed, on loopback only."""
        self._token = token
        self._names = {'localhost', host.lower()}
        if token:
            own = socket.gethostname().lower()
            self._names |= {own, f'{own}.local', socket.getfqdn().lower()}

    def problem(self, request: web.Request) -> str:
        """Return why a request is refused, or an empty text."""
        host = request.headers.get('Host', '').lower()
        if not self._is_own_host(host):
            return 'the name of the host is not that of the panel'
        origin = request.headers.get('Origin')
        needed = request.method not in _SAFE or _is_upgrade(request)
        if origin is None:
            if needed:
                return 'the request does not name its origin'
        elif origin.lower() not in (f'http://{host}', f'https://{host}'):
            return 'the request comes from another site'
        if request.headers.get('Sec-Fetch-Site') == 'cross-site' and (
                request.headers.get('Sec-Fetch-Mode') != 'navigate'):
            return 'the request comes from another site'
        return ''

    def _is_own_host(self, host: str) -> bool:
        try:
            name = urlsplit(f'//{host}').hostname or ''
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address cannot be rebound; without a token only this computer's own will do.
        return address.is_loopback or bool(self._token)

    def is_known(self, request: web.Request) -> bool:
        """Return whether a request has the token, if one is needed."""
        return not self._token or self._fits(request.cookies.get(COOKIE, ''))

    def _fits(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request pass, or answer it with why not."""
        problem = self.problem(request)
        if problem:
            return web.Response(status=403, text=f'Refused: {problem}.\n')
        if self._token and self._fits(request.query.get('token', '')):
            # The token does not stay in the address, which is seen and kept.
            answer = web.HTTPSeeOther(request.path)
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite='Strict')
            return answer
        if not self.is_known(request):
            return web.Response(
                status=401, text='The token is missing. Open the address that the panel printed '
                'when it was started.\n')
        return await handler(request)


def _is_upgrade(request: web.Request) -> bool:
    return 'upgrade' in request.headers.get('Connection', '').lower()
