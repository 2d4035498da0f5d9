# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Edges in files of other recorders belong to the right frames."""
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
import tracemalloc
from typing import Any

from edge_files import (
    RATE_HZ,
    split_intan,
    START,
    STREAM,
    write_intan,
    write_open_ephys,
    write_spikeglx,
)
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.edges.formats import read_edges
from miniscope_ros.recordings.export.alignment import align
import numpy as np
import pytest
from sync_rig import DRIFT, OFFSET_S, Rig

try:
    import h5py
    import neo
    import pynwb
except ImportError:
    h5py = neo = pynwb = None

pytestmark = pytest.mark.skipif(
    h5py is None or neo is None or pynwb is None, reason='h5py, neo or pynwb is not installed')
BEGIN_S = 3.7  # of the first edge in a recording that has samples
Writer = Callable[[Path, Any], tuple[Path, str]]


def nwb(*series: Any, file: Path) -> Path:
    content = pynwb.NWBFile('session', 'id', datetime(2026, 11, 27, tzinfo=timezone.utc))
    for one in series:
        content.add_acquisition(one)
    with pynwb.NWBHDF5IO(file, 'w') as io:
        io.write(content)
    return file


def events(folder: Path, edges: Any) -> tuple[Path, str]:
    """Write one value for each edge."""
    return nwb(pynwb.TimeSeries(name='sync', data=np.arange(len(edges)) % 2, unit='n.a.',
                                timestamps=edges), file=folder / 'e.nwb'), ''


def sampled_events(folder: Path, edges: Any) -> tuple[Path, str]:
    """Write a level twice for each edge: right after it, and later."""
    times = np.column_stack((edges, edges + .002, edges + .004)).ravel()
    times = np.concatenate(([edges[0] - 1], times))
    level = np.concatenate(([1], np.repeat(np.arange(len(edges)) % 2, 3)))
    return nwb(pynwb.TimeSeries(name='sync', data=level, unit='n.a.', timestamps=times),
               file=folder / 'e.nwb'), 'acquisition/sync'


EVENTS: dict[str, Writer] = {
    'open ephys': lambda folder, edges: (write_open_ephys(folder / 'oe', edges), ''),
    'open ephys, its own clock': lambda folder, edges: (
        write_open_ephys(folder / 'oe', edges, synchronised=False), '3'),
    'open ephys 0.5': lambda folder, edges: (
        write_open_ephys(folder / 'oe', edges, '0.5'), '3'),
    'open ephys, a file': lambda folder, edges: (
        write_open_ephys(folder / 'oe', edges) / 'Record Node 104' / 'experiment1' / 'recording1'
        / 'events' / STREAM / 'TTL' / 'states.npy', ''),
    'NWB events': events, 'NWB times of samples': sampled_events}


@pytest.mark.parametrize('write', EVENTS.values(), ids=EVENTS.keys())
def test_three_hours_of_events(tmp_path: Path, write: Writer) -> None:
    rig = Rig()
    file, channel = write(tmp_path, rig.edges_s)
    found = align(rig.frame_s, rig.index, read_edges(file, channel))
    assert len(found.frame) == len(rig.frame_s)
    assert np.array_equal(found.edge, rig.index[found.frame])
    assert np.abs(found.times_s - (OFFSET_S + rig.frame_s * (1 + DRIFT))).max() < 1e-3


def trace(folder: Path, edges: Any, kind: str = 'f4') -> tuple[Path, str]:
    from edge_files import analogue, levels
    level = levels(edges)
    data = level.astype(kind) if kind == 'u1' else analogue(level, -1, 5).astype(kind)
    return nwb(pynwb.TimeSeries(name='photodiode', data=np.zeros(100), unit='V', rate=10.0),
               pynwb.TimeSeries(name='ttl', data=data[:, None], unit='V', rate=float(RATE_HZ)),
               file=folder / 't.nwb'), '' if kind == 'u1' else 'acquisition/ttl'


