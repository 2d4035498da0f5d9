# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The messages of an MCAP file, in the order in which they were written.

The records are walked from the front, not found by the index at the end: a file cut off by a
crash has none, and stepping over an image costs nothing. Numbers and layouts of records are those
of the MCAP format specification (mcap.dev/spec).
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
import struct
from typing import Any, BinaryIO, TypeAlias
import zlib

from miniscope_ros.installing import pip_install
from miniscope_ros.recordings.bag.message import (
    FileCheck,
    IMAGE_LEADING,
    Incomplete,
    LARGEST,
    Message,
    Topic,
    Wanted,
    ZSTD_MAGIC,
)
from miniscope_ros.recordings.bag.window import Windowed

_MAGIC = b'\x89MCAP0\r\n'
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _CHUNK_INDEX, _DATA_END = (
    0x02, 0x03, 0x04, 0x05, 0x06, 0x08, 0x0f)
_RECORD = struct.Struct('<BQ')  # opcode, length
_MESSAGE_HEAD = struct.Struct('<HIQQ')  # channel, sequence, log time, publish time
_CHUNK_HEAD = struct.Struct('<QQQI')  # start time, end time, uncompressed size, checksum
_FOOTER_BODY = struct.Struct('<QQI')  # summary start, summary offset start, checksum
_INDEX_HEAD = struct.Struct('<QQQ')  # start time, end time, place of the chunk
_AHEAD = _MESSAGE_HEAD.size + IMAGE_LEADING  # bytes that are read of a message at once
_LARGEST_SUMMARY = 1 << 26  # bytes; a chunk index has about 100 bytes for each megabyte of data

_CUT_OFF = 'was cut off in the middle of a message'

Source: TypeAlias = BinaryIO | Windowed


def read_mcap(file: Source, size: int | None, wanted: Wanted, check: FileCheck,
              ) -> Iterator[Message]:
    """
    Yield the wanted messages of a file of size bytes (None: not known, and no index is used).

    A chunk that is damaged costs its own messages. Raises Incomplete after the last message where
    the file is cut off or damaged.
    """
    if file.read(len(_MAGIC)) != _MAGIC:
        raise Incomplete('is no MCAP file')
    walk = _Walk(wanted, check)
    while True:
        try:
            yield from walk.records(file, size)
            break
        except Incomplete as error:
            # Behind damage between the chunks the index at the end knows where to go on.
            place = _next_chunk(file, size)
            if place is None:
                raise walk.complaint(error) from error
            walk.damaged += 1
            file.seek(place)
    if not walk.ended:
        raise walk.complaint(Incomplete('was cut off: its end is missing'))
    if walk.damaged or walk.suspect:
        raise walk.complaint(None)


def read_message(file: Windowed, place: int) -> bytes:
    """Return the bytes of the message at a place; Incomplete where there is none."""
    file.seek(place - _RECORD.size - _MESSAGE_HEAD.size)
    opcode, length = _RECORD.unpack(_read(file, _RECORD.size))
    if opcode != _MESSAGE:
        raise Incomplete('was changed while it was read')
    return _read(file, length)[_MESSAGE_HEAD.size:]


