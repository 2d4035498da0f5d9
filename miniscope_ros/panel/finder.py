# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Finds scopes by themselves, and follows their coming and going."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from miniscope_ros.panel.diagnosis import Part, parts_of
from miniscope_ros.panel.light import Light
from miniscope_ros.panel.ros_link import RosLink
from miniscope_ros.panel.scope import Scope
from rcl_interfaces.msg import ParameterEvent

_PERIOD_S = 0.5
_MARK = '/controls'
_TYPE = 'miniscope_msgs/msg/Controls'
"""Every scope node publishes this in every state."""

_HARMLESS = (Light.DARK, Light.CLOSED, Light.NONE)


class Finder:
    """
    All scopes by name; to be used in the event loop.

    A scope that is gone is forgotten at once if its light was known to be dark. Else it stays,
    so that somebody sees it, until it comes back or is dismissed.
    """

    def __init__(
        self, link: RosLink, changed: Callable[[Scope, str], None],
        appeared: Callable[[], None],
    ) -> None:
        """
        Begin to look for scopes.

        changed is called as Scope says, appeared when scopes have come or gone.
        """
        self.scopes: dict[str, Scope] = {}
        self._link = link
        self._changed = changed
        self._appeared = appeared
        self._last_light: dict[str, Light] = {}
        self._subscriptions = [
            link.subscribe(DiagnosticArray, '/diagnostics', self._on_diagnostics),
            link.subscribe(ParameterEvent, '/parameter_events', self._on_parameters, 1000)]
        self._task = asyncio.ensure_future(self._look())

    async def close(self) -> None:
        """Look no more and give up all scopes."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for scope in self.scopes.values():
            scope.close()
        self._link.remove(*self._subscriptions)

    async def _look(self) -> None:
        while True:
            try:
                self._compare()
                self._note_lights()
            except RuntimeError as error:  # rclpy, of a graph that changes meanwhile
                self._link.node.get_logger().warning(f'looking for scopes: {error}')
            await asyncio.sleep(_PERIOD_S)

    def _note_lights(self) -> None:
        """Remember what is known of the lights, and ask again what is not known of a scope."""
        for scope in self.scopes.values():
            if scope.present and not scope.silent:
                self._last_light[scope.name] = scope.light[0]
            elif scope.silent:
                self._changed(scope, 'state')
            if scope.present and scope.problem:
                self._link.start(scope.refresh())

    def _compare(self) -> None:
        """Take note of scopes that came, restarted or went."""
        topics = dict(self._link.node.get_topic_names_and_types())
        found = {
            topic.removesuffix(_MARK): publishers for topic, kinds in topics.items()
            if topic.endswith(_MARK) and _TYPE in kinds
            if (publishers := self._publishers(topic))}
        before = {name: scope.present for name, scope in self.scopes.items()}
        for name, publishers in found.items():
            self._note_present(name, publishers)
        for name in before.keys() - found.keys():
            self._note_absent(name)
        if before != {name: scope.present for name, scope in self.scopes.items()}:
            self._appeared()

    def _publishers(self, topic: str) -> frozenset[bytes]:
        return frozenset(bytes(info.endpoint_gid)
                         for info in self._link.node.get_publishers_info_by_topic(topic))

    def _note_present(self, name: str, publishers: frozenset[bytes]) -> None:
        scope = self.scopes.get(name)
        if scope is None:
            scope = self.scopes[name] = Scope(self._link, name, self._changed)
        elif scope.present and scope.publishers == publishers:
            return
        scope.present = True
        scope.publishers = publishers
        self._link.start(scope.refresh())

    def _note_absent(self, name: str) -> None:
        scope = self.scopes[name]
        scope.present = False
        scope.publishers = frozenset()
        if self._last_light.get(name, Light.CLOSED) in _HARMLESS:
            self.dismiss(name)

    def dismiss(self, name: str) -> None:
        """Forget a scope that is gone."""
        scope = self.scopes.get(name)
        if scope is not None and not scope.present:
            del self.scopes[name]
            scope.close()
            self._appeared()

    def _on_diagnostics(self, message: Any) -> None:
        found: dict[str, dict[str, Part]] = {}
        for name, part, content in parts_of(message):
            found.setdefault(name, {})[part] = content
        for name, parts in found.items():
            if name in self.scopes:
                self.scopes[name].on_diagnostics(parts)

    def _on_parameters(self, message: Any) -> None:
        scope = self.scopes.get(message.node)
        if scope is not None:
            scope.on_parameter_event(message)
