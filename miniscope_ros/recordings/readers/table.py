# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A text table with a header line, its columns as numbers."""

from __future__ import annotations

from collections.abc import Iterator
import csv
import math
from pathlib import Path

from miniscope_ros.errors import DeviceError
import numpy as np
from numpy.typing import NDArray


class Table:
    """
    One table file.

    Names of columns are compared without regard to case and surrounding spaces. More columns or
    cells than asked for are accepted.
    """

    def __init__(self, path: Path, delimiter: str) -> None:
        """Read the file; DeviceError if it cannot be read or is empty."""
        self.path = path
        self.warnings: list[str] = []
        try:
            with path.open(newline='', encoding='utf-8-sig', errors='replace') as file:
                reader = csv.reader(file, delimiter=delimiter)
                lines = [(reader.line_num, row) for row in reader if row]
        except (OSError, csv.Error) as error:
            raise DeviceError(f'{path} cannot be read: {error}') from error
        if not lines:
            raise DeviceError(f'{path} is empty: a header line and rows are expected')
        self.header = [cell.strip() for cell in lines[0][1]]
        self._rows = lines[1:]

    def has(self, name: str) -> bool:
        """Return whether there is a column of that name."""
        return name.lower() in map(str.lower, self.header)

    def column(self, name: str) -> NDArray[np.float64]:
        """
        Return a column, one value per row; NaN, and one warning, where a cell is no number.

        DeviceError if there is no such column.
        """
        if not self.has(name):
            raise DeviceError(
                f'{self.path}: no column "{name}"; the columns are: {", ".join(self.header)}')
        index = [title.lower() for title in self.header].index(name.lower())
        values = np.array([_number(row, index) for _, row in self._rows], dtype=np.float64)
        bad = np.flatnonzero(np.isnan(values))
        if bad.size:
            line, row = self._rows[bad[0]]
            cell = f'"{row[index]}"' if index < len(row) else 'no cell'
            self.warnings.append(
                f'{self.path}, line {line}: {cell} in column "{name}" where a number is expected;'
                f' {bad.size} such lines are left out')
        return values

    def texts(self, *names: str) -> Iterator[tuple[str, ...]]:
        """Yield the cells of these columns, row by row; rows that are too short are left out."""
        titles = [title.lower() for title in self.header]
        indices = [titles.index(name.lower()) for name in names]
        for _, row in self._rows:
            if len(row) > max(indices):
                yield tuple(row[index].strip() for index in indices)


def _number(row: list[str], index: int) -> float:
    """Return a cell's value; NaN if it is missing or no finite number."""
    try:
        value = float(row[index])
    except (IndexError, ValueError):
        return math.nan
    return value if math.isfinite(value) else math.nan
