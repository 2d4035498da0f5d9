# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Digital and analogue inputs in a recording of Intan RHX (.rhd, .rhs).

neo reads the header. The data are in the same file, in blocks of 60 or 128 samples, or beside an
info file: a file for each kind of signal, or one for each channel. Source: Intan, "RHD2000 data
file formats" and "RHS2000 data file formats".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from inspect import signature
import math
from pathlib import Path
from typing import Any

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.installing import pip_install
from miniscope_ros.recordings.edges.channel import Channel
from miniscope_ros.recordings.edges.record_file import RecordFile
from miniscope_ros.recordings.edges.sampled import (
    analogue_edges,
    at_rate,
    DigitalWord,
    joined,
    Trace,
)
from miniscope_ros.regular import check_regular
from neo.rawio.intanrawio import read_rhd, read_rhs
import numpy as np
from numpy.typing import NDArray

SUFFIXES = ('.rhd', '.rhs')
INFO_FILES = tuple(f'info{suffix}' for suffix in SUFFIXES)
_MAGIC = {'.rhd': 0xC6912702, '.rhs': 0xD69127AC}
_ANALOGUE = 3  # signal types as the header has them
_DIGITAL = {'.rhd': 4, '.rhs': 5}
_WORDS, _SAMPLES = 'USB board digital input channel', 'timestamp'  # fields, as neo names them


@dataclass(frozen=True)
class _Header:
    file: Path
    rate_hz: float
    digital: list[dict[str, Any]]  # as neo describes channels
    analogue: list[dict[str, Any]]
    layout: np.dtype[Any] | None  # of a block of data behind the header
    size: int  # bytes
    block: int  # samples


def channels(file: Path) -> list[Channel]:
    """
    Return digital and analogue inputs.

    Parameters
    ----------
    file
        A file with header and data, an info file, or a folder: with an info file, or with files
        that were written one after the other.

    """
    files = _files(file)
    headers = [_header(one) for one in files]
    first = headers[0]
    for other in headers[1:]:
        if (other.layout, other.rate_hz) != (first.layout, first.rate_hz):
            raise ConfigurationError(f'{first.file.name} and {other.file.name} do not have the '
                                     'same channels: they are no recording in several files')
    start_s = _start_s(joined([_samples(header) for header in headers]), first.rate_hz)
    found: list[Channel] = []
    words: dict[str, DigitalWord] = {}
    for info in first.digital:
        key, bit = _word(first, info)
        if key not in words:
            words[key] = DigitalWord(joined([
                _trace(header, _WORDS, key, start_s) for header in headers]))
        found.append(Channel(
            info['native_channel_name'], partial(words[key].edges, bit),
            alias=info['custom_channel_name']))
    for number, info in enumerate(first.analogue):
        name = info['native_channel_name']
        trace = joined([_trace(header, name, _own_file(header, name) or 'analogin.dat', start_s,
                               number, len(first.analogue)) for header in headers])
        found.append(Channel(name, partial(analogue_edges, trace), True,
                             info['custom_channel_name']))
    return found


def _files(file: Path) -> list[Path]:
    if not file.is_dir():
        return [file]
    for name in INFO_FILES:
        if (file / name).exists():
            return [file / name]
    return sorted(path for path in file.iterdir() if path.suffix in SUFFIXES)


def _header(file: Path) -> _Header:
    """Read a header; ConfigurationError where it is none."""
    check_regular(file)
    with file.open('rb') as stream:
        magic = int.from_bytes(stream.read(4), 'little')
    if magic != _MAGIC[file.suffix]:
        raise ConfigurationError(f'{file.name} is no Intan file: it begins with {magic:#x}')
    is_attached = file.name not in INFO_FILES
    read = read_rhd if file.suffix == '.rhd' else read_rhs
    file_format = 'header-attached' if is_attached else 'one-file-per-signal'
    try:
        signature(read).bind(file, file_format)
    except TypeError as error:
        raise ConfigurationError(
            f'the installed neo is too old: {pip_install("neo>=0.14")}') from error
    try:
        facts, infos, layout, size, block, _ = read(file, file_format)
        layout = np.dtype(layout) if is_attached else None
        rate_hz = float(facts['sampling_rate'])
    except Exception as error:  # a damaged header leads anywhere
        raise ConfigurationError(f'the header of {file.name} is damaged or truncated '
                                 f'({type(error).__name__}: {error})') from error
    if not (math.isfinite(rate_hz) and rate_hz > 0):
        raise ConfigurationError(f'the header of {file.name} is damaged: {rate_hz} samples/s')
    return _Header(file, rate_hz,
                   [info for info in infos if info['signal_type'] == _DIGITAL[file.suffix]],
                   [info for info in infos if info['signal_type'] == _ANALOGUE],
                   layout, size, block)


def _samples(header: _Header) -> Trace:
    """Return the numbers of the samples."""
    return _trace(header, _SAMPLES, 'time.dat', 0.0)


def _start_s(samples: Trace, rate_hz: float) -> float:
    """Return the first sample's time [s]; ConfigurationError where one does not follow."""
    start = last = int(samples.read(0, 1)[0])
    for begin, numbers in samples.pieces():
        expected = last + (begin > 0)
        wrong = np.flatnonzero(numbers != expected + np.arange(len(numbers)))
        if wrong.size:
            place = int(wrong[0])
            raise ConfigurationError(
                f'it is damaged: at {(begin + place) / rate_hz:.3f} s sample '
                f'{int(numbers[place])} stands where {expected + place} should')
        last = int(numbers[-1])
    return start / rate_hz


def _word(header: _Header, info: dict[str, Any]) -> tuple[str, int]:
    """Return the file beside an info file that a digital input is in, and its bit there."""
    if own := _own_file(header, info['native_channel_name']):
        return own, 0
    return 'digitalin.dat', int(info['native_order'])


def _own_file(header: _Header, name: str) -> str:
    """Return the file beside an info file that has only this channel; empty where none has."""
    own = f'board-{name}.dat'
    is_there = header.layout is None and (header.file.parent / own).exists()
    return own if is_there else ''


def _trace(header: _Header, field: str, beside: str, start_s: float, column: int = 0,
           columns: int = 1) -> Trace:
    """Return a field of the blocks, or a column of a file beside the info file."""
    if header.layout is not None:
        blocks = RecordFile(header.file, header.layout, header.size)

        def read(begin: int, end: int) -> NDArray[Any]:
            first = begin // header.block
            values = np.array(blocks.read(first, -(-end // header.block))[field]).ravel()
            return values[begin - first * header.block:end - first * header.block]

        return Trace(blocks.records * header.block, at_rate(header.rate_hz, start_s), read)
    if beside != 'analogin.dat':
        column, columns = 0, 1
    kind = '<i4' if field == _SAMPLES else '<u2'
    rows = RecordFile(header.file.parent / beside, np.dtype([('columns', kind, (columns,))]))
    return Trace(rows.records, at_rate(header.rate_hz, start_s),
                 lambda begin, end: np.array(rows.read(begin, end)['columns'][:, column]))