class _Walk:
    """Goes from record to record."""

    def __init__(self, wanted: Wanted, check: FileCheck) -> None:
        self.wanted = wanted
        self.check = check
        self.schemas: dict[int, tuple[str, str, str]] = {}
        self.channels: dict[int, tuple[Topic, int]] = {}
        self.damaged = 0  # chunks, and definitions outside of chunks
        self.suspect = 0  # chunks whose checksum is wrong and whose messages can be read
        self.ended = False

    def complaint(self, error: Incomplete | None) -> Incomplete:
        """Return all that is wrong as one error."""
        texts = [str(error)] if error else []
        if self.damaged:
            texts.append(f'holds {self.damaged} damaged chunks; their messages are lost')
        if self.suspect:
            texts.append(f'holds {self.suspect} chunks whose bytes are not those that were '
                         'written; the messages in them may be wrong')
        return Incomplete('; it '.join(texts))

    def records(self, file: Source, end: int | None) -> Iterator[Message]:
        """Yield the messages up to a place in the file; Incomplete where a record passes it."""
        place = file.tell()
        while (end is None or place < end) and (head := file.read(_RECORD.size)):
            opcode, length = _RECORD.unpack(_whole(head, _RECORD.size))
            if opcode == _MESSAGE:
                if (message := self._message(file, length, end)) is not None:
                    yield message
            elif opcode == _CHUNK:
                yield from self._chunk(file, place, length, end)
            elif opcode in (_SCHEMA, _CHANNEL):
                self._definition(opcode, _read(file, length, end))
            elif opcode == _DATA_END:
                self.ended = True
                return
            elif opcode == 0:
                raise Incomplete('was cut off: zeros follow the last message')
            else:
                _skip(file, length, end)
            place = file.tell()

    def _message(self, file: Source, length: int, end: int | None) -> Message | None:
        start = file.tell()
        if length < _MESSAGE_HEAD.size or end is not None and start + length > end:
            raise Incomplete(_CUT_OFF)
        # One call for head and data of most messages: this runs for each of some millions.
        ahead = min(length, _AHEAD)
        record = file.read(ahead)
        if len(record) < ahead:
            raise Incomplete(_CUT_OFF)
        topic, leading = self.channels.get(record[0] | record[1] << 8, (None, 0))
        if topic is None or leading == 0:
            _skip(file, length - ahead, end)
            return None
        place = start + _MESSAGE_HEAD.size if isinstance(file, Windowed) else -1
        whole = record.startswith(ZSTD_MAGIC, _MESSAGE_HEAD.size)  # its first bytes say nothing
        wanted = length if whole else min(length, _MESSAGE_HEAD.size + leading)
        if wanted > ahead:
            record += _read(file, wanted - ahead, end)
            ahead = wanted
        if ahead < length:
            _skip(file, length - ahead, end)
        return Message(topic, record[_MESSAGE_HEAD.size:wanted], place=place)

    def _definition(self, opcode: int, content: bytes) -> None:
        record = BytesIO(content)
        try:
            number = int.from_bytes(_read(record, 2), 'little')
            if opcode == _SCHEMA:
                self.schemas[number] = _text(record), _text(record), _text(record)
                return
            schema = int.from_bytes(_read(record, 2), 'little')
            name = _text(record)
        except Incomplete:
            self.damaged += 1
            return
        if number in self.channels or schema not in self.schemas:
            return
        type_name, definition_format, definition = self.schemas[schema]
        topic = Topic(name, type_name, definition, definition_format)
        self.channels[number] = topic, self.wanted(topic)

    def _chunk(self, file: Source, place: int, length: int, end: int | None,
               ) -> Iterator[Message]:
        chunk_end = file.tell() + length
        *_, unpacked, checksum = _CHUNK_HEAD.unpack(_read(file, _CHUNK_HEAD.size, end))
        compression = _text(file)
        packed = int.from_bytes(_read(file, 8), 'little')
        if file.tell() + packed > chunk_end:
            raise Incomplete('is damaged: the sizes of a chunk contradict each other')
        cut = end is not None and chunk_end > end
        try:
            if compression:
                records = _unpack(_read_part(file, packed), compression, unpacked)
            elif self.check.verify and checksum and not cut and packed <= LARGEST:
                records = _read(file, packed)
            else:  # walked where it is, so that images are stepped over
                records = None
            if records is None:
                yield from self.records(file, end if cut else chunk_end)
            elif not checksum or len(records) != unpacked or checksum == zlib.crc32(records):
                yield from self.records(BytesIO(records), len(records))
            else:  # most of it may be whole
                self.suspect += 1
                for message in self.records(BytesIO(records), len(records)):
                    yield message._replace(suspect=True)
        except Incomplete:
            if cut:
                raise
            self.damaged += 1
        except _DamagedChunk:
            self.damaged += 1
        if cut:
            raise Incomplete(_CUT_OFF)
        if file.seek(chunk_end) != chunk_end:
            raise Incomplete(_CUT_OFF)


