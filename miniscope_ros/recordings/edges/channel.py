# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What a file of another recorder holds: channels, each with the times of its edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from miniscope_ros.errors import ConfigurationError
import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]

LEAST_EDGES = 20
"""With fewer edges the pattern of their intervals shows nothing."""

_MOST_NAMED = 30  # channels in a message


class TooManyEdges(ConfigurationError):
    """A signal changes too often for sync edges."""


@dataclass(frozen=True)
class Channel:
    """One signal of another recorder."""

    name: str
    read: Callable[[], Times]  # returns the times of its edges, both directions, (n,) [s]
    is_analogue: bool = False  # is looked at only if it is named
    alias: str = ''  # a second name, as its user has chosen it


def choose(channels: Sequence[Channel], name: str) -> Channel:
    """
    Return the channel of a name, or without a name the only one that has edges.

    Raises
    ------
    ConfigurationError
        If there is no such channel, or if several could be meant.

    """
    if not channels:
        raise ConfigurationError('it holds no channel with sync edges')
    if name:
        return _named(channels, name)
    if len(channels) == 1:
        return channels[0]
    seen = [(channel, *_looked_at(channel)) for channel in channels]
    active = [channel for channel, count, _ in seen if count is not None and count >= LEAST_EDGES]
    if len(active) == 1:
        return active[0]
    raise ConfigurationError('name the channel with --align-channel: ' + _listed([
        f'{channel.name} ({text})' for channel, count, text in seen if count != 0 or not active]))


def _looked_at(channel: Channel) -> tuple[int | None, str]:
    """Return how many edges a channel has, None where it was not counted, and a text on them."""
    if channel.is_analogue:
        return None, 'analogue'
    try:
        count = len(channel.read())
    except TooManyEdges:
        # A clock beside the sync line is no reason against the line.
        return None, 'too many edges'
    return count, f'{count} edges'


def _named(channels: Sequence[Channel], name: str) -> Channel:
    found = [channel for channel in channels if channel.name == name]
    found = found or [channel for channel in channels if channel.alias == name]
    if len(found) != 1:
        names = _listed([channel.name for channel in channels])
        raise ConfigurationError(f'there is no channel {name!r}; the channels are: {names}')
    return found[0]


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return ', '.join(names[:_MOST_NAMED]) + (f' and {rest} more' if rest > 0 else '')
