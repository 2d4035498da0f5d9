# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Digital lines and analogue inputs in a recording of SpikeGLX (.meta and .bin).

A line is named by its word and bit, as XD0.3 (NI card) or SY0.6 (the sync input of a probe).
neo reads the .meta file; the samples are int16, channel by channel. Source: SpikeGLX, "Metadata".
"""

from __future__ import annotations

from functools import partial
import math
from pathlib import Path
from typing import Any

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.edges.channel import Channel
from miniscope_ros.recordings.edges.record_file import RecordFile
from miniscope_ros.recordings.edges.sampled import (
    analogue_edges,
    at_rate,
    DigitalWord,
    Trace,
)
from miniscope_ros.regular import check_regular
from neo.rawio.spikeglxrawio import read_meta_file
import numpy as np
from numpy.typing import NDArray

_RATES = ('niSampRate', 'obSampRate', 'imSampRate')
_WORDS = ('XD', 'SY')
_ANALOGUE = ('XA', 'MA')
_BITS = 16
_LARGEST_META = 1 << 24  # bytes


def channels(file: Path) -> list[Channel]:
    """
    Return all digital lines, and the analogue inputs of a card (not those of a probe).

    Parameters
    ----------
    file
        The .meta or the .bin file; both are needed.

    """
    meta_file = file.with_suffix('.meta')
    if check_regular(meta_file) > _LARGEST_META:
        raise ConfigurationError(f'{meta_file.name} is too large for a .meta file')
    try:
        meta = read_meta_file(meta_file)
        rate_hz = float(next((meta[key] for key in _RATES if key in meta), math.nan))
        names = [str(entry).partition(';')[0] for entry in meta['snsChanMap']]
        count, size = int(meta['nSavedChans']), int(meta['fileSizeBytes'])
    except (KeyError, ValueError) as error:
        raise ConfigurationError(f'{meta_file.name} is damaged: {error!r}') from error
    if not (math.isfinite(rate_hz) and rate_hz > 0 and count > 0 and len(names) == count):
        raise ConfigurationError(f'{meta_file.name} is damaged: {count} channels, {len(names)} '
                                 f'names, {rate_hz:g} samples/s')
    data = RecordFile(file.with_suffix('.bin'), np.dtype([('channels', '<i2', (count,))]))
    held = check_regular(data.path)
    if held != size:
        raise ConfigurationError(
            f'{data.path.name} has {held} bytes, and {meta_file.name} says {size}: '
            f'{"it is truncated" if held < size else "they do not belong together"}')
    found: list[Channel] = []
    for column, name in enumerate(names):
        trace = _trace(data, column, rate_hz)
        if name.startswith(_WORDS):
            word = DigitalWord(trace)
            found += [Channel(f'{name}.{bit}', partial(word.edges, bit))
                      for bit in range(_BITS)]
        elif name.startswith(_ANALOGUE):
            found.append(Channel(name, partial(analogue_edges, trace), True))
    return found


def _trace(data: RecordFile, column: int, rate_hz: float) -> Trace:
    def read(begin: int, end: int) -> NDArray[Any]:
        return np.array(data.read(begin, end)['channels'][:, column])

    return Trace(data.records, at_rate(rate_hz, 0.0), read)
