# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The messages of a rosbag2 file of the sqlite3 plugin, in the order of their writing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import apsw
from miniscope_ros.recordings.bag.message import (
    Incomplete,
    Message,
    Topic,
    Wanted,
    WHOLE,
    ZSTD_MAGIC,
)

_PAGE_SIZE_AT = slice(16, 18)  # of the file's head (sqlite.org/fileformat.html)


def read_sqlite(path: Path, wanted: Wanted) -> Iterator[tuple[Message, float]]:
    """
    Yield the wanted messages, each with how far the file has been read (0..1).

    Raises Incomplete after the last one where the file is cut off or damaged.
    """
    with path.open('rb') as file:
        page_size = int.from_bytes(file.read(_PAGE_SIZE_AT.stop)[_PAGE_SIZE_AT], 'big')
    page_size = 65536 if page_size == 1 else max(page_size, 512)
    files = _WholePages(page_size) if path.stat().st_size % page_size else None
    # A write-ahead log left by a crash holds the last messages. It is read only if the file does
    # not count as immutable, and then sqlite wants to write beside it.
    log = path.with_name(f'{path.name}-wal')
    mode = 'mode=ro' if log.exists() and log.stat().st_size else 'immutable=1'
    connection = None
    try:
        connection = apsw.Connection(
            f'{path.resolve().as_uri()}?{mode}',
            flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
            vfs=files.name if files else None)
        # Without this a file shorter than its first page says is refused as a whole.
        connection.execute('PRAGMA writable_schema=ON')
        yield from _messages(connection, wanted)
    except (apsw.Error, ValueError) as error:
        raise Incomplete(f'was cut off or is damaged ({error})') from error
    finally:
        if connection is not None:
            connection.close()


class _WholePages(apsw.VFS):
    """Files without the part of a page at their end, which sqlite would fill up with zeros."""

    def __init__(self, page_size: int) -> None:
        self.name = f'{type(self).__name__}{page_size}'
        self._page_size = page_size
        super().__init__(self.name, '')

    def xOpen(self, name: str | apsw.URIFilename | None,  # noqa: N802
              flags: list[int]) -> apsw.VFSFile:
        return _WholePagesFile(name, flags, self._page_size)


class _WholePagesFile(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int],
                 page_size: int) -> None:
        self._page_size = page_size if flags[0] & apsw.SQLITE_OPEN_MAIN_DB else 1
        super().__init__('', name, flags)

    def xFileSize(self) -> int:  # noqa: N802
        return super().xFileSize() // self._page_size * self._page_size


def _messages(connection: apsw.Connection, wanted: Wanted) -> Iterator[tuple[Message, float]]:
    tables = {name for name, in connection.execute('SELECT name FROM sqlite_master')}
    if not {'topics', 'messages'} <= tables:
        raise Incomplete('holds no tables of rosbag2')
    definitions: dict[str, list[str]] = {}
    if 'message_definitions' in tables:  # since Iron
        definitions = {type_name: texts for _, type_name, *texts in _texts(
            connection, 'message_definitions',
            'id', 'topic_type', 'encoded_message_definition', 'encoding')}
    topics = {int(number): Topic(name, type_name, *definitions.get(type_name, ()))
              for number, name, type_name in _texts(connection, 'topics', 'id', 'name', 'type')}
    leading = {number: size for number, topic in topics.items() if (size := wanted(topic))}
    whole = _list(number for number, size in leading.items() if size == WHOLE)
    last = _last_row(connection)
    rows = connection.execute(
        f'SELECT id, topic_id, CASE WHEN topic_id IN ({whole}) THEN data END '
        f'FROM messages NOT INDEXED WHERE topic_id IN ({_list(leading)}) ORDER BY id')
    for row, number, data in rows:
        if not isinstance(data, bytes):  # read its first bytes only
            with connection.blob_open('main', 'messages', 'data', row, False) as blob:
                data = blob.read(leading[number])
                if data.startswith(ZSTD_MAGIC):  # compressed, they alone say nothing
                    data += blob.read()
        yield Message(topics[number], data), row / last if last else 0.0


def _texts(connection: apsw.Connection, table: str, *columns: str) -> Iterator[list[str]]:
    """Yield a table's rows; damaged text does not stop it."""
    for row in connection.execute(
            f'SELECT {", ".join(f"CAST({column} AS BLOB)" for column in columns)} FROM {table}'):
        yield [bytes(cell or b'').decode(errors='replace') for cell in row]


def _last_row(connection: apsw.Connection) -> int:
    """Return the largest row number; 0 where the file's end is missing."""
    try:
        return int(connection.execute('SELECT max(id) FROM messages').get or 0)
    except apsw.Error:
        return 0


def _list(values: Iterable[object]) -> str:
    return ', '.join(map(str, values))
