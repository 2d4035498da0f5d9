# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
rosbag2 recordings, read without a ROS: split, compressed, or cut off by a crash.

The library rosbags knows the message types and unpacks the messages. Its reader of whole bags is
not used: it refuses a file without an end, unpacks a compressed bag to the temporary folder
before it starts, and reads all images to find the small messages between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
import re
import shutil
import struct
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, cast

from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.bag.mcap import read_mcap
from miniscope_ros.recordings.bag.message import (
    Incomplete,
    Message,
    Topic,
    Wanted,
    WHOLE,
    ZSTD_MAGIC,
)
from miniscope_ros.recordings.bag.sqlite3 import read_sqlite
from miniscope_ros.recordings.bag.zstd import zstd
from rosbags.serde import SerdeError
from rosbags.typesys import get_types_from_idl, get_types_from_msg, get_typestore, Stores
from rosbags.typesys.base import TypesysError
import yaml

_SUFFIXES = ('.mcap', '.db3', '.mcap.zstd', '.db3.zstd')
_SQLITE_MAGIC = b'SQLite format 3\0'
_METADATA = 'metadata.yaml'
_OWN_PACKAGE = 'miniscope_msgs'
_OWN_DEFINITIONS = (  # below any folder above this file: a checkout, or an installation
    'miniscope_msgs/msg', 'share/miniscope_msgs/msg', 'miniscope_msgs/share/miniscope_msgs/msg',
    'share/miniscope_ros/msg')


class Bag:
    """A recording; problems lists what is wrong with it as far as it has been read."""

    def __init__(self, path: Path) -> None:
        """Find the bag's files; DeviceError where there are none."""
        self.path = path
        self.problems: list[str] = []
        self.progress = 0.0  # how far messages() has come, 0..1
        self._types = get_typestore(Stores.LATEST)
        self._tried: set[str] = set()
        self._undecodable: dict[str, int] = {}
        self._files = self._find_files()

    def messages(self, wanted: Wanted) -> Iterator[Message]:
        """Yield the wanted messages of all files in the order of their writing."""
        done, size = 0, sum(file.stat().st_size for file in self._files) or 1

        def learn(topic: Topic) -> int:
            leading = wanted(topic)
            if leading == WHOLE:
                self._learn(topic)
            return leading

        for file in self._files:
            share = file.stat().st_size
            try:
                for message, part in _messages(file, learn):
                    self.progress = (done + part * share) / size
                    if message.data.startswith(ZSTD_MAGIC):  # compressed message by message
                        unpacked = self._unpack(message, wanted(message.topic))
                        if unpacked is None:
                            continue
                        message = unpacked
                    yield message
            except Incomplete as error:
                self.note(f'{file.name}: {error}')
            done += share
        self.progress = 1.0

    def decode(self, message: Message) -> Any:
        """Return a message with the fields of the bag's definition; None where that fails."""
        try:
            return self._types.deserialize_cdr(message.data, message.topic.msgtype)
        except (SerdeError, KeyError, AssertionError, IndexError, struct.error, ValueError):
            self.note(f'{message.topic.name}: messages of {message.topic.msgtype} cannot be read; '
                      'they were written with another version of it, which the bag does not hold')
            return None

    def note(self, problem: str) -> None:
        """Add a problem unless it is known."""
        if problem not in self.problems:
            self.problems.append(problem)

    def _unpack(self, message: Message, leading: int) -> Message | None:
        try:
            if leading == WHOLE:
                return message._replace(data=zstd.decompress(message.data))
            start = zstd.ZstdDecompressor().decompress(message.data, max_length=leading)
            return message._replace(data=start)
        except zstd.ZstdError:
            self.note(f'{message.topic.name}: a message is damaged')
            return None

    def _find_files(self) -> list[Path]:
        try:
            if self.path.is_file():
                return [self.path]
            present = sorted((file for file in self.path.iterdir()
                              if file.name.endswith(_SUFFIXES)), key=_split_number)
        except OSError as error:
            raise DeviceError(f'{self.path} cannot be read: {error.strerror}; name the folder '
                              'that ros2 bag record made') from error
        listed = self._listed_files()
        for file in listed:
            if file not in present:
                self.note(f'{file.name} is missing')
        files = [file for file in listed if file in present]
        files += [file for file in present if file not in files]
        if not files:
            raise DeviceError(f'{self.path} is no rosbag2 recording: it holds no '
                              f'{" or ".join(_SUFFIXES[:2])} file')
        return files

    def _listed_files(self) -> list[Path]:
        try:
            content = yaml.safe_load((self.path / _METADATA).read_text())
            names = content['rosbag2_bagfile_information']['relative_file_paths']
            return [self.path / Path(name).name for name in names]
        except FileNotFoundError:
            self.note(f'{_METADATA} is missing: the recorder did not end properly')
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
            self.note(f'{_METADATA} is damaged')
        return []

    def _learn(self, topic: Topic) -> None:
        """Make a topic's type known: as the bag defines it, else as we do."""
        if topic.msgtype in self._tried:
            return
        self._tried.add(topic.msgtype)
        own = topic.msgtype.startswith(f'{_OWN_PACKAGE}/')
        try:
            if topic.definition and (own or topic.msgtype not in self._types.fielddefs):
                types = (get_types_from_idl(topic.definition)
                         if topic.definition_format == 'ros2idl'
                         else get_types_from_msg(topic.definition, topic.msgtype))
            elif own:
                types = _own_definition(topic.msgtype)
            else:
                return
            self._types.register({name: fields for name, fields in types.items()
                                  if name not in self._types.fielddefs})
        except (TypesysError, OSError) as error:
            self.note(f'{topic.name}: the definition of {topic.msgtype} cannot be read ({error})')


