# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What every format's writer does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from miniscope_ros.recordings.bag.tables import RecordedAcquisition
import numpy as np
from numpy.typing import NDArray


class Writer(Protocol):
    """Writes one acquisition in one format."""

    def add(self, image: NDArray[np.uint8], row: int) -> None:
        """Append the image of a row; ConfigurationError for one that the format cannot hold."""
        ...

    def finish(self, rows: NDArray[np.intp]) -> None:
        """Complete the output; rows, shape (n,), are those of the n images that were appended."""
        ...

    def discard(self) -> None:
        """Close and delete what has been written."""
        ...


WriterFactory = Callable[[Path, RecordedAcquisition], Writer]
"""Makes the writer of an acquisition; the path is the folder of the export."""
