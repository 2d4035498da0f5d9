# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The messages of a rosbag2 file of the sqlite3 plugin, in the order of their writing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import apsw
from miniscope_ros.recordings.bag.message import (
    FileCheck,
    Incomplete,
    LARGEST,
    Message,
    Topic,
    Wanted,
    WHOLE,
    ZSTD_MAGIC,
)

_PAGE_SIZE_AT = slice(16, 18)  # of the file's head (sqlite.org/fileformat.html)
# Without locks and without shared memory sqlite reads a write-ahead log where nothing can be
# written, too (sqlite.org/wal.html, "Use of WAL Without Shared-Memory").
_LOCKLESS = 'unix-none'
_FARTHEST = 1 << 20  # rows that are skipped at most where the number of the last is not known
_DAMAGE = 'was cut off or is damaged'


def read_sqlite(path: Path, wanted: Wanted, check: FileCheck) -> Iterator[tuple[Message, float]]:
    """
    Yield the wanted messages, each with how far the file has been read (0..1).

    A damaged page costs the messages that have a part in it. Raises Incomplete after the last
    message where the file is cut off or damaged.
    """
    with path.open('rb') as file:
        page_size = int.from_bytes(file.read(_PAGE_SIZE_AT.stop)[_PAGE_SIZE_AT], 'big')
    page_size = 65536 if page_size == 1 else max(page_size, 512)
    # A write-ahead log left by a crash holds the last messages. It is read only if the file does
    # not count as immutable.
    log = path.with_name(f'{path.name}-wal')
    has_log = log.exists() and log.stat().st_size > 0
    files = (_WholePages(page_size, _LOCKLESS if has_log else '')
             if path.stat().st_size % page_size else None)
    connection = None
    try:
        connection = apsw.Connection(
            f'{path.resolve().as_uri()}?{"mode=ro" if has_log else "immutable=1"}',
            flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
            vfs=files.name if files else _LOCKLESS if has_log else None)
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, LARGEST)
        if has_log:
            connection.execute('PRAGMA locking_mode=EXCLUSIVE')
        # Without this a file shorter than its first page says is refused as a whole.
        connection.execute('PRAGMA writable_schema=ON')
        yield from _messages(connection, wanted, check)
    except (apsw.Error, ValueError) as error:
        raise Incomplete(f'{_DAMAGE} ({error})') from error
    finally:
        if connection is not None:
            connection.close()


class _WholePages(apsw.VFS):
    """Files without the part of a page at their end, which sqlite would fill up with zeros."""

    def __init__(self, page_size: int, base: str) -> None:
        self.name = f'{type(self).__name__}{page_size}{base}'
        self._page_size = page_size
        self._base = base
        super().__init__(self.name, base)

    def xOpen(self, name: str | apsw.URIFilename | None,  # noqa: N802
              flags: list[int]) -> apsw.VFSFile:
        return _WholePagesFile(name, flags, self._page_size, self._base)


class _WholePagesFile(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int],
                 page_size: int, base: str) -> None:
        self._page_size = page_size if flags[0] & apsw.SQLITE_OPEN_MAIN_DB else 1
        super().__init__(base, name, flags)

    def xFileSize(self) -> int:  # noqa: N802
        return super().xFileSize() // self._page_size * self._page_size


def _messages(connection: apsw.Connection, wanted: Wanted, check: FileCheck,
              ) -> Iterator[tuple[Message, float]]:
    topics = _topics(connection)
    leading = {number: size for number, topic in topics.items() if (size := wanted(topic))}
    rows = _Rows(connection, leading, check)
    for number, row, data in rows:
        yield Message(topics[number], data), row / rows.last if rows.last else 0.0
    if rows.error is not None:
        raise Incomplete(f'{_DAMAGE} ({rows.error}); messages are lost')


def _topics(connection: apsw.Connection) -> dict[int, Topic]:
    tables = {name for name, in connection.execute('SELECT name FROM sqlite_master')}
    if not {'topics', 'messages'} <= tables:
        raise Incomplete('holds no tables of rosbag2')
    definitions: dict[str, list[str]] = {}
    if 'message_definitions' in tables:  # since Iron
        # Where they are damaged, types are known from elsewhere, or cannot be read.
        with suppress(apsw.Error):
            definitions = {type_name: texts for _, type_name, *texts in _texts(
                connection, 'message_definitions',
                'id', 'topic_type', 'encoded_message_definition', 'encoding')}
    return {int(number): Topic(name, type_name, *definitions.get(type_name, ()))
            for number, name, type_name in _texts(connection, 'topics', 'id', 'name', 'type')}


class _Rows:
    """The rows of the table of messages: topic, row number, and as many bytes as are wanted."""

    def __init__(self, connection: apsw.Connection, leading: dict[int, int], check: FileCheck,
                 ) -> None:
        self.last = _last_row(connection)
        self.error: apsw.Error | None = None  # of the first row that cannot be read
        self._connection = connection
        self._leading = leading
        self._check = check
        whole = _list(number for number, size in leading.items() if size == WHOLE)
        self._query = (
            f'SELECT id, topic_id, CASE WHEN topic_id IN ({whole}) THEN data END '
            f'FROM messages NOT INDEXED WHERE topic_id IN ({_list(leading)}) AND id > ? '
            'ORDER BY id')

    def __iter__(self) -> Iterator[tuple[int, int, bytes]]:
        """Go on behind what cannot be read, in steps that double until there is a row again."""
        done, step = -1, 0
        while True:
            try:
                for row, number, found in self._connection.execute(self._query, (done + step,)):
                    done, step = row, 0
                    data = self._data(row, number, found)
                    if data is not None:
                        yield number, row, data
                break
            except apsw.Error as error:
                self.error = self.error or error
                step = max(1, 2 * step)
                if done + step > self.last and (self.last or step > _FARTHEST):
                    break

    def _data(self, row: int, number: int, data: object) -> bytes | None:
        """Return a message, or its first bytes; None, and a note, where it cannot be read."""
        if row in self._check.damaged:
            return None
        if isinstance(data, bytes):
            return data
        try:
            return self._start(row, self._leading[number])
        except (apsw.Error, ValueError) as error:
            self._check.damaged.add(row)
            self.error = self.error or (
                error if isinstance(error, apsw.Error) else apsw.CorruptError(str(error)))
            return None

    def _start(self, row: int, leading: int) -> bytes:
        blob = self._connection.blob_open('main', 'messages', 'data', row, False)
        with closing(blob):
            start = blob.read(leading)
            compressed = start.startswith(ZSTD_MAGIC)  # its first bytes alone say nothing
            rest = blob.read() if compressed or self._check.verify else b''
            return start + rest if compressed else start


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
