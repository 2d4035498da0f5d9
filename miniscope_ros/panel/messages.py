# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What page and panel say to each other: JSON texts, checked before anything is done."""

from __future__ import annotations

from dataclasses import dataclass
import json
import math
from typing import Any

LONGEST = 65_536  # bytes of a message from a page
_LONGEST_TEXT = 8192


class BadMessageError(ValueError):
    """A message that is none of the page's."""


@dataclass(frozen=True)
class Message:
    """What a page says."""

    kind: str
    number: int  # the answer names it
    content: dict[str, Any]

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text of the message. Raises BadMessageError if there is none."""
        value = self.content.get(key, default)
        if not isinstance(value, str) or len(value) > _LONGEST_TEXT or '\0' in value:
            raise BadMessageError(f'{self.kind}: {key} has to be a text')
        return value

    def texts(self, key: str) -> list[str]:
        """Return a list of texts of the message. Raises BadMessageError if there is none."""
        values = self.content.get(key)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise BadMessageError(f'{self.kind}: {key} has to be a list of texts')
        return values

    def fields(self, key: str) -> dict[str, str]:
        """Return a dict of texts of the message. Raises BadMessageError if there is none."""
        values = self.content.get(key)
        if not isinstance(values, dict) or not all(
                isinstance(value, str) and len(value) <= _LONGEST_TEXT
                for value in values.values()):
            raise BadMessageError(f'{self.kind}: {key} has to be fields with texts')
        return dict(values)

    def amount(self, key: str) -> float:
        """Return a finite number, 0 or more. Raises BadMessageError if there is none."""
        value = self.content.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not (
                0 <= value < math.inf):
            raise BadMessageError(f'{self.kind}: {key} has to be a number of 0 or more')
        return float(value)


def parse(text: str) -> Message:
    """Return a message of a page. Raises BadMessageError if it is none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise BadMessageError('this is no JSON') from None
    if not isinstance(content, dict) or not isinstance(content.get('type'), str):
        raise BadMessageError('a message is an object with a type')
    number = content.get('id', 0)
    if isinstance(number, bool) or not isinstance(number, int) or abs(number) >= 2 ** 53:
        raise BadMessageError('id has to be a whole number')
    return Message(content['type'], number, content)


def dump(kind: str, **content: Any) -> str:
    """Return a message for a page; numbers that JSON does not have become null."""
    return json.dumps(_finite({'type': kind, **content}), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return value
