# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What every transport of a DAQ box can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Buffer:
    """One frame as the transport received it."""

    data: NDArray[np.uint8]  # the received bytes, 1-D; valid until the buffer is given back
    sequence: int  # counts frames at the transport, lost ones included
    stamp_ns: int | None  # CLOCK_MONOTONIC at the frame's first data; None: there are no stamps
    damaged: bool  # error flag set, or the wrong number of bytes
    index: int = 0  # the transport's own name for the buffer
    is_arrival: bool = False  # the stamp is a program's, who took it when the data came
    device_time_ms: float = math.nan  # on the device's clock; NaN: it has none


class Transport(Protocol):
    """
    Frames in, control words out.

    One thread at a time may use it. Every call raises DeviceLost when the device has gone and
    DeviceError for a fault that has another remedy.
    """

    kind: str  # v4l2, usb, simulated
    card: str  # the device's name for itself
    location: str  # the USB port: the same when a box comes back under another number
    path: str  # the device node, or what stands for it
    fresh_reads: bool  # every read of a control asks the device; else a cache may answer

    def open(self, width: int, height: int) -> None:
        """Open the device and set the image size [px], YUYV."""
        ...

    def start(self, buffers: int) -> None:
        """Start the stream with that many buffers in the ring."""
        ...

    def dequeue(self, timeout: float) -> Buffer | None:
        """Take the oldest received frame; None if none arrives within timeout [s]."""
        ...

    def requeue(self, buffer: Buffer) -> None:
        """Give a buffer back; its data must not be used any more."""
        ...

    def waiting(self) -> bool:
        """Return whether another received frame is ready to be taken."""
        ...

    def stop(self) -> None:
        """Stop the stream and free its buffers; no error if it does not run."""
        ...

    def close(self) -> None:
        """Stop, then close; no error if it is closed."""
        ...

    def write_control(self, control: int, value: int) -> None:
        """Set one V4L2 control by its id."""
        ...

    def read_controls(self, controls: Sequence[int]) -> list[int]:
        """Read V4L2 controls by their ids, all in one call."""
        ...

    def control_range(self, control: int) -> tuple[int, int] | None:
        """Return a control's minimum and maximum; None if the device has no such control."""
        ...

    def read_unit(self, unit: int, selector: int, size: int) -> bytes:
        """Read a control of a UVC extension unit."""
        ...

    def write_unit(self, unit: int, selector: int, data: bytes) -> None:
        """Write a control of a UVC extension unit."""
        ...

    def find_unit(self, guid: bytes) -> int | None:
        """Return the number of the extension unit with this GUID (16 bytes as in descriptors)."""
        ...

    def reset_port(self) -> None:
        """Reset the USB port, which restarts the box; DeviceError names a missing permission."""
        ...
