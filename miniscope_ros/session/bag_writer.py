# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Writes a bag as rosbag2 lays it out: NAME_0.mcap, NAME_1.mcap, .. and metadata.yaml (version 9).

The library mcap writes the records. A chunk ends after 1 MB, and with flush() at any time: a
process that is killed loses only what came after.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
import contextlib
from dataclasses import dataclass, field
import os
from pathlib import Path
from typing import Any, cast, IO, NamedTuple

from mcap.data_stream import RecordBuilder
from mcap.records import DataEnd, Footer
from mcap.writer import CompressionType, MCAP0_MAGIC, Writer
from miniscope_ros.session.bag_file import BagFile
import yaml

_METADATA_VERSION = 9  # version of metadata.yaml, as rosbag2 writes since Jazzy
_NEVER = 2 ** 63 - 1  # what rosbag2 has as the starting time of a file without a message


class Channel(NamedTuple):
    """A topic as the bag describes it."""

    topic: str
    type_name: str
    encoding: str  # of the definition: ros2msg, or empty
    definition: str
    type_hash: str
    qos: Sequence[Mapping[str, Any]]  # offered, as rosbag2 spells them
    repeated: int  # so many of its last messages are written into each new file, too


class Arrival(NamedTuple):
    """A message as it was received."""

    topic: str
    data: bytes
    received_ns: int  # ROS time, as all rosbag2's log times
    published_ns: int
    sequence: int


@dataclass
class FileInfo:
    """What metadata.yaml says of one file."""

    path: str
    first_ns: int = _NEVER
    last_ns: int = 0
    count: int = 0
    sha256: str = ''
    counts: Counter[str] = field(default_factory=Counter)

    def as_yaml(self) -> dict[str, Any]:
        """Return the entry of metadata.yaml."""
        return {'path': self.path,
                'starting_time': {'nanoseconds_since_epoch': self.first_ns},
                'duration': {'nanoseconds': max(0, self.last_ns - self.first_ns)},
                'message_count': self.count}


