# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Waiting for a device that is not there, or in use, when the node starts by itself."""

from __future__ import annotations

from collections.abc import Callable
import logging

from miniscope_ros.acquisition.reconnect import LOOK_AGAIN, Reconnector
from miniscope_ros.errors import DeviceAbsent, DeviceError
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

_log = logging.getLogger(__name__)


class StartWait:
    """
    Tries again what failed at the start, as for a device that was lost.

    An absent device is looked for every 0.25 s; where opening fails, the time between two
    attempts grows up to 5 s. What is in the way is said once.
    """

    def __init__(self, node: Node, look: Callable[[], None], again: Callable[[], None]) -> None:
        """
        Wait for nothing yet.

        look raises DeviceError while the device is not there; again is called when it is, and
        has to call either wait or end.
        """
        self._look = look
        self._again = again
        self._retries = Reconnector()
        self._waiting = False
        self._trying = False  # this moment
        self._timer = node.create_timer(
            LOOK_AGAIN, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._timer.cancel()

    def is_news(self, error: Exception) -> bool:
        """
        Return whether an error is to be logged.

        An attempt of ours that fails as the one before it did is not; whoever else asked for the
        attempt learns why it failed.
        """
        return not self._trying or self._retries.is_news(str(error))

    def wait(self, error: DeviceError) -> None:
        """Wait until what has just failed may work."""
        if not self._waiting:
            self._waiting = True
            self._retries.begin(str(error))
            _log.info('the device is waited for: auto_start and reconnect are on')
            self._timer.reset()
        if isinstance(error, DeviceAbsent):
            self._retries.look_soon()
        else:
            self._retries.look_later()

    def end(self) -> None:
        """Wait no more."""
        self._waiting = False
        self._timer.cancel()

    def _tick(self) -> None:
        if self._retries.rest > 0:
            return
        try:
            self._look()
        except DeviceAbsent:
            return
        except DeviceError:
            pass  # the attempt says it better
        self._trying = True
        try:
            self._again()
        finally:
            self._trying = False
