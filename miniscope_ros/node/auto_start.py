# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A node that configures and activates itself, and waits for a device that is not there yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from miniscope_ros.errors import DeviceError, MiniscopeError
from miniscope_ros.node.environment import LIVE
from miniscope_ros.node.start_wait import StartWait
from miniscope_ros.sources.registry import find_device
from rclpy.lifecycle import LifecycleNode


class AutoStart:
    """
    The start of a node by itself, as auto_start and reconnect have it.

    Its transitions run on the executor, like a user's, one after the other.
    """

    def __init__(
        self,
        node: LifecycleNode,
        values: Callable[[], Mapping[str, Any]],
        stage: Callable[[], str],
        failure: Callable[[], MiniscopeError | None],
    ) -> None:
        """
        Start nothing yet.

        values returns the parameters, stage the node's state, failure what the last transition
        failed with.
        """
        self._node = node
        self._values = values
        self._stage = stage
        self._failure = failure
        self._guard = node.create_guard_condition(self._start)
        self._wait = StartWait(node, lambda: find_device(values()), self._start_again)

    def begin(self) -> None:
        """Configure and activate, if that is wanted (any thread)."""
        if self._values()['auto_start']:
            self._guard.trigger()

    def is_news(self, error: Exception) -> bool:
        """Return whether an error differs from the one that is waited for already."""
        return self._wait.is_news(error)

    def _start(self) -> None:
        if self._stage() == 'unconfigured':
            self._node.trigger_configure()
            failure = self._failure()
            if isinstance(failure, DeviceError) and self._waits_for_device():
                self._wait.wait(failure)
                return
        self._wait.end()
        if self._stage() == 'inactive':
            self._node.trigger_activate()

    def _start_again(self) -> None:
        if self._stage() == 'unconfigured' and self._waits_for_device():
            self._start()
        else:
            self._wait.end()  # somebody else decides now what becomes of the node

    def _waits_for_device(self) -> bool:
        values = self._values()
        return values['reconnect'] and values['source'] in LIVE