class BagWriter:
    """A bag in a new folder; after an OSError only close() may be called."""

    def __init__(
        self, folder: Path, *, split_bytes: int = 0, split_ns: int = 0, compress: bool = False,
        distribution: str = '',
    ) -> None:
        """
        Make the folder and the first file.

        A new file begins after split_bytes [bytes] or split_ns [ns]; 0 means never. Raises
        OSError, also where the folder exists already.
        """
        folder.mkdir(parents=True)
        self._folder = folder
        self._split_bytes = split_bytes
        self._split_ns = split_ns
        self._compression = CompressionType.ZSTD if compress else CompressionType.NONE
        self._distribution = distribution
        self._channels: dict[str, Channel] = {}
        self._kept: dict[str, deque[Arrival]] = {}
        self._unflushed: Counter[str] = Counter()
        self.files: list[FileInfo] = []
        self.repeated: Counter[str] = Counter()
        self._finished_bytes = 0
        self._open_next()

    def _open_next(self) -> None:
        name = f'{self._folder.name}_{len(self.files)}.mcap'
        self._file = BagFile(self._folder / name)
        self._finished = False
        self.files.append(FileInfo(name))
        self._numbers: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._writer = Writer(cast(IO[bytes], self._file), compression=self._compression)
        self._writer.start(profile='ros2', library='miniscope_ros')
        self._whole = self._file.tell()

    def add(self, channel: Channel) -> None:
        """Add a topic; once only."""
        self._channels[channel.topic] = channel
        if channel.repeated:
            self._kept[channel.topic] = deque(maxlen=channel.repeated)
        self._register(channel)

    def _register(self, channel: Channel) -> None:
        schema = self._schemas.get(channel.type_name)
        if schema is None:
            schema = self._schemas[channel.type_name] = self._writer.register_schema(
                channel.type_name, channel.encoding, channel.definition.encode())
        self._numbers[channel.topic] = self._writer.register_channel(
            channel.topic, 'cdr', schema, {
                'offered_qos_profiles': _yaml(list(channel.qos)).strip(),
                'topic_type_hash': channel.type_hash})

    def write(self, arrival: Arrival) -> None:
        """Append a message of a topic that was added. Raises OSError of the disk."""
        info = self.files[-1]
        if self._must_split(info, arrival.received_ns):
            self._finish_file()
            self._open_next()
            for channel in self._channels.values():
                self._register(channel)
            for kept in self._kept.values():
                for old in kept:
                    self._append(old._replace(received_ns=arrival.received_ns))
                    self.repeated[old.topic] += 1
        self._append(arrival)
        if arrival.topic in self._kept:
            self._kept[arrival.topic].append(arrival)

    def _must_split(self, info: FileInfo, now_ns: int) -> bool:
        if not info.count:
            return False
        return bool(self._split_bytes and self._file.tell() >= self._split_bytes
                    or self._split_ns and now_ns - info.first_ns >= self._split_ns)

    def _append(self, arrival: Arrival) -> None:
        info = self.files[-1]
        self._unflushed[arrival.topic] += 1
        self._writer.add_message(
            self._numbers[arrival.topic], arrival.received_ns, arrival.data,
            arrival.published_ns, arrival.sequence)
        info.count += 1
        info.counts[arrival.topic] += 1
        info.first_ns = min(info.first_ns, arrival.received_ns)
        info.last_ns = max(info.last_ns, arrival.received_ns)
        self._note_whole()

    def _note_whole(self) -> None:
        """Remember up to where the file holds whole records."""
        if self._file.tell() != self._whole:
            self._whole = self._file.tell()
            self._unflushed.clear()

    def flush(self) -> None:
        """Hand all messages over to the system. Raises OSError of the disk."""
        self._writer.flush()
        self._note_whole()

    def check(self) -> None:
        """Raise OSError if the file or its folder can no longer be used."""
        self._file.check()

    def sync(self) -> None:
        """Write the system's cache to the disk, in any thread. Raises OSError of the disk."""
        self._file.sync()

    @property
    def counts(self) -> Counter[str]:
        """How many messages of each topic are in the files, repeated ones included."""
        return sum((info.counts for info in self.files), Counter[str]())

    @property
    def size(self) -> int:
        """Bytes written."""
        return self._finished_bytes + (0 if self._finished else self._file.tell())

    def _finish_file(self) -> None:
        self.flush()
        self._writer.add_metadata('rosbag2', {
            'ROS_DISTRO': self._distribution,
            'serialized_metadata': _yaml(self._metadata(self.files[-1:]))})
        self._writer.finish()
        self._file.sync()
        self._file.close()
        self._finished_bytes += self._file.tell()
        self._finished = True
        self.files[-1].sha256 = self._file.sha256

    def close(self) -> None:
        """Complete the last file and write metadata.yaml. Raises OSError of the disk."""
        self._finish_file()
        self._write_metadata()

    def rescue(self) -> None:
        """
        After an error: cut the last file after its last whole record and end it there.

        Does what the disk still allows and raises nothing. The file has no index then, which
        readers can do without.
        """
        info = self.files[-1]
        info.counts -= self._unflushed
        info.count = info.counts.total()
        end = RecordBuilder()
        DataEnd(0).write(end)
        Footer(0, 0, 0).write(end)
        with contextlib.suppress(OSError):
            self._file.cut(self._whole)
            self._file.write(end.end() + MCAP0_MAGIC)
            self._file.sync()
            info.sha256 = self._file.sha256
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._write_metadata()

    def _write_metadata(self) -> None:
        path = self._folder / 'metadata.yaml'
        partial = path.with_suffix('.yaml.tmp')
        with partial.open('w', encoding='utf-8') as file:
            file.write(_yaml({'rosbag2_bagfile_information': self._metadata(self.files)}))
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)

    def _metadata(self, files: Sequence[FileInfo]) -> dict[str, Any]:
        first = min(info.first_ns for info in files)
        last = max(info.last_ns for info in files)
        counts = sum((info.counts for info in files), Counter[str]())
        return {
            'version': _METADATA_VERSION,
            'storage_identifier': 'mcap',
            'duration': {'nanoseconds': max(0, last - first)},
            'starting_time': {'nanoseconds_since_epoch': first},
            'message_count': sum(info.count for info in files),
            'topics_with_message_count': [{
                'topic_metadata': {
                    'name': channel.topic, 'type': channel.type_name,
                    'serialization_format': 'cdr',
                    'offered_qos_profiles': [dict(profile) for profile in channel.qos],
                    'type_description_hash': channel.type_hash},
                'message_count': counts[channel.topic]} for channel in self._channels.values()],
            'compression_format': '',
            'compression_mode': '',
            'relative_file_paths': [info.path for info in files],
            'files': [info.as_yaml() for info in files],
            'custom_data': None,
            'ros_distro': self._distribution,
        }


class _Plain(yaml.SafeDumper):
    """Writes equal objects out each time; rosbag2 reads no references."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(content: Any) -> str:
    return yaml.dump(content, Dumper=_Plain, sort_keys=False)
