# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A text table with a header line, its columns as numbers."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
import csv
import math
from pathlib import Path

from miniscope_ros.errors import DeviceError
from miniscope_ros.regular import check_regular
import numpy as np
from numpy.typing import NDArray

_LONGEST_LINE = 1 << 16  # characters
# A week at 30 frames/s. A table with more rows belongs to no recording, and would take memory.
_MOST_ROWS = 20_000_000

Row = tuple[int, list[str]]
"""Number of a line, from 1, and its cells."""


class Table:
    """
    One table file, read again for each question, so that only the answers take memory.

    Names of columns are compared without regard to case and surrounding spaces. More columns or
    cells than asked for are accepted.
    """

    def __init__(self, path: Path, delimiter: str) -> None:
        """Read the header; DeviceError if the file cannot be read or is empty."""
        self.path = path
        self.warnings: list[str] = []
        self._delimiter = delimiter
        first = next(self._lines(), None)
        if first is None:
            raise DeviceError(f'{path} is empty: a header line and rows are expected')
        self.header = [cell.strip() for cell in first[1]]

    def has(self, *names: str) -> bool:
        """Return whether there are columns of these names."""
        titles = [title.lower() for title in self.header]
        return all(name.lower() in titles for name in names)

    def columns(self, *names: str) -> list[NDArray[np.float64]]:
        """
        Return columns, one value per row; NaN, and a warning, where cells are no numbers.

        DeviceError if there is no such column, or the table cannot be read to its end.
        """
        indices = [self._index(name) for name in names]
        values = [array('d') for _ in names]
        bad: dict[int, tuple[int, str, int]] = {}  # by column: line, cell, how many
        for line, row in self._rows():
            for place, index in enumerate(indices):
                value = _number(row, index)
                if math.isnan(value):
                    cell = f'"{row[index]}"' if index < len(row) else 'no cell'
                    first, cell, count = bad.get(place, (line, cell, 0))
                    bad[place] = first, cell, count + 1
                values[place].append(value)
        for place, (line, cell, count) in sorted(bad.items()):
            self.warnings.append(
                f'{self.path}, line {line}: {cell} in column "{names[place]}" where a number is '
                f'expected; {count} such lines are left out')
        return [np.frombuffer(column, np.float64) if column else np.empty(0)
                for column in values]

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one column; see columns."""
        return self.columns(name)[0]

    def texts(self, *names: str) -> Iterator[tuple[str, ...]]:
        """Yield the cells of these columns, row by row; rows that are too short are left out."""
        indices = [self._index(name) for name in names]
        for _, row in self._rows():
            if len(row) > max(indices):
                yield tuple(row[index].strip() for index in indices)

    def _index(self, name: str) -> int:
        if not self.has(name):
            raise DeviceError(
                f'{self.path}: no column "{name}"; the columns are: {", ".join(self.header)}')
        return [title.lower() for title in self.header].index(name.lower())

    def _rows(self) -> Iterator[Row]:
        lines = self._lines()
        next(lines, None)
        for number, line in enumerate(lines):
            if number == _MOST_ROWS:
                raise DeviceError(f'{self.path} has more than {_MOST_ROWS} rows, which is more '
                                  'than any recording has')
            yield line

    def _lines(self) -> Iterator[Row]:
        """Yield the lines that are not empty."""
        try:
            check_regular(self.path)
            with self.path.open(newline='', encoding='utf-8-sig', errors='replace') as file:
                reader = csv.reader(
                    iter(lambda: self._line(file.readline(_LONGEST_LINE)), ''),
                    delimiter=self._delimiter)
                for row in reader:
                    if row:
                        yield reader.line_num, row
        except OSError as error:
            raise DeviceError(f'{self.path} cannot be read: {error.strerror}') from error
        except csv.Error as error:
            raise DeviceError(f'{self.path} cannot be read: {error}') from error

    def _line(self, line: str) -> str:
        if len(line) == _LONGEST_LINE:
            raise DeviceError(f'{self.path} is no table: a line has {_LONGEST_LINE} characters or '
                              'more')
        return line


def _number(row: list[str], index: int) -> float:
    """Return a cell's value; NaN if it is missing or no finite number."""
    try:
        value = float(row[index])
    except (IndexError, ValueError):
        return math.nan
    return value if math.isfinite(value) else math.nan
