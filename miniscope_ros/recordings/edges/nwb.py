# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Sync edges in an NWB file, read by h5py.

A channel is a series with one value at a time. With a time stamp for each value it is a list of
events or a sampled signal, with a rate a sampled signal. A series of labelled events (ndx-events)
gives a channel for each label.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.edges.channel import Channel, Times
from miniscope_ros.recordings.edges.sampled import (
    analogue_edges,
    at_rate,
    DigitalWord,
    Trace,
    two_values,
)
import numpy as np
from numpy.typing import NDArray

_DIGITAL = 2  # values; a signal that has more is analogue


def channels(file: Path) -> list[Channel]:
    """Return all series in a file that may have edges, by their place in it."""
    found: list[Channel] = []
    try:
        with h5py.File(file, 'r') as content:
            content.visititems(lambda name, item: found.extend(_channels(file, name, item)))
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(f'{file.name} is no HDF5 file, or it is damaged or truncated: '
                                 f'{error}') from error
    return found


def _channels(file: Path, name: str, item: Any) -> list[Channel]:
    """Return the channels of an object; none where it is no series of single values."""
    if not isinstance(item, h5py.Group):
        return []
    data, stamps, start = (_dataset(item, key) for key in ('data', 'timestamps', 'starting_time'))
    if data is not None and (data.dtype.kind not in 'biuf' or data.ndim > 2
                             or data.ndim == 2 and data.shape[1] != 1 or data.ndim == 0):
        return []
    if stamps is not None and stamps.ndim == 1:
        labels = _dataset(item, 'labels')
        if data is not None and labels is not None:
            return [Channel(f'{name}/{_text(label)}',
                            partial(_read, file, name, partial(_labelled, number)))
                    for number, label in enumerate(labels[()])]
        is_analogue = data is not None and data.dtype.kind == 'f' and _number_of_values(data) > 2
        return [Channel(name, partial(_read, file, name, _stamped), is_analogue)]
    if data is not None and start is not None and start.attrs.get('rate', 0) > 0:
        # Recorders write a line as one byte a sample, and a measured voltage as more.
        is_byte = data.dtype.kind != 'f' and data.dtype.itemsize == 1
        is_line = is_byte or _number_of_values(data) == 2
        edges = _line_edges if is_byte else _trace_edges
        return [Channel(name, partial(_read, file, name, edges), is_analogue=not is_line)]
    return []


def _number_of_values(data: Any) -> int:
    """Return whether a series has one value, two or more (3); 0 where it has no sample."""
    if not len(data):
        return 0
    values = two_values(Trace(len(data), at_rate(1.0, 0.0), lambda begin, end: np.asarray(
        data[begin:end].reshape(-1))))
    return 3 if values is None else len(set(values))


def _dataset(group: h5py.Group, key: str) -> Any:
    item = group.get(key)
    return item if isinstance(item, h5py.Dataset) else None


def _text(label: Any) -> str:
    return label.decode(errors='replace') if isinstance(label, bytes) else str(label)


def _read(file: Path, name: str, edges: Callable[[h5py.Group], Times]) -> Times:
    try:
        with h5py.File(file, 'r') as content:
            return np.asarray(edges(content[name]), np.float64)
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(f'{name} in {file.name} is damaged: {error}') from error


def _stamped(group: h5py.Group) -> Times:
    """
    Return the times of a series with time stamps.

    Of a sampled signal most values stand at the level of the one before, and an edge is where one
    does not. Else each value is an event. Numbers with a fraction are a measured voltage, unless
    they have at most two values; without two levels they are refused.
    """
    times, data = group['timestamps'][()], _dataset(group, 'data')
    if data is None or len(times) < 2:
        return np.asarray(times)
    values = data[()].ravel()
    if len(values) != len(times):
        raise ConfigurationError(f'{group.name} is damaged: it has {len(values)} values and '
                                 f'{len(times)} time stamps')
    is_voltage = values.dtype.kind == 'f' and len(np.unique(values)) > _DIGITAL
    try:
        edges = analogue_edges(Trace(len(values), lambda samples: np.asarray(times[samples]),
                                     lambda begin, end: values[begin:end]))
    except ConfigurationError:
        if is_voltage:
            raise
        return np.asarray(times)
    return edges if is_voltage or len(edges) < len(values) / 2 else np.asarray(times)


def _labelled(number: int, group: h5py.Group) -> Times:
    return np.asarray(group['timestamps'][()][group['data'][()].ravel() == number])


def _line_edges(group: h5py.Group) -> Times:
    """Return the edges of a line with a rate: it is low where a sample is 0, else high."""
    return DigitalWord(_trace(group, lambda values: values != 0)).edges(0)


def _trace_edges(group: h5py.Group) -> Times:
    """Return the edges of an analogue signal with a rate."""
    return analogue_edges(_trace(group, lambda values: values))


def _trace(group: h5py.Group, converted: Callable[[NDArray[Any]], NDArray[Any]]) -> Trace:
    """Return the samples of a series with a rate, each piece of them converted."""
    data, start = group['data'], group['starting_time']
    return Trace(len(data), at_rate(float(start.attrs['rate']), float(start[()])),
                 lambda begin, end: converted(data[begin:end].reshape(-1)))
