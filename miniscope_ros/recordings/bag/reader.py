# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
rosbag2 recordings, read without a ROS: split, compressed, or cut off by a crash.

The library rosbags knows the message types and unpacks the messages. Its reader of whole bags is
not used: it refuses a file without an end, unpacks a compressed bag to the temporary folder
before it starts, and reads all images to find the small messages between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
import math
from pathlib import Path
import shutil
import struct
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO, cast, IO

from miniscope_ros.recordings.bag.files import find_files
from miniscope_ros.recordings.bag.mcap import read_mcap, read_message
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
from miniscope_ros.recordings.bag.number_messages import numbers_layout, NumbersLayout
from miniscope_ros.recordings.bag.sqlite import read_sqlite
from miniscope_ros.recordings.bag.window import Windowed
from miniscope_ros.recordings.bag.zstd import zstd
from miniscope_ros.regular import check_regular
from rosbags.serde import SerdeError
from rosbags.typesys import get_types_from_idl, get_types_from_msg, get_typestore, Stores

_SQLITE_MAGIC = b'SQLite format 3\0'
_OWN_PACKAGE = 'miniscope_msgs'
_OWN_DEFINITIONS = (  # below any folder above this file: a checkout, or an installation
    'miniscope_msgs/msg', 'share/miniscope_msgs/msg', 'miniscope_msgs/share/miniscope_msgs/msg',
    'share/miniscope_ros/msg')
_FRAME_INFO = f'{_OWN_PACKAGE}/msg/FrameInfo'
# At the end of the message content and lost_uncertainty were added. In a bag without definitions
# an older one ends before them; 0 is what both mean where nothing is known.
_FRAME_INFO_ADDED = 8  # bytes
_EMPTY = b'\0\1\0\0'  # the head of a message, little endian
_COPY_STEP = 1 << 22  # bytes
_LEFT_FREE = 1 << 28  # bytes of the temporary folder's disk


class Bag:
    """A recording; problems lists what is wrong with it as far as it has been read."""

    def __init__(self, path: Path, *, verify: bool = False) -> None:
        """
        Find the bag's files; DeviceError where there are none.

        With verify all of every file is read, and checksums are compared as far as it has any.
        """
        self.path = path
        self.progress = 0.0  # how far messages() has come, 0..1
        self.file = 0  # number of the file that messages() reads
        self.is_damaged = False  # a file is, as far as it has been read
        self.compressed_messages = False  # seen any; their order is that of no clock
        self._types = get_typestore(Stores.LATEST)
        self._tried: set[str] = set()
        self._decoded: dict[Topic, list[int]] = {}  # how many could be decoded, and could not
        self._layouts: dict[Topic, NumbersLayout | None] = {}  # None: of other things, too
        self._files, self._notes = find_files(path)
        self._checks = {file: FileCheck(verify) for file in self._files}

    @property
    def problems(self) -> list[str]:
        """Return what is wrong with the bag, one line each."""
        return [*self._notes, *(self._undecodable(topic, good, bad)
                                for topic, (good, bad) in self._decoded.items() if bad)]

    @property
    def size(self) -> int:
        """Return the size of all files [bytes]."""
        return sum(map(_size, self._files))

    def read(self, topic: Topic, file: int, place: int) -> Message | None:
        """Return a message by its place in a file, as messages() told it; None if unreadable."""
        try:
            with self._files[file].open('rb', buffering=0) as raw:
                message = Message(topic, read_message(Windowed(raw), place), place=place)
        except (Incomplete, OSError) as error:
            self.note(f'{self._files[file].name}: {error}')
            return None
        if message.data.startswith(ZSTD_MAGIC):
            return self._unpack(message, WHOLE)
        return message

    def messages(self, wanted: Wanted) -> Iterator[Message]:
        """Yield the wanted messages of all files in the order of their writing."""
        sizes = {file: _size(file) for file in self._files}
        done, size = 0, sum(sizes.values()) or 1
        started: set[Topic] = set()

        def learn(topic: Topic) -> int:
            leading = wanted(topic)
            if leading == WHOLE:
                self._learn(topic)
                if topic not in started:
                    started.add(topic)
                    self._decoded.pop(topic, None)  # counted again in each pass
            return leading

        for number, (file, share) in enumerate(sizes.items()):
            self.file = number
            try:
                for message, part in _messages(file, learn, self._checks[file]):
                    self.progress = (done + part * share) / size
                    if message.data.startswith(ZSTD_MAGIC):  # compressed message by message
                        self.compressed_messages = True
                        unpacked = self._unpack(message, wanted(message.topic))
                        if unpacked is None:
                            continue
                        message = unpacked
                    yield message
            except Incomplete as error:
                self.is_damaged = True
                self.note(f'{file.name}: {error}')
            done += share
        self.progress = 1.0

    def decode(self, message: Message) -> Any:
        """Return a message with the fields of the bag's definition; None where that fails."""
        decoded = self._deserialize(message.data, message.topic.msgtype)
        if decoded is None and message.topic.msgtype == _FRAME_INFO:
            decoded = self._deserialize(message.data + bytes(_FRAME_INFO_ADDED), _FRAME_INFO)
            if decoded is not None and not _plausible(decoded):
                decoded = None  # that was not all that it lacked
        self._decoded.setdefault(message.topic, [0, 0])[decoded is None] += 1
        return decoded

    def numbers(self, message: Message) -> Any:
        """Return what decode() returns, but only the fields that are numbers need be in it."""
        topic = message.topic
        layout = self._layouts.get(topic)
        if layout is not None and (numbers := layout.decode(message.data)) is not None:
            self._decoded.setdefault(topic, [0, 0])[False] += 1
            return numbers
        decoded = self.decode(message)
        if decoded is not None and topic not in self._layouts:
            self._layouts[topic] = numbers_layout(
                self._types.fielddefs, topic.msgtype, message.data)
        return decoded

    def _deserialize(self, data: bytes, msgtype: str) -> Any:
        try:
            return self._types.deserialize_cdr(data, msgtype)
        except Exception:  # code made from the bag's own definition: it may raise anything
            return None

    def note(self, problem: str) -> None:
        """Add a problem unless it is known."""
        if problem not in self._notes:
            self._notes.append(problem)

    def _undecodable(self, topic: Topic, good: int, bad: int) -> str:
        if good:
            return f'{topic.name}: {bad} of {good + bad} messages are damaged and left out'
        return (f'{topic.name}: messages of {topic.msgtype} cannot be read; '
                'they were written with another version of it, which the bag does not hold')

    def _unpack(self, message: Message, leading: int) -> Message | None:
        limit = min(leading, LARGEST)
        try:
            start = zstd.ZstdDecompressor().decompress(message.data, max_length=limit)
        except (EOFError, zstd.ZstdError):
            self.note(f'{message.topic.name}: a message is damaged')
            return None
        return message._replace(data=start)

    def _learn(self, topic: Topic) -> None:
        """Make a topic's type known: as the bag defines it, else as we do."""
        if topic.msgtype in self._tried:
            return
        self._tried.add(topic.msgtype)
        own = topic.msgtype.startswith(f'{_OWN_PACKAGE}/')
        if not own and topic.msgtype in self._types.fielddefs:
            return
        if topic.definition and self._register(topic, _bag_definition) or not own:
            return
        self._register(topic, _own_definition)

    def _try(self, msgtype: str) -> None:
        """Raise RecursionError for a type that holds itself; an empty message is too short."""
        with suppress(SerdeError, AssertionError, IndexError, struct.error, ValueError):
            self._types.deserialize_cdr(_EMPTY, msgtype)

    def _register(self, topic: Topic, definition: Callable[[Topic], Any]) -> bool:
        """Register a type and try it; False, and a note, where that fails."""
        try:
            types = definition(topic)
            self._types.register({name: fields for name, fields in types.items()
                                  if name not in self._types.fielddefs})
            self._types.generate_msgdef(topic.msgtype)
            self._try(topic.msgtype)
        except Exception as error:  # a parser that meets a damaged text may raise anything
            reason = str(error).partition('\n')[0] or type(error).__name__
            self.note(f'{topic.name}: the definition of {topic.msgtype} cannot be read ({reason})')
            self._types.fielddefs.pop(topic.msgtype, None)
            return False
        return True


