# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The states of a capture engine, and how one follows another.

::

    CLOSED ----open----> INACTIVE <---activate/deactivate---> ACTIVE
      ^                   |    ^                               |   ^
      |                  lost  back                          lost  back
      |                   v    |                               v   |
      |                DISCONNECTED <------deactivate------ INTERRUPTED
      |
      +---close--- any state

    FAILED: the source was closed because of an error, or was lost and is not to be looked for.
            From there activate opens it again.
    ENDED:  a recording was played to its end; its source is still open. activate plays it again.

The light has no part in this: an engine that is not active tries to make the device dark until
that is confirmed, in every state (see light_guard).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
import logging

_log = logging.getLogger(__name__)


class CaptureState(str, Enum):
    """What a capture engine does."""

    CLOSED = 'closed'
    INACTIVE = 'inactive'  # frames are read and discarded, the light is dark
    ACTIVE = 'active'  # frames are published
    INTERRUPTED = 'interrupted'  # active, but the device is lost and looked for
    DISCONNECTED = 'disconnected'  # inactive, and the device is lost and looked for
    FAILED = 'failed'
    ENDED = 'ended'

    def __str__(self) -> str:
        """Return the state in a word, as diagnostics show it."""
        return str(self.value)

    @property
    def is_active(self) -> bool:
        """Return whether an acquisition is under way."""
        return self in (CaptureState.ACTIVE, CaptureState.INTERRUPTED)

    @property
    def is_disconnected(self) -> bool:
        """Return whether the device is lost and looked for."""
        return self in (CaptureState.INTERRUPTED, CaptureState.DISCONNECTED)

    @property
    def has_frames(self) -> bool:
        """Return whether frames can be read."""
        return self in (CaptureState.INACTIVE, CaptureState.ACTIVE)


_S = CaptureState
_ANY_TIME = frozenset((_S.CLOSED, _S.FAILED))

TRANSITIONS: Mapping[CaptureState, frozenset[CaptureState]] = {
    _S.CLOSED: frozenset((_S.INACTIVE, _S.FAILED)),
    _S.INACTIVE: _ANY_TIME | {_S.ACTIVE, _S.DISCONNECTED, _S.ENDED},
    _S.ACTIVE: _ANY_TIME | {_S.INACTIVE, _S.INTERRUPTED, _S.ENDED},
    _S.INTERRUPTED: _ANY_TIME | {_S.ACTIVE, _S.DISCONNECTED},
    _S.DISCONNECTED: _ANY_TIME | {_S.INACTIVE},
    _S.FAILED: frozenset((_S.CLOSED, _S.INACTIVE)),
    _S.ENDED: _ANY_TIME | {_S.ACTIVE, _S.INACTIVE},
}
"""Which state may follow which one."""


class CaptureStates:
    """The state of one engine; enter is the only way to change it."""

    def __init__(self) -> None:
        self.state = CaptureState.CLOSED
        self.reason = ''  # why it is disconnected or has failed

    def enter(self, state: CaptureState, reason: str = '') -> None:
        """
        Enter a state, and note the reason if it is one of trouble.

        Raises RuntimeError for a state that may not follow the present one.
        """
        before = self.state
        if state is not before and state not in TRANSITIONS[before]:
            raise RuntimeError(f'state {state} may not follow {before}')
        self.state = state
        self.reason = reason
        _log.debug('state %s -> %s%s', before, state, f': {reason}' if reason else '')
