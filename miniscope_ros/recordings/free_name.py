# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Names that nobody has yet."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count


def free_name(base: str, is_taken: Callable[[str], bool]) -> str:
    """Return base, or base_2, base_3, ..: the first of them that is not taken."""
    if not is_taken(base):
        return base
    return next(name for name in (f'{base}_{number}' for number in count(2))
                if not is_taken(name))
