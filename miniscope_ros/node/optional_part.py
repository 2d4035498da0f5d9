# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Runs what the raw stream can do without, so that a fault in it costs nothing else."""

from __future__ import annotations

from collections.abc import Callable
import logging
import time
from typing import TypeVar

_log = logging.getLogger(__name__)

RETRY_S = 10.0
"""How long a part that failed is switched off."""

T = TypeVar('T')


class OptionalPart:
    """
    One part of the node that is not image_raw, frame_info or the account.

    When it raises, it is switched off with an error in the log and tried again after RETRY_S. The
    traceback is logged the first time only.
    """

    def __init__(self, name: str) -> None:
        """Name the part as the log is to call it."""
        self._name = name
        self._failed_before = False
        self._off_until = 0.0  # monotonic [s]; 0: it is on

    def run(self, step: Callable[..., T], *arguments: object) -> T | None:
        """Return what the step returns; None while it is switched off, or if it raises."""
        if self._off_until and time.monotonic() < self._off_until:
            return None
        try:
            result = step(*arguments)
        except Exception as error:
            self._off_until = time.monotonic() + RETRY_S
            _log.error(
                '%s met an error and is switched off for %g s; frames are published as before: '
                '%s: %s', self._name, RETRY_S, type(error).__name__, error,
                exc_info=None if self._failed_before else error)
            self._failed_before = True
            return None
        if self._off_until:
            self._off_until = 0.0
            _log.info('%s works again', self._name)
        return result
