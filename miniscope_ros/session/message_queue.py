# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What was received and is not yet written."""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import Any


class MessageQueue:
    """What was received and is not yet written: bounded in bytes, and never in the way."""

    def __init__(self, most: int) -> None:
        """Make a queue that holds at most so many bytes."""
        self._most = most
        self._waiting: deque[Any] = deque()
        self._changed = Condition()
        self._closed = False
        self.bytes = 0

    def put(self, item: Any, size: int) -> bool:
        """Append a message; return False if there is no room for it."""
        with self._changed:
            if self.bytes + size > self._most:
                return False
            self._waiting.append((item, size))
            self.bytes += size
            self._changed.notify()
            return True

    def get(self, timeout: float) -> Any:
        """Return the next message, or None after a timeout [s]."""
        with self._changed:
            if not self._waiting and not self._closed:
                self._changed.wait(timeout)
            if not self._waiting:
                return None
            item, size = self._waiting.popleft()
            self.bytes -= size
            return item

    def close(self) -> None:
        """Say that nothing will be put any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    @property
    def ended(self) -> bool:
        """Whether it is closed and empty."""
        with self._changed:
            return self._closed and not self._waiting
