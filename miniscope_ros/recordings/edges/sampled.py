# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Edges in a sampled signal.

All is read piece by piece, so that the memory does not grow with the length of a recording.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.edges.channel import Times, TooManyEdges
import numpy as np
from numpy.typing import NDArray

_PIECE = 1 << 18  # samples
_MOST_CHANGES = 20_000_000  # days of edges; noise and clocks have more
_BITS = 16  # of a digital word
_LOOKS, _LOOK = 64, 1 << 13  # places at which the levels are looked up, samples at each
_LOW_SHARE, _HIGH_SHARE = 0.5, 99.5  # percentiles that are taken for the two levels
_MOST_BETWEEN = 0.1  # share of the samples in the middle third of the two levels


@dataclass(frozen=True)
class Trace:
    """A sampled signal."""

    samples: int
    times: Callable[[NDArray[np.int64]], Times]  # of samples [s], by their numbers; both (n,)
    read: Callable[[int, int], NDArray[Any]]  # values from a begin to an end, (end - begin,)

    def pieces(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the first sample's number and the values of piece after piece."""
        for begin in range(0, self.samples, _PIECE):
            yield begin, self.read(begin, min(begin + _PIECE, self.samples))


def at_rate(rate_hz: float, start_s: float) -> Callable[[NDArray[np.int64]], Times]:
    """Return the times of a trace with a constant rate, whose first sample was at start_s."""
    return lambda samples: start_s + samples / rate_hz


def joined(traces: Sequence[Trace]) -> Trace:
    """Return traces that follow each other as one."""
    if len(traces) == 1:
        return traces[0]
    ends = list(accumulate(trace.samples for trace in traces))

    def read(begin: int, end: int) -> NDArray[Any]:
        parts = []
        for number in range(bisect_right(ends, begin), len(traces)):
            first = ends[number] - traces[number].samples
            if first >= end:
                break
            parts.append(traces[number].read(max(begin - first, 0),
                                             min(end, ends[number]) - first))
        return np.concatenate(parts)

    return Trace(ends[-1], traces[0].times, read)


class DigitalWord:
    """A trace whose bits are digital lines; it is read once for all of them."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def edges(self, bit: int) -> Times:
        """
        Return when a line has changed [s], shape (n,).

        Raises
        ------
        TooManyEdges
            If it did so too often.
        ConfigurationError
            If the word has no such bit, as a damaged header may say.

        """
        if not 0 <= bit < _BITS:
            raise ConfigurationError(f'it is damaged: a digital word has no bit {bit}')
        return self._trace.times(self._changes[bit].samples())

    @cached_property
    def _changes(self) -> list[_Changes]:
        """Return the changes of each line, bit 0 first."""
        lines = [_Changes() for _ in range(_BITS)]
        last: NDArray[np.uint16] | None = None
        for begin, values in self._trace.pieces():
            word = np.ascontiguousarray(values).astype(np.uint16)
            before = word[:1] if last is None else last
            changed = word ^ np.concatenate((before, word[:-1]))
            last = word[-1:]
            active = int(np.bitwise_or.reduce(changed))
            for bit, line in enumerate(lines):
                if active >> bit & 1:
                    line.add(begin + np.flatnonzero(changed >> bit & 1))
        return lines


class _Changes:
    """The samples at which a signal has changed; they are dropped where they are too many."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.int64]] = []
        self._count = 0

    def add(self, samples: NDArray[np.intp]) -> None:
        """Take the numbers of samples, shape (n,)."""
        self._count += len(samples)
        if self._count > _MOST_CHANGES:
            self._parts.clear()
        else:
            self._parts.append(samples.astype(np.int64))

    def samples(self) -> NDArray[np.int64]:
        """Return the numbers of all samples, shape (n,); TooManyEdges where they are dropped."""
        if self._count > _MOST_CHANGES:
            raise TooManyEdges('its signal changes too often for sync edges')
        return np.concatenate([np.zeros(0, np.int64), *self._parts])


def analogue_edges(trace: Trace) -> Times:
    """
    Return when an analogue signal has changed from one of its two levels to the other.

    An edge is where the signal enters the third of its range that is next to the other level.

    Returns
    -------
    Times
        Shape (n,) [s].

    Raises
    ------
    TooManyEdges
        If it changed too often.
    ConfigurationError
        If the signal does not have two levels.

    """
    low, high = _levels(trace)
    found, last = _Changes(), None
    for begin, values in trace.pieces():
        known = np.flatnonzero((values <= low) | (values >= high))
        if not known.size:
            continue
        is_high = values[known] >= high
        before = is_high[:1] if last is None else last
        changed = known[is_high != np.concatenate((before, is_high[:-1]))]
        last = is_high[-1:]
        found.add(begin + changed)
    return trace.times(found.samples())


def two_values(trace: Trace) -> tuple[float, float] | None:
    """
    Return the lower and the higher value of a signal that has no other ones; None if it has.

    Both are equal where it never changes. It is not read further than to the third value.
    """
    found: tuple[Any, Any] | None = None
    for _, values in trace.pieces():
        low, high = found or (values.min(), values.max())
        if low == high:
            low, high = min(low, values.min()), max(high, values.max())
        if not ((values == low) | (values == high)).all() or found and not (
                found[0] in (low, high) and found[1] in (low, high)):
            return None
        found = low, high
    return found and (float(found[0]), float(found[1]))


def _levels(trace: Trace) -> tuple[float, float]:
    """Return the limits of the middle third of the range between the two levels."""
    if not trace.samples:
        raise ConfigurationError('its signal has no sample')
    if (values := two_values(trace)) and values[0] < values[1]:
        return values  # an edge may stand anywhere in a long file
    begins = np.linspace(0, max(trace.samples - _LOOK, 0), _LOOKS).astype(int)
    seen = np.concatenate([trace.read(int(begin), min(int(begin) + _LOOK, trace.samples))
                           for begin in np.unique(begins)]).astype(np.float64)
    if not np.isfinite(seen).all():
        raise ConfigurationError('its signal has values that are no numbers')
    bottom, top = np.percentile(seen, (_LOW_SHARE, _HIGH_SHARE))
    low, high = float(bottom + (top - bottom) / 3), float(top - (top - bottom) / 3)
    if bottom == top or ((seen > low) & (seen < high)).mean() > _MOST_BETWEEN:
        raise ConfigurationError('its signal does not have two levels, as sync edges do')
    return low, high
