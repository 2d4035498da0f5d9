# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The diagnostics of a scope, part by part, as the page shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LEVELS = ('ok', 'warning', 'error', 'stale')
_SEPARATOR = ': '


@dataclass(frozen=True)
class Part:
    """One status of /diagnostics."""

    level: str  # one of LEVELS
    message: str
    values: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return it as the page takes it."""
        return {'level': self.level, 'message': self.message, 'values': self.values}


def parts_of(message: Any) -> Iterator[tuple[str, str, Part]]:
    """Yield scope, part and content of every status in a DiagnosticArray that names both."""
    for status in message.status:
        scope, separator, part = status.name.rpartition(_SEPARATOR)
        if separator:
            level = LEVELS[min(ord(status.level), len(LEVELS) - 1)]
            values = {pair.key: pair.value for pair in status.values}
            yield f'/{scope.lstrip("/")}', part, Part(level, status.message, values)
