# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Connects pages with scopes: sends news to pages, and does what pages ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
import itertools

from lifecycle_msgs.msg import Transition
from miniscope_ros.errors import MiniscopeError
from miniscope_ros.panel.client import Client
from miniscope_ros.panel.finder import Finder
from miniscope_ros.panel.form import Form
from miniscope_ros.panel.lights_out import lights_out
from miniscope_ros.panel.messages import BadMessageError, dump, Message
from miniscope_ros.panel.recording import Recording
from miniscope_ros.panel.ros_link import RosLink
from miniscope_ros.panel.scope import Scope, SERVICES

_TICK_S = 0.1
_STATE_TICKS = 10  # states are sent again so often at least: ages and counts change by themselves
_SET_S = 3.0
_TRANSITION_S = 60.0
_TRIGGER_S = 20.0

TRANSITIONS = {
    'configure': Transition.TRANSITION_CONFIGURE, 'activate': Transition.TRANSITION_ACTIVATE,
    'deactivate': Transition.TRANSITION_DEACTIVATE, 'cleanup': Transition.TRANSITION_CLEANUP,
}

Outcome = tuple[bool, str]
Action = Callable[[Client, Message], Awaitable[Outcome]]


class Hub:
    """All pages and all scopes; to be used in the event loop."""

    def __init__(self, link: RosLink, form: Form) -> None:
        self._clients: set[Client] = set()
        self.finder = Finder(link, self._on_scope, self._on_scopes)
        self._recording = Recording(link, form, self._on_recording)
        self._actions: dict[str, Action] = {
            'set': self._set, 'transition': self._transition, 'trigger': self._trigger,
            'lightsOut': self._lights_out, 'dismiss': self._dismiss,
            'recordStart': self._record_start, 'recordStop': self._record_stop,
            'note': self._note, 'keepForm': self._keep_form}
        self._ticker = asyncio.ensure_future(self._tick())

    async def close(self) -> None:
        """Give up everything that is held of ROS."""
        self._ticker.cancel()
        await asyncio.gather(self._ticker, return_exceptions=True)
        self._recording.close()
        await self.finder.close()

    # Pages

    def add(self, client: Client) -> None:
        """Take a new page, and send it everything."""
        self._clients.add(client)
        client.say(self._scopes())
        for scope in self.finder.scopes.values():
            self._offer_scope(client, scope)
            self._offer_controls(client, scope)
        self._offer_recording(client)

    def remove(self, client: Client) -> None:
        """Forget a page."""
        client.watch([])
        self._clients.discard(client)

    async def _tick(self) -> None:
        for count in itertools.count(1):
            await asyncio.sleep(_TICK_S)
            if count % _STATE_TICKS == 0:
                self._on_recording()
                for scope in self.finder.scopes.values():
                    self._on_scope(scope, 'state')
            for client in self._clients:
                client.tick()

    # What is new

    def _scopes(self) -> str:
        return dump('scopes', names=sorted(self.finder.scopes))

    def _on_scopes(self) -> None:
        for client in self._clients:
            client.say(self._scopes())

    def _on_scope(self, scope: Scope, what: str) -> None:
        offer = self._offer_controls if what == 'controls' else self._offer_scope
        for client in self._clients:
            offer(client, scope)

    def _on_recording(self) -> None:
        for client in self._clients:
            self._offer_recording(client)

    @staticmethod
    def _offer_scope(client: Client, scope: Scope) -> None:
        client.offer(f'scope {scope.name}', lambda: dump('scope', **scope.as_json()))

    @staticmethod
    def _offer_controls(client: Client, scope: Scope) -> None:
        client.offer(f'controls {scope.name}', lambda: dump(
            'controls', scope=scope.name, controls=scope.controls_as_json()))

    def _offer_recording(self, client: Client) -> None:
        client.offer('recording', lambda: dump('recording', **self._recording.as_json()))

    # Requests of pages

    async def do(self, client: Client, message: Message) -> None:
        """Do what a page asks, and answer; BadMessageError if it is nothing that can be done."""
        if message.kind == 'watch':
            client.watch([self.finder.scopes[name] for name in message.texts('scopes')
                          if name in self.finder.scopes])
        elif message.kind == 'shown':
            client.acknowledge(message.text('scope'))
        else:
            await self._act(client, message)

    async def _act(self, client: Client, message: Message) -> None:
        action = self._actions.get(message.kind)
        if action is None:
            raise BadMessageError(f'there is no message of the type {message.kind[:40]}')
        try:
            success, text = await action(client, message)
        except (BadMessageError, MiniscopeError) as error:
            success, text = False, str(error)
        client.say(dump('answer', id=message.number, ok=success, text=text))

    def _scope(self, message: Message) -> Scope:
        name = message.text('scope')
        scope = self.finder.scopes.get(name)
        if scope is None:
            raise BadMessageError(f'there is no scope {name}')
        return scope

    async def _set(self, client: Client, message: Message) -> Outcome:
        scope, name = self._scope(message), message.text('name')
        control = scope.controls.get(name)
        if control is None:
            raise BadMessageError(f'{scope.name} has no parameter {name}')
        try:
            parameter = control.message(message.content.get('value'))
        except ValueError as error:
            return False, str(error)
        reason = await scope.set_parameters([parameter], _SET_S)
        return not reason, reason

    async def _transition(self, client: Client, message: Message) -> Outcome:
        scope, name = self._scope(message), message.text('transition')
        if name not in TRANSITIONS:
            raise BadMessageError(f'there is no transition {name}')
        if await scope.change_state(TRANSITIONS[name], _TRANSITION_S):
            return True, f'{scope.name} is {scope.state}'
        return False, (f'{scope.name} did not {name}; it is {scope.state}. '
                       f'{scope.device_message}')

    async def _trigger(self, client: Client, message: Message) -> Outcome:
        service = message.text('service')
        if service not in SERVICES:
            raise BadMessageError(f'there is no service {service}')
        return await self._scope(message).trigger(service, _TRIGGER_S)

    async def _lights_out(self, client: Client, message: Message) -> Outcome:
        return await lights_out(list(self.finder.scopes.values()))

    async def _dismiss(self, client: Client, message: Message) -> Outcome:
        self.finder.dismiss(message.text('scope'))
        return True, ''

    async def _record_start(self, client: Client, message: Message) -> Outcome:
        return await self._recording.start(
            message.text('name', ''), message.fields('form'), message.amount('minutes'))

    async def _record_stop(self, client: Client, message: Message) -> Outcome:
        return await self._recording.stop()

    async def _note(self, client: Client, message: Message) -> Outcome:
        return self._recording.note(message.text('text'))

    async def _keep_form(self, client: Client, message: Message) -> Outcome:
        problem = self._recording.keep_form(message.fields('form'))
        return not problem, problem or 'kept'