SAMPLED: dict[str, Writer] = {
    'NWB trace': trace,
    'NWB trace of 0 and 1': lambda folder, edges: trace(folder, edges, 'u1'),
    'SpikeGLX card': lambda folder, edges: (write_spikeglx(folder, edges), ''),
    'SpikeGLX folder': lambda folder, edges: (write_spikeglx(folder, edges).parent, 'XD0.3'),
    'SpikeGLX analogue': lambda folder, edges: (
        write_spikeglx(folder, edges).with_suffix('.bin'), 'XA1'),
    'SpikeGLX probe': lambda folder, edges: (write_spikeglx(folder, edges, 'imec'), ''),
    **{f'Intan {kind} {version} {layout}': lambda folder, edges, kind=kind, version=version,
       layout=layout: (write_intan(folder, edges, kind, version, layout), '')
       for kind, version, layout in (
           ('rhd', (1, 0), 'attached'), ('rhd', (1, 2), 'attached'), ('rhd', (3, 3), 'attached'),
           ('rhd', (3, 3), 'signal'), ('rhd', (3, 3), 'channel'), ('rhs', (3, 3), 'attached'),
           ('rhs', (3, 3), 'signal'), ('rhs', (3, 3), 'channel'))},
    'Intan analogue': lambda folder, edges: (write_intan(folder, edges), 'ANALOG-IN-1'),
    'Intan analogue file': lambda folder, edges: (
        write_intan(folder, edges, layout='signal'), 'photodiode'),
    'Intan, its own name': lambda folder, edges: (write_intan(folder, edges), 'sync'),
    'Intan, several files': lambda folder, edges: (
        split_intan(write_intan(folder, edges), 15), '')}


@pytest.mark.parametrize('name', SAMPLED)
def test_a_quarter_of_an_hour_of_samples(tmp_path: Path, name: str) -> None:
    rig = Rig(hours=0.25)
    begin_s = BEGIN_S + (
        START / RATE_HZ if name.startswith('Intan') and '(1, 0)' not in name else 0)
    file, channel = SAMPLED[name](tmp_path, rig.edges_s - OFFSET_S + BEGIN_S)
    found = align(rig.frame_s, rig.index, read_edges(file, channel))
    assert len(found.frame) == len(rig.frame_s)
    assert np.array_equal(found.edge, rig.index[found.frame])
    assert np.abs(found.times_s - (begin_s + rig.frame_s * (1 + DRIFT))).max() < 1e-3


def test_a_label_of_events_is_a_channel(tmp_path: Path) -> None:
    rig = Rig(hours=0.1)
    with h5py.File(tmp_path / 'l.nwb', 'w') as file:
        group = file.create_group('acquisition/ttl')
        group['timestamps'] = np.concatenate((rig.edges_s, rig.edges_s[-1] + [1, 2]))
        group['data'] = np.array([1] * len(rig.edges_s) + [0, 0], np.uint8)
        group['labels'] = np.array(['lick', 'frame'], object)
    for channel in ('', 'acquisition/ttl/frame'):
        assert np.array_equal(read_edges(tmp_path / 'l.nwb', channel), rig.edges_s)


def test_channels_are_listed_where_one_is_needed(tmp_path: Path) -> None:
    edges = Rig(hours=0.01).edges_s - OFFSET_S + BEGIN_S
    folder = write_open_ephys(tmp_path / 'oe', edges, lines=2)
    with pytest.raises(ConfigurationError, match=r'--align-channel: 1 \(\d+ edges\), 3 \(\d+'):
        read_edges(folder)
    with pytest.raises(ConfigurationError, match=r"no channel '7'; the channels are: 1, 3$"):
        read_edges(folder, '7')
    file = write_intan(tmp_path, 0 * edges[:1] + 1)
    with pytest.raises(ConfigurationError, match=r'ANALOG-IN-1 \(analogue\)'):
        read_edges(file)
    assert len(read_edges(file, 'sync')) == 1


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    meta = write_spikeglx(tmp_path, np.array([1.0]))
    file = meta.with_suffix('.bin')
    size, text = file.stat().st_size, meta.read_text()
    meta.write_text(text.replace(str(size), str(600_000_000)))
    with file.open('r+b') as stream:
        stream.truncate(600_000_000)
    long = np.array([1.0, 2000.0])
    for one, channel in ((meta, 'XD0.3'), (write_intan(tmp_path, long), 'sync')):
        tracemalloc.start()
        assert len(read_edges(one, channel)) == 2  # of SpikeGLX the end of the writer's data
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20_000_000, one
