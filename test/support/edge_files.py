# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Files of other recorders that hold sync edges, written from the formats' public descriptions.

Each writer takes the times of the edges [s] from the recording's begin on.
"""
import json
from pathlib import Path
import struct
from typing import Any

import numpy as np

Times = np.ndarray[Any, np.dtype[np.float64]]
RATE_HZ = 2000
START = -RATE_HZ  # the number of the first sample of Intan: it has a second before the trigger
STREAM = 'Acquisition_Board-100.Rhythm Data'


def levels(edges_s: Times, samples: int = 0) -> Any:
    """Return 0 or 1 for each sample, up to a second after the last edge if no number is given."""
    places = np.ceil(edges_s * RATE_HZ).astype(np.int64)
    changes = np.zeros(samples or int(places[-1] + RATE_HZ), np.int64)
    np.add.at(changes, places, 1)
    return np.cumsum(changes) % 2


def analogue(level: Any, low: int, high: int) -> Any:
    """Return a noisy signal with two levels."""
    noise = np.random.default_rng(1).normal(0, (high - low) / 50, len(level))
    return low + (high - low) * level + noise


def write_open_ephys(root: Path, edges_s: Times, version: str = '0.6', *, lines: int = 1,
                     synchronised: bool = True, rate_hz: float = 30_000) -> Path:
    """Write the events of line 3; others have two events, or with lines=2 as many."""
    recording = root / 'Record Node 104' / 'experiment1' / 'recording1'
    name = 'TTL' if version == '0.6' else 'TTL_1'
    folder = recording / 'events' / STREAM / name
    folder.mkdir(parents=True)
    numbers = np.arange(len(edges_s))
    states = np.where(numbers % 2, -3, 3)
    few = edges_s if lines == 2 else edges_s[[5, -5]]
    times = np.concatenate((edges_s, few + 0.004))
    order = np.argsort(times, kind='stable')
    states = np.concatenate((states, np.where(np.arange(len(few)) % 2, -1, 1)))[order]
    times = times[order]
    samples = np.round(times * rate_hz).astype(np.int64)
    if version == '0.6':
        np.save(folder / 'states.npy', states.astype(np.int16))
        np.save(folder / 'sample_numbers.npy', samples)
        np.save(folder / 'timestamps.npy', times if synchronised else np.full(len(times), -1.0))
        np.save(folder / 'full_words.npy', np.abs(states).astype(np.uint64))
    else:
        np.save(folder / 'channel_states.npy', states.astype(np.int16))
        np.save(folder / 'channels.npy', np.abs(states).astype(np.uint16))
        np.save(folder / 'timestamps.npy', samples)
    (recording / 'structure.oebin').write_text(json.dumps({
        'GUI version': version, 'continuous': [], 'spikes': [], 'events': [
            {'folder_name': 'MessageCenter/', 'sample_rate': 1000.0},
            {'folder_name': f'{STREAM}/{name}/', 'sample_rate': rate_hz}]}))
    return root


def write_spikeglx(folder: Path, edges_s: Times, kind: str = 'nidq') -> Path:
    """Write XA1 and bit 3 of XD0 of a card, or bit 6 of SY0 of a probe; return the .meta file."""
    level = levels(edges_s)
    noise = np.random.default_rng(2).normal(0, 50, len(level))
    if kind == 'nidq':
        stem, rate, names = 'run_g0_t0.nidq', 'niSampRate', ('XA0', 'XA1', 'XD0')
        columns = [noise, analogue(level, 100, 20_000), level << 3]
    else:
        stem, rate, names = 'run_g0_t0.imec0.ap', 'imSampRate', ('AP0', 'AP1', 'SY0')
        columns = [noise, noise, level << 6]
    data = np.column_stack(columns).astype('<i2')
    data.tofile(folder / f'{stem}.bin')
    channel_map = ''.join(f'({name};{n}:{n})' for n, name in enumerate(names))
    meta = folder / f'{stem}.meta'
    meta.write_text(f'typeThis={stem.split(".")[1].rstrip("0")}\n{rate}={RATE_HZ}\n'
                    f'nSavedChans={len(names)}\nfileSizeBytes={data.nbytes}\n'
                    f'fileName=D:/data/{stem}.bin\n~snsChanMap=(2,0,1){channel_map}\n')
    return meta


def _text(text: str) -> bytes:
    coded = text.encode('utf-16-le')
    return struct.pack('<I', len(coded) or 0xFFFFFFFF) + coded


def _channel(kind: str, name: str, custom: str, order: int, signal: int) -> bytes:
    more = 1 if kind == 'rhs' else 0  # the command stream
    return (_text(name) + _text(custom) + struct.pack('<4h', order, order, signal, 1)
            + struct.pack(f'<{2 + more + 4}h', *[0] * (6 + more)) + struct.pack('<2f', 0, 0))


def intan_header(kind: str, version: tuple[int, int]) -> bytes:
    """Return a header with two amplifiers, an analogue input and the digital inputs 0 and 1."""
    digital = 4 if kind == 'rhd' else 5
    channels = [('A-000', '', 0, 0), ('A-001', '', 1, 0), ('ANALOG-IN-1', 'photodiode', 0, 3),
                ('DIGITAL-IN-01', 'reward', 0, digital), ('DIGITAL-IN-02', 'sync', 1, digital)]
    notes = _text('a note') + _text('') * 2
    if kind == 'rhd':
        header = struct.pack('<Ihhfh6fh2f', 0xC6912702, *version, RATE_HZ, 1, *[1.0] * 6, 0, 1, 1)
        header += notes
        header += struct.pack('<h', 0) if version >= (1, 1) else b''
        header += struct.pack('<h', 0) if version >= (1, 3) else b''
        header += _text('n/a') if version >= (2, 0) else b''
    else:
        header = struct.pack('<Ihhfh8fh2f2h3f', 0xD69127AC, *version, RATE_HZ, 1, *[1.0] * 8, 0,
                             1, 1, 0, 0, 1e-6, 1e-6, 1.0)
        header += notes + struct.pack('<2h', 0, 0) + _text('n/a')
    header += struct.pack('<h', 1) + _text('Port A') + _text('A')
    header += struct.pack('<3h', 1, len(channels), 2)
    return header + b''.join(_channel(kind, *channel) for channel in channels)


def write_intan(folder: Path, edges_s: Times, kind: str = 'rhd',
                version: tuple[int, int] = (3, 0), layout: str = 'attached') -> Path:
    """Write digital input 1 ("sync") and the analogue input; return what a user would name."""
    block = 60 if version < (2, 0) else 128
    level = levels(edges_s)
    level = level[:len(level) // block * block]
    numbers = np.arange(len(level))
    if version >= (1, 2):  # before, there was no time before a trigger
        numbers += START
    voltage = analogue(level, 30_000, 50_000)
    header = intan_header(kind, version)
    if layout != 'attached':
        (folder / f'info.{kind}').write_bytes(header)
        numbers.astype('<i4').tofile(folder / 'time.dat')
        if layout == 'signal':
            (level << 1).astype('<u2').tofile(folder / 'digitalin.dat')
            voltage.astype('<u2').tofile(folder / 'analogin.dat')
            np.zeros((len(level), 2), '<i2').tofile(folder / 'amplifier.dat')
        else:
            for name, values in (('DIGITAL-IN-01', 0 * level), ('DIGITAL-IN-02', level),
                                 ('ANALOG-IN-1', voltage)):
                values.astype('<u2').tofile(folder / f'board-{name}.dat')
        return folder
    stim = [('stim', '<u2', (2, block))] if kind == 'rhs' else []
    blocks = np.zeros(len(level) // block, np.dtype([
        ('numbers', '<i4', (block,)), ('amplifier', '<u2', (2, block)), *stim,
        ('voltage', '<u2', (block,)), ('word', '<u2', (block,))]))
    blocks['numbers'] = numbers.reshape(-1, block)
    blocks['voltage'] = voltage.reshape(-1, block)
    blocks['word'] = (level << 1).reshape(-1, block)
    if layout == 'attached':
        file = folder / f'mouse_261127_120000.{kind}'
        file.write_bytes(header + blocks.tobytes())
        return file
    raise ValueError(layout)


def split_intan(file: Path, parts: int) -> Path:
    """Write a file's data as RHX does that begins a new file each minute; return the folder."""
    header = intan_header(file.suffix[1:], (3, 0))
    block = 128 * (4 + 2 * (4 if file.suffix == '.rhd' else 6))
    data = file.read_bytes()[len(header):]
    blocks = len(data) // block
    folder = file.parent / 'parts'
    folder.mkdir()
    for number in range(parts):
        begin, end = (blocks * at // parts * block for at in (number, number + 1))
        (folder / f'mouse_261127_12{number:02}00{file.suffix}').write_bytes(
            header + data[begin:end])
    return folder
