# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The channel with the sync edges is found among others that cannot be it."""
from functools import partial
from pathlib import Path
from typing import Any

from edge_files import analogue, levels, RATE_HZ
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.edges.channel import Channel, choose
from miniscope_ros.recordings.edges.formats import read_edges
from miniscope_ros.recordings.edges.sampled import at_rate, DigitalWord, Trace
import numpy as np
import pytest

try:
    import h5py
except ImportError:
    h5py = None

pytestmark = pytest.mark.skipif(h5py is None, reason='h5py is not installed')
EDGES_S = 1 + np.arange(120) / 30
SYNC = 'acquisition/sync'


def sampled(file: Path, **series: Any) -> Path:
    """Write an NWB file's series with a rate, each by its samples."""
    with h5py.File(file, 'w') as content:
        for name, values in series.items():
            group = content.create_group(f'acquisition/{name}')
            group['data'] = values
            group['starting_time'] = 0.0
            group['starting_time'].attrs['rate'] = float(RATE_HZ)
    return file


def stamped(file: Path, **series: Any) -> Path:
    """Write an NWB file's series with time stamps, each by its times and values."""
    with h5py.File(file, 'w') as content:
        for name, (times_s, values) in series.items():
            group = content.create_group(f'acquisition/{name}')
            group['timestamps'], group['data'] = times_s, values
    return file


def is_of(found: Any, edges_s: Any) -> bool:
    """Return whether each edge found is the sample after the edge, and none is missing."""
    return len(found) == len(edges_s) and bool((np.abs(found - edges_s) <= 1 / RATE_HZ).all())


@pytest.mark.parametrize('kind', ['u1', 'i1', '?'])
def test_a_line_that_never_changes(tmp_path: Path, kind: str) -> None:
    sync = levels(EDGES_S)
    file = sampled(tmp_path / 'e.nwb', low=(0 * sync).astype(kind), sync=sync.astype(kind),
                   high=(0 * sync + 1).astype(kind))
    assert is_of(read_edges(file), EDGES_S)
    assert len(read_edges(file, 'acquisition/low')) == 0


def test_a_line_that_has_edges_in_a_short_part_of_the_file(tmp_path: Path) -> None:
    edges_s = 500 + EDGES_S
    for high in (1, 255):
        file = sampled(tmp_path / f'{high}.nwb',
                       sync=(high * levels(edges_s, samples=1000 * RATE_HZ)).astype('u1'))
        assert is_of(read_edges(file, SYNC), edges_s)


@pytest.mark.parametrize('kind', ['u1', 'f4'])
def test_a_series_without_a_sample(tmp_path: Path, kind: str) -> None:
    file = sampled(tmp_path / 'e.nwb', empty=np.zeros(0, kind), sync=levels(EDGES_S).astype('u1'))
    assert is_of(read_edges(file), EDGES_S)
    if kind == 'u1':
        assert len(read_edges(file, 'acquisition/empty')) == 0
    else:
        with pytest.raises(ConfigurationError, match='its signal has no sample'):
            read_edges(file, 'acquisition/empty')


def test_a_voltage_with_time_stamps(tmp_path: Path) -> None:
    level = levels(EDGES_S)
    times_s = np.arange(len(level)) / RATE_HZ
    # The rate falls by half, so that no constant one gives these times.
    times_s = np.where(times_s < 3, times_s, 2 * times_s - 3)
    expected_s = np.where(EDGES_S < 3, EDGES_S, 2 * EDGES_S - 3)
    voltage = (times_s, analogue(level, 0, 3))
    file = stamped(tmp_path / 'e.nwb', lick=(times_s[:30], np.arange(30) % 2), voltage=voltage)
    found = read_edges(file, 'acquisition/voltage')
    assert len(found) == len(EDGES_S) and (np.abs(found - expected_s) <= 2 / RATE_HZ).all()
    assert np.array_equal(read_edges(file), times_s[:30])
    noise = np.random.default_rng(3).normal(size=len(level))
    with pytest.raises(ConfigurationError, match='does not have two levels'):
        read_edges(stamped(tmp_path / 'n.nwb', noise=(times_s, noise)))


