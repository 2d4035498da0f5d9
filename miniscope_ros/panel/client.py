# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""One page that is open: what it has been sent, and what it is to be sent next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web
from miniscope_ros.panel.messages import dump
from miniscope_ros.panel.scope import Scope

_TICKS_PER_SAMPLES = 2
_MOST_WAITING = 200  # answers and notices


class Client:
    """
    Sends one page what is new, at the pace at which the page takes it.

    Of pictures and states only the newest is sent, and of a picture only when the page has shown
    the one before: a slow page gets fewer of them, and never an old one.
    """

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._wake = asyncio.Event()
        self._texts: list[str] = []
        self._states: dict[str, Callable[[], str]] = {}
        self._watched: dict[str, Scope] = {}
        self._callbacks: dict[str, Callable[[], None]] = {}
        self._shown: dict[str, int] = {}  # number of the newest picture that was sent
        self._busy: set[str] = set()  # scopes of which a picture is on its way
        self._sampled: dict[str, int] = {}
        self._ticks = 0
        self._ticked = False

    # What is to be sent

    def say(self, text: str) -> None:
        """Send a message as soon as possible."""
        if len(self._texts) < _MOST_WAITING:
            self._texts.append(text)
        self._wake.set()

    def offer(self, key: str, make: Callable[[], str]) -> None:
        """Send what make returns at the next tick; a later offer of the key replaces it."""
        self._states[key] = make

    def tick(self) -> None:
        """Let states and samples go out; called at a steady pace."""
        self._ticks += 1
        self._ticked = True
        self._wake.set()

    def watch(self, scopes: list[Scope]) -> None:
        """Send pictures and samples of these scopes and of no others."""
        wanted = {scope.name: scope for scope in scopes}
        for name, scope in list(self._watched.items()):
            if wanted.get(name) is not scope:
                scope.pictures.leave(self._callbacks.pop(name))
                del self._watched[name]
                self._busy.discard(name)
                if not scope.pictures.viewed:
                    scope.samples.close()
        for name, scope in wanted.items():
            if name not in self._watched:
                self._watched[name] = scope
                self._shown[name] = 0
                self._sampled.setdefault(name, 0)
                # One callback for each page and scope: the set of viewers needs different objects.
                self._callbacks[name] = partial(self._notice, name)
                scope.pictures.watch(self._callbacks[name])
                scope.samples.open()

    def _notice(self, name: str) -> None:
        if name not in self._busy:
            self._wake.set()

    def acknowledge(self, name: str) -> None:
        """Note that the page has shown the picture that it was sent."""
        self._busy.discard(name)
        self._wake.set()

    # Sending

    async def run(self) -> None:
        """Send until the connection ends."""
        while not self._socket.closed:
            await self._wake.wait()
            self._wake.clear()
            texts, self._texts = self._texts, []
            for text in texts:
                await self._socket.send_str(text)
            if self._ticked:
                self._ticked = False
                await self._send_states()
            await self._send_pictures()

    async def _send_states(self) -> None:
        states, self._states = self._states, {}
        for make in states.values():
            await self._socket.send_str(make())
        if self._ticks % _TICKS_PER_SAMPLES == 0:
            for name, scope in list(self._watched.items()):
                await self._send_samples(name, scope)

    async def _send_samples(self, name: str, scope: Scope) -> None:
        number, frames, turns = scope.samples.after(self._sampled[name])
        if number != self._sampled[name]:
            self._sampled[name] = number
            await self._socket.send_str(dump('samples', scope=name, frames=frames, turns=turns))

    async def _send_pictures(self) -> None:
        for name, scope in list(self._watched.items()):
            picture = scope.pictures.newest
            if picture is None or name in self._busy or picture.number == self._shown[name]:
                continue
            self._shown[name] = picture.number
            self._busy.add(name)
            await self._socket.send_bytes(picture.packed(name))


def notice(text: str, **more: Any) -> str:
    """Return a message that the page shows to everybody."""
    return dump('notice', text=text, **more)
