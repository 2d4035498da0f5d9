# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Times of edges in a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.edges.channel import Channel, Times
from miniscope_ros.regular import check_regular
import numpy as np

_LARGEST_FILE = 1 << 30  # bytes


def channels(file: Path) -> list[Channel]:
    """Return the only channel of a CSV file."""
    return [Channel('first column', lambda: _read_times(file))]


def _read_times(file: Path) -> Times:
    """
    Return the times [s] in the first column of a CSV file, shape (n,); a head line is allowed.

    Raises ConfigurationError for a cell that is no number.
    """
    times: list[float] = []
    try:
        if check_regular(file) > _LARGEST_FILE:
            raise ConfigurationError(f'{file} is too large for a list of times')
        with file.open(encoding='utf-8-sig', errors='replace', newline='') as stream:
            for number, row in enumerate(csv.reader(stream)):
                if not row or not row[0].strip():
                    continue
                try:
                    times.append(float(row[0]))
                except ValueError:
                    if number:
                        raise ConfigurationError(
                            f'{file}: line {number + 1}: {row[0][:40]!r} is no time [s]') from None
    except OSError as error:
        raise ConfigurationError(f'{file} cannot be read: {error.strerror}') from error
    except csv.Error as error:
        raise ConfigurationError(f'{file} is no CSV file: {error}') from error
    return np.array(times)
