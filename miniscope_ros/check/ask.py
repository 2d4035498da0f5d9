# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Asking the user to do something, while frames go on and Ctrl-C works."""

from __future__ import annotations

from collections.abc import Callable
import select
import sys

_SLICE_S = 0.1


def ask(text: str, meanwhile: Callable[[], None]) -> bool:
    """
    Print a request and wait for Enter; return False if nobody can answer.

    meanwhile is called again and again until then; what it raises ends the waiting.
    """
    print(f'\n>>> {text} Then press Enter. (s and Enter: skip)', flush=True)
    while True:
        meanwhile()
        try:
            ready, _, _ = select.select([sys.stdin], [], [], _SLICE_S)
        except (OSError, ValueError):
            return False  # there is no input
        if ready:
            answer = sys.stdin.readline()
            return bool(answer) and not answer.strip().lower().startswith('s')