class _DamagedChunk(Exception):
    """A chunk cannot be unpacked."""


def _unpack(packed: bytes, compression: str, size: int) -> bytes:
    """Return a chunk's records; of a chunk that was cut off, the start of them."""
    if compression not in ('zstd', 'lz4'):
        raise Incomplete(f'is compressed as {compression!r}; zstd and lz4 can be read')
    if size > LARGEST:
        raise _DamagedChunk
    decompressor, errors = _decompressor(compression)
    try:
        records: bytes = decompressor.decompress(packed, max_length=size + 1)
    except errors as error:
        raise _DamagedChunk from error
    if len(records) > size:
        raise _DamagedChunk
    return records


def _decompressor(compression: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """
    Return what unpacks a chunk, and what that raises where the chunk is damaged.

    Both libraries stream: the start of a chunk that was cut off can be read, too. They are
    imported only here, for they come with rosbags and not with ROS 2, and a recording that is not
    compressed is checked without them. Raises Incomplete where one is missing.
    """
    try:
        if compression == 'lz4':
            from lz4.frame import LZ4FrameDecompressor
            return LZ4FrameDecompressor(), (RuntimeError, EOFError)
        from miniscope_ros.recordings.bag.zstd import zstd
        return zstd.ZstdDecompressor(), (zstd.ZstdError, EOFError)
    except ModuleNotFoundError as error:
        raise Incomplete(f'is compressed as {compression}, and the Python module {error.name} is '
                         f'not there: {pip_install("rosbags")}') from error


def _next_chunk(file: Source, size: int | None) -> int | None:
    """Return the place of the first chunk behind the present one, by the index at the end."""
    if size is None:
        return None
    here = file.tell()
    try:
        file.seek(max(0, size - len(_MAGIC) - _FOOTER_BODY.size - _RECORD.size))
        opcode, length = _RECORD.unpack(_read(file, _RECORD.size))
        start, _, _ = _FOOTER_BODY.unpack(_read(file, _FOOTER_BODY.size))
        if (opcode, length) != (_FOOTER, _FOOTER_BODY.size) or not (
                here < start < size <= start + _LARGEST_SUMMARY):
            return None
        file.seek(start)
        summary = BytesIO(_read(file, size - start))
        places = []
        while len(head := summary.read(_RECORD.size)) == _RECORD.size:
            opcode, length = _RECORD.unpack(head)
            record = _read(summary, length)
            if opcode == _CHUNK_INDEX:
                places.append(_INDEX_HEAD.unpack_from(record)[2])
    except (Incomplete, struct.error):
        return None
    return min((place for place in places if here <= place < start), default=None)


def _whole(data: bytes, size: int) -> bytes:
    if len(data) < size:
        raise Incomplete(_CUT_OFF)
    return data


def _read(file: Source, size: int, end: int | None = None) -> bytes:
    if end is not None and file.tell() + size > end:
        raise Incomplete(_CUT_OFF)
    return _whole(_read_part(file, size), size)


def _read_part(file: Source, size: int) -> bytes:
    if not 0 <= size <= LARGEST:
        raise Incomplete(f'is damaged: it has a record of {size} bytes')
    return file.read(size)


def _text(file: Source) -> str:
    return _read(file, int.from_bytes(_read(file, 4), 'little')).decode(errors='replace')


def _skip(file: Source, length: int, end: int | None) -> None:
    target = file.tell() + length
    if length < 0 or (end is not None and target > end) or file.seek(length, 1) != target:
        raise Incomplete(_CUT_OFF)
