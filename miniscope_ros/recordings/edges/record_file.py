# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Files of equal records, read piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.regular import check_regular
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RecordFile:
    """A file of equal records behind a header; one that ends within a record is refused."""

    path: Path
    layout: np.dtype[Any]
    offset: int = 0  # bytes of the header

    @cached_property
    def records(self) -> int:
        """Return how many there are; ConfigurationError if the last one is not complete."""
        size = check_regular(self.path) - self.offset
        if size <= 0 or size % self.layout.itemsize:
            raise ConfigurationError(
                f'{self.path.name} is truncated: its data has {size} bytes, which is no '
                f'multiple of {self.layout.itemsize}' if size > 0 else
                f'{self.path.name} holds no data')
        return size // self.layout.itemsize

    def read(self, begin: int, end: int) -> NDArray[Any]:
        """Map some records; the mapping ends with the array."""
        return np.memmap(self.path, self.layout, 'r',
                         self.offset + begin * self.layout.itemsize, (end - begin,))
