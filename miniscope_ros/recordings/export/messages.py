# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What a person sees while an export runs: messages and a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import sys


@contextmanager
def progress_bar(what: str, total: float, unit: str = '') -> Iterator[Callable[[float], None]]:
    """Yield what takes the amount done; a bar shows it, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        say(f'{what}; a progress bar needs tqdm (apt install python3-tqdm)')
        yield lambda done: None
        return
    share = '' if unit else '{l_bar}{bar}| {elapsed}<{remaining}'
    with tqdm(total=total, desc=what, unit=unit, bar_format=share or None) as bar:
        yield lambda done: bar.update(done - bar.n) and None


def say(text: str) -> None:
    """Print a line for the user to standard error."""
    print(f'export_bag: {text}', file=sys.stderr)