@pytest.mark.parametrize('values', [np.ones(120), np.arange(120) % 2 * 1.0], ids=['1', '0 and 1'])
def test_events_whose_values_are_floating_point(tmp_path: Path, values: Any) -> None:
    level = levels(EDGES_S)
    voltage = (np.arange(len(level)) / RATE_HZ, analogue(level, 0, 3))
    file = stamped(tmp_path / 'e.nwb', sync=(EDGES_S, values), voltage=voltage)
    assert np.array_equal(read_edges(file), EDGES_S)


@pytest.mark.parametrize('kind', ['i2', 'i8', 'f4', 'f8'])
@pytest.mark.parametrize('pair', [(0, 1), (-1, 1), (0, 20_000)])
def test_a_line_of_several_bytes_a_sample(
        tmp_path: Path, kind: str, pair: tuple[int, int]) -> None:
    edges_s = 500 + EDGES_S
    sync = np.array(pair)[levels(edges_s, samples=1000 * RATE_HZ)]
    voltage = analogue(levels(EDGES_S, samples=len(sync)), 0, 3)
    file = sampled(tmp_path / 'e.nwb', sync=sync.astype(kind), voltage=voltage)
    assert is_of(read_edges(file), edges_s)


def test_a_third_value_makes_no_line(tmp_path: Path) -> None:
    # Each piece that is read at once has two values only.
    steps = np.repeat(np.array([3, 1, 5], 'i2'), 1 << 18)
    steps[1 << 18::2] = 5
    sync = levels(EDGES_S, samples=len(steps)).astype('u1')
    assert is_of(read_edges(sampled(tmp_path / 'e.nwb', steps=steps, sync=sync)), EDGES_S)


def test_samples_of_a_converter_with_time_stamps(tmp_path: Path) -> None:
    level = levels(EDGES_S)
    times_s = np.arange(len(level)) / RATE_HZ
    counts = np.rint(analogue(level, 0, 20_000)).astype('i2')
    assert len(np.unique(counts)) > 2
    found = read_edges(stamped(tmp_path / 'e.nwb', sync=(times_s, counts)))
    assert len(found) == len(EDGES_S) and (np.abs(found - EDGES_S) <= 2 / RATE_HZ).all()


@pytest.mark.parametrize('codes', [[1, 2, 3], [1, -1, 2, -2], [7, 7, 7, 9, 8]], ids=str)
def test_events_whose_values_are_codes(tmp_path: Path, codes: list[int]) -> None:
    values = np.resize(np.array(codes, 'i2'), len(EDGES_S))
    assert np.array_equal(read_edges(stamped(tmp_path / 'e.nwb', sync=(EDGES_S, values))), EDGES_S)


def lines(**half_periods: int) -> list[Channel]:
    """Return the lines of a word, each by how many samples it is low, and then high."""
    def read(begin: int, end: int) -> Any:
        samples = np.arange(begin, end)
        return sum((samples // half % 2) << bit for bit, half in enumerate(half_periods.values()))

    word = DigitalWord(Trace(20_100_000, at_rate(30_000.0, 0.0), read))
    return [Channel(name, partial(word.edges, bit)) for bit, name in enumerate(half_periods)]


def test_a_clock_beside_the_sync_line() -> None:
    channels = lines(clock=1, sync=500_000)
    assert len(choose(channels, '').read()) == 40
    with pytest.raises(ConfigurationError, match='changes too often for sync edges'):
        choose(channels, 'clock').read()


def test_a_clock_beside_two_lines() -> None:
    channels = lines(clock=1, sync=500_000, other=1000)
    with pytest.raises(ConfigurationError, match=(
            r'channel: clock \(too many edges\), sync \(40 edges\), other \(20099 edges\)$')):
        choose(channels, '')
    assert len(choose(channels, 'sync').read()) == 40
