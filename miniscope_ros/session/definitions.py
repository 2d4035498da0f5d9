# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Message types by their names, and their definitions as a bag embeds them.

A bag holds the text of each .msg file and of every one that it refers to, so that it can be read
where the message package is not installed, or is of another version (mcap.dev, "MCAP ROS 2").
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
import re
from typing import Any, NamedTuple

from ament_index_python.packages import get_package_share_directory, PackageNotFoundError
from miniscope_ros.errors import ConfigurationError

_SEPARATOR = '=' * 80
_FIELD = re.compile(r'^\s*(?P<type>[A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[A-Za-z]\w*', re.M)
_PRIMITIVES = {
    'bool', 'byte', 'char', 'float32', 'float64', 'int8', 'uint8', 'int16', 'uint16', 'int32',
    'uint32', 'int64', 'uint64', 'string', 'wstring'}


class Definition(NamedTuple):
    """The text that a bag embeds for one type; both empty where there is no .msg file."""

    encoding: str
    text: str


def message_class(type_name: str) -> Any:
    """Return the class of a type such as sensor_msgs/msg/Image. Raises ConfigurationError."""
    package, _, name = type_name.partition('/msg/')
    try:
        return getattr(import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f'the message type {type_name} is not installed here ({error}): install the package '
            f'{package}, or do not record topics of this type') from error


def definition(type_name: str) -> Definition:
    """Return the definition of a type, followed by those of all types that it contains."""
    try:
        own = _text(type_name)
    except (OSError, PackageNotFoundError):
        return Definition('', '')
    parts, known = [own], {type_name}
    waiting = _contained(type_name, own)
    while waiting:
        name = waiting.pop(0)
        if name in known:
            continue
        known.add(name)
        try:
            text = _text(name)
        except (OSError, PackageNotFoundError):
            return Definition('', '')
        short = name.replace('/msg/', '/')
        parts.append(f'{_SEPARATOR}\nMSG: {short}\n{text}')
        waiting += _contained(name, text)
    return Definition('ros2msg', '\n'.join(parts))


def _text(type_name: str) -> str:
    package, _, name = type_name.partition('/msg/')
    return Path(get_package_share_directory(package), 'msg', f'{name}.msg').read_text('utf-8')


def _contained(type_name: str, text: str) -> list[str]:
    """Return the types of the fields that are messages themselves."""
    package = type_name.partition('/')[0]
    lines = '\n'.join(line.partition('#')[0] for line in text.splitlines())
    found = []
    for match in _FIELD.finditer(lines):
        name = match['type']
        if name in _PRIMITIVES:
            continue
        if name == 'Header':
            name = 'std_msgs/Header'
        owner, _, base = name.rpartition('/')
        found.append(f'{owner.removesuffix("/msg") or package}/msg/{base}')
    return found
