# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Asks a scope node for transitions, and the graph who publishes and who listens."""

from __future__ import annotations

from collections.abc import Callable
import os
from threading import Event
import time
from types import TracebackType

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from miniscope_ros.errors import DeviceError, Interrupted
from miniscope_ros.watch.middleware import must_start
import rclpy
from rclpy.signals import SignalHandlerOptions

_STEP = 0.05  # [s]


class ScopeClient:
    """A client of one scope node; every wait is given up when stop is set."""

    def __init__(self, scope: str, stop: Event) -> None:
        """Name the node in full, as /lab/miniscope."""
        self._scope = scope
        self._stop = stop

    def __enter__(self) -> ScopeClient:
        with must_start('record_scope'):
            rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
            self._node = rclpy.create_node(f'record_scope_{os.getpid()}')
        self._client = self._node.create_client(ChangeState, f'{self._scope}/change_state')
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._node.destroy_node()
        rclpy.try_shutdown()

    def await_node(self, patience: float) -> None:
        """Wait until the node is there; DeviceError after patience [s]."""
        self.await_condition(
            self._client.service_is_ready, patience, f'there is no node {self._scope}')

    def change_state(self, transition: str, patience: float) -> None:
        """Ask for a transition by its name; DeviceError if it fails or takes over patience [s]."""
        number = getattr(Transition, f'TRANSITION_{transition.upper()}')
        future = self._client.call_async(ChangeState.Request(transition=Transition(id=number)))
        self.await_condition(future.done, patience, f'{self._scope} does not {transition}')
        if not future.result().success:
            raise DeviceError(f'{self._scope} cannot {transition}; its own log says why')

    def has_publisher(self, topic: str) -> bool:
        """Return whether anybody publishes a topic."""
        return bool(self._node.count_publishers(topic))

    def has_subscriber(self, topic: str, name: str) -> bool:
        """Return whether a node of this name listens to a topic."""
        return any(info.node_name == name
                   for info in self._node.get_subscriptions_info_by_topic(topic))

    def await_condition(
            self, condition: Callable[[], bool], patience: float, complaint: str) -> None:
        """Wait until a condition holds; DeviceError with the complaint after patience [s]."""
        deadline = time.monotonic() + patience
        while not condition():
            if self._stop.is_set():
                raise Interrupted('told to end')
            if time.monotonic() > deadline:
                raise DeviceError(f'{complaint}, for {patience:g} s now')
            rclpy.spin_once(self._node, timeout_sec=_STEP)
