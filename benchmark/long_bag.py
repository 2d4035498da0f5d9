# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
A recording of hours, written in a minute: pictures that nobody looks at are holes of the file.

The records and their order are those of rosbag2's MCAP files that are not compressed.
"""
from collections.abc import Iterator, Sequence
from dataclasses import replace
import math
import os
from pathlib import Path
import struct
import tempfile
from typing import BinaryIO, NamedTuple

from mcap.reader import make_reader
from mcap.records import Channel, Schema
from miniscope_ros.node.cdr import FRAME_INFO, ORIENTATION_ROW, packer
import numpy as np
from numpy.typing import NDArray
from recorded_bag import Scope, write_bag
import yaml

MAGIC = b'\x89MCAP0\r\n'
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, DATA_END = (
    1, 2, 3, 4, 5, 6, 7, 15)
RECORD = struct.Struct('<BQ')
MESSAGE_HEAD = struct.Struct('<HIQQ')
FRAMES_PER_CHUNK = 3  # rosbag2 ends a chunk with the message that passes 768 KiB
FRAME_ID = 'miniscope_optical_frame'


class Entry(NamedTuple):
    """A message, of whose data only the begin may be given."""

    topic: str
    time_ns: int
    data: bytes
    size: int  # of all data


def write_long_bag(folder: Path, scope: Scope, shown: NDArray[np.uint8], every: int) -> Path:
    """
    Write a scope's bag; each picture whose number is a multiple of every is one of shown, in turn.

    The others are black, and take no room on the disk: no bytes are written for them.
    """
    folder.mkdir()
    begin, end, schemas, channels = _template(scope, shown.shape[1:])
    numbers = {channel.topic: number for number, channel in channels.items()}
    with (folder / f'{folder.name}_0.mcap').open('wb') as file:
        file.write(MAGIC)
        _write(file, HEADER, _text('ros2') + _text('miniscope_ros'))
        for number, schema in schemas.items():
            _write(file, SCHEMA, struct.pack('<H', number) + _text(schema.name)
                   + _text(schema.encoding) + _bytes(schema.data))
        for number, channel in channels.items():
            _write(file, CHANNEL, struct.pack('<HH', number, channel.schema_id)
                   + _text(channel.topic) + _text('cdr') + _bytes(b''))
        _write_chunk(file, numbers, begin)
        entries: list[Entry] = []
        for number, frame in enumerate(_frames(scope, shown, every), 1):
            entries += frame
            if number % FRAMES_PER_CHUNK == 0:
                _write_chunk(file, numbers, entries)
                entries.clear()
        _write_chunk(file, numbers, entries + list(end))
        _write(file, DATA_END, bytes(4))
        _write(file, FOOTER, bytes(20))
        file.write(MAGIC)
    (folder / 'metadata.yaml').write_text(yaml.safe_dump({'rosbag2_bagfile_information': {
        'version': 9, 'storage_identifier': 'mcap',
        'relative_file_paths': [f'{folder.name}_0.mcap']}}))
    return folder


def _template(scope: Scope, shape: Sequence[int]) -> tuple[
        list[Entry], list[Entry], dict[int, Schema], dict[int, Channel]]:
    """Return what stands before and behind the frames, and the definitions."""
    with tempfile.TemporaryDirectory() as folder:
        bag = write_bag(Path(folder) / 'bag', replace(
            scope, frames=2, size=(shape[1], shape[0])))
        with next(bag.glob('*.mcap')).open('rb') as file:
            reader = make_reader(file)
            summary = reader.get_summary()
            entries = [Entry(channel.topic, message.log_time, message.data, len(message.data))
                       for _, channel, message in reader.iter_messages()]
    first = scope.stamp(0)
    last_ns = scope.stamp(scope.frames - 1) - scope.stamp(1)
    late = [entry for entry in entries if entry.time_ns > scope.stamp(1)]
    return ([entry for entry in entries if entry.time_ns < first],
            [_later(entry, last_ns) for entry in late], summary.schemas, summary.channels)


def _later(entry: Entry, by_ns: int) -> Entry:
    """Return a message with a header that is stamped later."""
    sec, nanosec = struct.unpack_from('<iI', entry.data, 4)
    stamp = sec * 10**9 + nanosec + by_ns
    data = entry.data[:4] + struct.pack('<iI', *divmod(stamp, 10**9)) + entry.data[12:]
    return Entry(entry.topic, stamp, data, entry.size)


def _frames(scope: Scope, shown: NDArray[np.uint8], every: int) -> Iterator[list[Entry]]:
    height, width = shown.shape[1:]
    info, row = packer(FRAME_ID, FRAME_INFO), packer(FRAME_ID, ORIENTATION_ROW)
    image = packer(FRAME_ID, 'III6sBII')
    capture = -1
    for number in range(scope.frames):
        lost = scope.lost.get(number, 0)
        capture += 1 + lost
        time_ms = capture * scope.period_ms
        stamp = scope.start_ns + round(time_ms * 1e6)
        at = divmod(stamp, 10**9)
        head = image(*at, height, width, 6, b'mono8\0', 0, width, width * height)
        pixels = shown[number // every % len(shown)].tobytes() if number % every == 0 else b''
        yield [
            Entry(f'{scope.node}/image_raw', stamp, head + pixels, len(head) + width * height),
            Entry(f'{scope.node}/frame_info', stamp, info(
                *at, number, capture, lost, 0, 2 if lost else 0, scope.counter + capture, number,
                1, 0, -1, time_ms, math.nan, 1, 0, 1, 0), 0),
            Entry(f'{scope.node}/orientation_rows', stamp, row(
                *at, number, time_ms, *scope.quaternion(number)), 0)]


def _write_chunk(file: BinaryIO, numbers: dict[str, int], entries: Sequence[Entry]) -> None:
    if not entries:
        return
    sizes = [MESSAGE_HEAD.size + max(entry.size, len(entry.data)) for entry in entries]
    whole = sum(sizes) + RECORD.size * len(sizes)
    times = [entry.time_ns for entry in entries]
    file.write(RECORD.pack(CHUNK, 8 + 8 + 8 + 4 + 4 + 8 + whole))
    file.write(struct.pack('<QQQIIQ', min(times), max(times), whole, 0, 0, whole))
    index: dict[int, list[int]] = {}
    start = file.tell()
    for entry, size in zip(entries, sizes, strict=True):
        number = numbers[entry.topic]
        index.setdefault(number, []).extend((entry.time_ns, file.tell() - start))
        file.write(RECORD.pack(MESSAGE, size)
                   + MESSAGE_HEAD.pack(number, 0, entry.time_ns, entry.time_ns) + entry.data)
        if hole := size - MESSAGE_HEAD.size - len(entry.data):
            file.seek(hole, os.SEEK_CUR)
    for number, places in index.items():
        _write(file, MESSAGE_INDEX, struct.pack(
            f'<HI{len(places)}Q', number, 8 * len(places), *places))


def _write(file: BinaryIO, opcode: int, content: bytes) -> None:
    file.write(RECORD.pack(opcode, len(content)) + content)


def _bytes(content: bytes) -> bytes:
    return struct.pack('<I', len(content)) + content


def _text(text: str) -> bytes:
    return _bytes(text.encode())
