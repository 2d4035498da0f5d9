# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A node of our own that asks other nodes and the graph, with bounded waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
import time
from types import TracebackType
from typing import Any

from miniscope_ros.errors import DeviceError, Interrupted
import rclpy
from rclpy.executors import SingleThreadedExecutor

_STEP = 0.05  # [s] between two looks at a condition


class Graph:
    """A node that one thread uses and spins; every wait is given up when stop is set."""

    def __init__(self, name: str, stop: Event) -> None:
        """Make the node; rclpy has to be initialized. Its name is not remapped."""
        self.node = rclpy.create_node(
            name, use_global_arguments=False, enable_rosout=False,
            start_parameter_services=False)
        self.stop = stop
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def __enter__(self) -> Graph:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._executor.remove_node(self.node)
        self._executor.shutdown()
        self.node.destroy_node()

    def spin(self, seconds: float = 0.0) -> None:
        """Execute the callbacks of what has arrived; wait at most so long [s] for the first."""
        self._executor.spin_once(timeout_sec=seconds)

    def await_condition(
            self, condition: Callable[[], bool], patience: float, complaint: str) -> None:
        """Wait for a condition. Raises DeviceError after patience [s], Interrupted on stop."""
        deadline = time.monotonic() + patience
        while not condition():
            if self.stop.is_set():
                raise Interrupted('told to end')
            if time.monotonic() > deadline:
                raise DeviceError(f'{complaint}, for {patience:g} s now')
            self.spin(_STEP)

    def pass_time(self, condition: Callable[[], bool], patience: float) -> bool:
        """Wait for a condition, also after stop; return whether it was met within patience [s]."""
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.spin(_STEP)
        return True

    def has_publisher(self, topic: str) -> bool:
        """Return whether anybody publishes a topic."""
        return bool(self.node.count_publishers(topic))

    def publishers(self, topic: str) -> set[str]:
        """Return the identifiers (DDS endpoints) of the publishers of a topic."""
        return {str(info.endpoint_gid)
                for info in self.node.get_publishers_info_by_topic(topic)}

    def has_subscriber(self, topic: str, name: str) -> bool:
        """Return whether a node of this name listens to a topic."""
        return any(info.node_name == name
                   for info in self.node.get_subscriptions_info_by_topic(topic))

    def namesakes(self, names: Sequence[str]) -> list[str]:
        """Return which of these full names more than one node has."""
        found = [f'{namespace.rstrip("/")}/{name}'
                 for name, namespace in self.node.get_node_names_and_namespaces()]
        return [name for name in names if found.count(name) > 1]

    def take(self, subscription: Any) -> list[Any]:
        """Return what a subscription of this node has received."""
        taken = []
        handle = subscription.handle
        with handle:
            while (message := handle.take_message(subscription.msg_type, False)) is not None:
                taken.append(message[0])
        return taken
