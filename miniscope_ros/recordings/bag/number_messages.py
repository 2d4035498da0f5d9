# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Messages that are a header and numbers, decoded all at once.

A night has some millions of them. Code that takes field after field, as rosbags makes it from a
definition, needs ten times as long.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
from dataclasses import dataclass
import struct
from typing import Any

from miniscope_ros.recordings.bag.message import LEADING
from rosbags.interfaces import Nodetype

_ENCAPSULATION = b'\0\1\0\0'  # little endian, no options
_HEADER = 'std_msgs/msg/Header'
_CODES = {'bool': '?', 'byte': 'B', 'char': 'B', 'int8': 'b', 'uint8': 'B', 'int16': 'h',
          'uint16': 'H', 'int32': 'i', 'uint32': 'I', 'int64': 'q', 'uint64': 'Q',
          'float32': 'f', 'float64': 'd'}


@dataclass(frozen=True)
class NumbersLayout:
    """Where the numbers are in the messages of one topic."""

    size: int  # bytes of a message
    frame_id: bytes  # with its length before it
    row: struct.Struct
    make: Any  # takes the numbers; returns an object with the fields' names as attributes

    def decode(self, data: bytes) -> Any:
        """Return the numbers of a message by their names; None if its layout is another one."""
        if (len(data) != self.size or not data.startswith(_ENCAPSULATION)
                or not data.startswith(self.frame_id, LEADING)):
            return None
        return self.make(self.row.unpack_from(data, LEADING + len(self.frame_id)))


def numbers_layout(definitions: Mapping[str, Any], msgtype: str, data: bytes,
                   ) -> NumbersLayout | None:
    """
    Return the layout of all messages like this one, which rosbags could decode.

    Parameters
    ----------
    definitions
        The fields of each type, as rosbags keeps them (Typestore.fielddefs).
    msgtype
        The message's type.
    data
        The message, serialized (CDR).

    Returns
    -------
    NumbersLayout
        None if it has other fields than a header, numbers, and messages of numbers, or is not
        little endian. The numbers of a message within the message are left out.

    """
    fields = definitions[msgtype][1]
    first = fields[0][1] if fields else None
    if first != (Nodetype.NAME, _HEADER) or not data.startswith(_ENCAPSULATION):
        return None
    length, = struct.unpack_from('<I', data, LEADING)
    begin = place = LEADING + 4 + length
    names, codes = [], ''
    for name, code in _flat(definitions, fields[1:]):
        if code is None:
            return None
        size = struct.calcsize(code)
        padding = -(place - len(_ENCAPSULATION)) % size
        # Of a field without a name only the bytes are stepped over.
        codes += f'{padding}x' + (code if name else f'{size}x')
        names += [name] if name else []
        place += padding + size
    if place != len(data):
        return None
    row = struct.Struct(f'<{codes}')
    return NumbersLayout(place, data[LEADING:begin], row, _named_tuple(names)._make)


def _named_tuple(names: list[str]) -> Any:
    make: Any = collections.namedtuple  # the checker of types knows those with fixed names only
    return make('Numbers', names)


def _flat(definitions: Mapping[str, Any], fields: Any, *, inner: bool = False,
          ) -> list[tuple[str, str | None]]:
    """Return name and code of each number; the code is None for a field of another kind."""
    found: list[tuple[str, str | None]] = []
    for name, (kind, of) in fields:
        if kind == Nodetype.NAME:
            found += _flat(definitions, definitions[of][1], inner=True)
        elif kind == Nodetype.BASE:
            found.append(('' if inner else name, _CODES.get(of[0])))
        else:
            found.append(('', None))
    return found
