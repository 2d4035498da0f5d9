# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The messages of an MCAP file, in the order in which they were written.

The records are walked from the front, not found by the index at the end: a file cut off by a
crash has none, and stepping over an image costs nothing (mcap.dev, MCAP format specification).
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
import struct
from typing import BinaryIO

from lz4.frame import LZ4FrameDecompressor
from miniscope_ros.recordings.bag.message import Incomplete, Message, Topic, Wanted, ZSTD_MAGIC
from miniscope_ros.recordings.bag.zstd import zstd

_LARGEST = 1 << 28  # bytes of a record; what is larger is damage
_MAGIC = b'\x89MCAP0\r\n'
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0f
_RECORD = struct.Struct('<BQ')  # opcode, length
_MESSAGE_HEAD = struct.Struct('<HIQQ')  # channel, sequence, log time, publish time
_CHUNK_HEAD = struct.Struct('<QQQI')  # start time, end time, uncompressed size, checksum


def read_mcap(file: BinaryIO, size: int | None, wanted: Wanted) -> Iterator[Message]:
    """
    Yield the wanted messages of a file of size bytes (None: not known).

    Raises Incomplete after the last one where the file is cut off or damaged.
    """
    if file.read(len(_MAGIC)) != _MAGIC:
        raise Incomplete('is no MCAP file')
    walk = _Walk(wanted)
    yield from walk.records(file, size)
    if not walk.ended:
        raise Incomplete('was cut off: its end is missing')
    if walk.damaged_chunks:
        raise Incomplete(f'holds {walk.damaged_chunks} damaged chunks; their messages are lost')


class _Walk:
    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.schemas: dict[int, tuple[str, str, str]] = {}
        self.channels: dict[int, tuple[Topic, int]] = {}
        self.damaged_chunks = 0
        self.ended = False

    def records(self, file: BinaryIO, size: int | None) -> Iterator[Message]:
        while head := file.read(_RECORD.size):
            opcode, length = _RECORD.unpack(_whole(head, _RECORD.size))
            if opcode == _MESSAGE:
                channel, *_ = _MESSAGE_HEAD.unpack(_read(file, _MESSAGE_HEAD.size))
                length -= _MESSAGE_HEAD.size
                topic, leading = self.channels.get(channel, (None, 0))
                if topic is None or leading == 0:
                    _skip(file, length, size)
                    continue
                data = _read(file, min(leading, length))
                if data.startswith(ZSTD_MAGIC):  # its first bytes alone say nothing
                    data += _read(file, length - len(data))
                _skip(file, length - len(data), size)
                yield Message(topic, data)
            elif opcode == _CHUNK:
                _read(file, _CHUNK_HEAD.size)
                compression = _text(file)
                packed = int.from_bytes(_read(file, 8), 'little')
                if compression:  # the records of any other are walked as if there was no chunk
                    yield from self._chunk(_read_part(file, packed), packed, compression)
            elif opcode == _SCHEMA:
                record = BytesIO(_read(file, length))
                number = int.from_bytes(_read(record, 2), 'little')
                self.schemas[number] = _text(record), _text(record), _text(record)
            elif opcode == _CHANNEL:
                self._channel(BytesIO(_read(file, length)))
            elif opcode == _DATA_END:
                self.ended = True
                return
            elif opcode == 0:
                raise Incomplete('was cut off: zeros follow the last message')
            else:
                _skip(file, length, size)

    def _channel(self, record: BytesIO) -> None:
        number = int.from_bytes(_read(record, 2), 'little')
        schema = int.from_bytes(_read(record, 2), 'little')
        name = _text(record)
        if number in self.channels or schema not in self.schemas:
            return
        type_name, definition_format, definition = self.schemas[schema]
        topic = Topic(name, type_name, definition, definition_format)
        self.channels[number] = topic, self.wanted(topic)

    def _chunk(self, packed: bytes, length: int, compression: str) -> Iterator[Message]:
        if compression not in ('zstd', 'lz4'):
            raise Incomplete(f'is compressed as {compression!r}; zstd and lz4 can be read')
        try:
            # Decompressors that stream: the start of a chunk that was cut off can be read too.
            records = (zstd.ZstdDecompressor().decompress(packed) if compression == 'zstd'
                       else LZ4FrameDecompressor().decompress(packed))
        except (zstd.ZstdError, RuntimeError):
            self.damaged_chunks += 1
        else:
            yield from self.records(BytesIO(records), len(records))
        _whole(packed, length)


def _whole(data: bytes, size: int) -> bytes:
    if len(data) < size:
        raise Incomplete('was cut off in the middle of a message')
    return data


def _read(file: BinaryIO, size: int) -> bytes:
    return _whole(_read_part(file, size), size)


def _read_part(file: BinaryIO, size: int) -> bytes:
    if not 0 <= size <= _LARGEST:
        raise Incomplete(f'is damaged: it has a record of {size} bytes')
    return file.read(size)


def _text(file: BinaryIO) -> str:
    return _read(file, int.from_bytes(_read(file, 4), 'little')).decode(errors='replace')


def _skip(file: BinaryIO, length: int, size: int | None) -> None:
    end = file.tell() + length
    if (size is not None and end > size) or file.seek(length, 1) != end:
        raise Incomplete('was cut off in the middle of a message')