def _plausible(info: Any) -> bool:
    """Return whether the last fields of a FrameInfo look like times."""
    device_ms = abs(info.device_time_ms)
    return info.receive_time.nanosec < 10**9 and (
        math.isnan(device_ms) or device_ms == 0 or 1e-6 < device_ms < 1e15)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _messages(file: Path, wanted: Wanted, check: FileCheck) -> Iterator[tuple[Message, float]]:
    """Yield messages and how far the file has been read (0..1)."""
    with ExitStack() as stack:
        try:
            size = check_regular(file)
            raw = stack.enter_context(file.open('rb', buffering=8192))
        except OSError as error:
            raise Incomplete(f'cannot be read: {error.strerror}') from error
        magic = raw.read(len(_SQLITE_MAGIC))
        raw.seek(0)
        if magic.startswith(ZSTD_MAGIC):
            try:
                if '.db3' not in file.suffixes:
                    unpacked = stack.enter_context(zstd.open(raw, 'rb'))
                    for message in read_mcap(cast(BinaryIO, unpacked), None, wanted, check):
                        yield message, raw.tell() / size
                    return
                # sqlite needs a file; it lies beside the others of this system for a while
                copy = stack.enter_context(NamedTemporaryFile(suffix='.db3'))
                _copy(cast(BinaryIO, zstd.open(raw, 'rb')), copy)
            except (EOFError, zstd.ZstdError) as error:
                raise Incomplete('was cut off or is damaged') from error
            yield from read_sqlite(Path(copy.name), wanted, check)
        elif magic == _SQLITE_MAGIC:
            yield from read_sqlite(file, wanted, check)
        elif size == 0:
            raise Incomplete('is empty')
        else:
            windowed = Windowed(raw)
            for message in read_mcap(windowed, size, wanted, check):
                yield message, windowed.tell() / size


def _copy(source: BinaryIO, copy: IO[bytes]) -> None:
    """Copy a file; Incomplete where that would fill the disk."""
    while data := source.read(_COPY_STEP):
        if shutil.disk_usage(Path(copy.name).parent).free < len(data) + _LEFT_FREE:
            raise Incomplete(f'is larger, unpacked, than {Path(copy.name).parent} has room for; '
                             'set TMPDIR to a folder on a larger disk')
        copy.write(data)
    copy.flush()


def _bag_definition(topic: Topic) -> Any:
    if topic.definition_format == 'ros2idl':
        return get_types_from_idl(topic.definition)
    return get_types_from_msg(topic.definition, topic.msgtype)


def _own_definition(topic: Topic) -> Any:
    for folder in Path(__file__).resolve().parents:
        for place in _OWN_DEFINITIONS:
            file = folder / place / f'{topic.msgtype.rpartition("/")[2]}.msg'
            if file.is_file():
                return get_types_from_msg(file.read_text(), topic.msgtype)
    raise OSError(f'neither the bag nor this installation has it; install {_OWN_PACKAGE}')
