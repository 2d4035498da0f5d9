# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Outcome(Enum):
    """What became of an assumption."""

    PASS = 'PASS'
    FAIL = 'FAIL'
    CANNOT_TELL = 'CANNOT TELL'


@dataclass(frozen=True)
class Finding:
    """One line of the report; data are the numbers behind it, for the JSON file."""

    outcome: Outcome
    measured: str
    expected: str
    data: dict[str, Any] = field(default_factory=dict)


def judged(good: bool, measured: str, expected: str, **data: Any) -> Finding:
    """Return a finding that passes if good."""
    return Finding(Outcome.PASS if good else Outcome.FAIL, measured, expected, data)


def untold(reason: str, expected: str, **data: Any) -> Finding:
    """Return a finding that decides nothing, with the reason."""
    return Finding(Outcome.CANNOT_TELL, reason, expected, data)
