# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What every way to a camera's frames can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from miniscope_ros.model import RawFrame

FIRST_FRAME_TRIES = 3
"""Tries of 1 s each for a first frame: some cameras start slowly."""

OLDEST_STAMP_NS = 5_000_000_000
"""Before now; a stamp further away is none of CLOCK_MONOTONIC."""


@dataclass(frozen=True)
class StreamInfo:
    """What a camera answered to what was asked of it."""

    width: int  # [px]
    height: int
    encoding: str  # mono8 or bgr8
    frame_rate: float  # [frames/s]; NaN if it does not say
    transport: str
    warnings: tuple[str, ...] = ()


class CameraStream(Protocol):
    """An open camera that sends frames."""

    info: StreamInfo

    def read(self, timeout: float) -> RawFrame | None:
        """Return the next frame; None after timeout [s]; DeviceLost, EndOfData, Interrupted."""
        ...

    def waiting(self) -> bool:
        """Return whether another frame is known to be ready."""
        ...

    def rewind(self) -> None:
        """Begin a file again; a camera goes on."""
        ...

    def close(self) -> None:
        """Release the camera; never fails."""
        ...