def _messages(file: Path, wanted: Wanted) -> Iterator[tuple[Message, float]]:
    """Yield messages and how far the file has been read (0..1)."""
    with ExitStack() as stack:
        try:
            raw = stack.enter_context(file.open('rb', buffering=8192))
        except OSError as error:
            raise Incomplete(f'cannot be read: {error.strerror}') from error
        size = file.stat().st_size
        magic = raw.read(len(_SQLITE_MAGIC))
        raw.seek(0)
        if magic.startswith(ZSTD_MAGIC):
            try:
                if '.db3' not in file.suffixes:
                    unpacked = stack.enter_context(zstd.open(raw, 'rb'))
                    for message in read_mcap(cast(BinaryIO, unpacked), None, wanted):
                        yield message, raw.tell() / size
                    return
                # sqlite needs a file; it lies beside the others of this system for a while
                copy = stack.enter_context(NamedTemporaryFile(suffix='.db3'))
                shutil.copyfileobj(zstd.open(raw, 'rb'), copy)
                copy.flush()
            except (EOFError, zstd.ZstdError) as error:
                raise Incomplete('was cut off or is damaged') from error
            yield from read_sqlite(Path(copy.name), wanted)
        elif magic == _SQLITE_MAGIC:
            yield from read_sqlite(file, wanted)
        elif size == 0:
            raise Incomplete('is empty')
        else:
            for message in read_mcap(raw, size, wanted):
                yield message, raw.tell() / size


def _own_definition(type_name: str) -> Any:
    for folder in Path(__file__).resolve().parents:
        for place in _OWN_DEFINITIONS:
            file = folder / place / f'{type_name.rpartition("/")[2]}.msg'
            if file.is_file():
                return get_types_from_msg(file.read_text(), type_name)
    raise OSError(f'neither the bag nor this installation has it; install {_OWN_PACKAGE}')


def _split_number(file: Path) -> tuple[int, str]:
    """Order NAME_2.mcap before NAME_10.mcap."""
    number = re.search(r'_(\d+)\.', file.name)
    return int(number[1]) if number else -1, file.name
