# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Edges in a signal that was sampled at a constant rate.

All is read piece by piece, so that the memory does not grow with the length of a recording.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.edges.channel import Times
from miniscope_ros.regular import check_regular
import numpy as np
from numpy.typing import NDArray

_PIECE = 1 << 18  # samples
_MOST_CHANGES = 20_000_000  # days of edges; noise has more
_LOOKS, _LOOK = 64, 1 << 13  # places at which the levels are looked up, samples at each
_LOW_SHARE, _HIGH_SHARE = 0.5, 99.5  # percentiles that are taken for the two levels
_MOST_BETWEEN = 0.1  # share of the samples in the middle third of the two levels


@dataclass(frozen=True)
class Trace:
    """A sampled signal."""

    samples: int
    rate_hz: float
    start_s: float  # time of the first sample
    read: Callable[[int, int], NDArray[Any]]  # samples from a begin to an end, one-dimensional

    def times(self, samples: NDArray[np.int64]) -> Times:
        """Return when samples were taken [s]."""
        return self.start_s + samples / self.rate_hz

    def pieces(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the first sample's number and the values of piece after piece."""
        for begin in range(0, self.samples, _PIECE):
            yield begin, self.read(begin, min(begin + _PIECE, self.samples))


@dataclass(frozen=True)
class RecordFile:
    """A file of equal records behind a header; one that ends within a record is refused."""

    path: Path
    layout: np.dtype[Any]
    offset: int = 0  # bytes of the header

    @cached_property
    def records(self) -> int:
        """Return how many there are; ConfigurationError if the last one is not complete."""
        size = check_regular(self.path) - self.offset
        if size <= 0 or size % self.layout.itemsize:
            raise ConfigurationError(
                f'{self.path.name} is truncated: its data has {max(size, 0)} bytes, which is no '
                f'multiple of {self.layout.itemsize}' if size > 0 else
                f'{self.path.name} holds no data')
        return size // self.layout.itemsize

    def read(self, begin: int, end: int) -> NDArray[Any]:
        """Map some records; the mapping ends with the array."""
        return np.memmap(self.path, self.layout, 'r',
                         self.offset + begin * self.layout.itemsize, (end - begin,))


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

    return Trace(ends[-1], traces[0].rate_hz, traces[0].start_s, read)


class DigitalWord:
    """A trace whose bits are digital lines; it is read once for all of them."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def edges(self, bit: int) -> Times:
        """Return when a line has changed [s]."""
        samples, changed = self._changes
        return self._trace.times(samples[(changed >> bit) & 1 > 0])

    @cached_property
    def _changes(self) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
        """Return the samples at which any line changed, and which lines did."""
        found: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        bits: list[NDArray[np.uint16]] = [np.zeros(0, np.uint16)]
        count, last = 0, None
        for begin, values in self._trace.pieces():
            word = np.ascontiguousarray(values).astype(np.uint16)
            before = word[:1] if last is None else last
            changed = word ^ np.concatenate((before, word[:-1]))
            last = word[-1:]
            places = np.flatnonzero(changed)
            found.append(places + begin)
            bits.append(changed[places])
            count = _counted(count, len(places))
        return np.concatenate(found), np.concatenate(bits)


def analogue_edges(trace: Trace) -> Times:
    """
    Return when an analogue signal has changed from one of its two levels to the other [s].

    An edge is where the signal enters the third of its range that is next to the other level.

    Raises
    ------
    ConfigurationError
        If the signal does not have two levels.

    """
    low, high = _levels(trace)
    found: list[NDArray[np.int64]] = []
    count, last = 0, None
    for begin, values in trace.pieces():
        known = np.flatnonzero((values <= low) | (values >= high))
        if not known.size:
            continue
        is_high = values[known] >= high
        before = is_high[:1] if last is None else last
        changed = known[is_high != np.concatenate((before, is_high[:-1]))]
        last = is_high[-1:]
        found.append(changed.astype(np.int64) + begin)
        count = _counted(count, len(changed))
    return trace.times(np.concatenate(found))


def _levels(trace: Trace) -> tuple[float, float]:
    """Return the limits of the middle third of the range between the two levels."""
    if not trace.samples:
        raise ConfigurationError('its signal has no sample')
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


def _counted(count: int, more: int) -> int:
    if count + more > _MOST_CHANGES:
        raise ConfigurationError('its signal changes too often for sync edges')
    return count + more
