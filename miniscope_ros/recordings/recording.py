# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What every reader of a recording yields."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from miniscope_ros.model import Content, Quaternion, Reason
import numpy as np
from numpy.typing import NDArray


class RecordedChange(NamedTuple):
    """A control value that was sent while recording."""

    time_ns: int  # since the recording's start, on the recorded clock
    control: str  # as the driver names it
    value: float
    raw: int
    reason: Reason
    # First frame wholly under the value, lost ones counted too, the recording's first being 0;
    # -1 where there is none.
    first_capture_index: int


class ImageFormat(NamedTuple):
    """Size and encoding that all images of a recording share."""

    width: int  # [px]
    height: int  # [px]
    encoding: str  # mono8 or bgr8

    @classmethod
    def of(cls, image: NDArray[np.uint8]) -> ImageFormat:
        """Return the format of an image, (height, width) grey or (height, width, 3) BGR."""
        return cls(image.shape[1], image.shape[0], 'mono8' if image.ndim == 2 else 'bgr8')

    def __str__(self) -> str:
        return f'{self.width}x{self.height} {self.encoding}'


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """One frame with all that was recorded beside it."""

    image: NDArray[np.uint8]  # (height, width) grey or (height, width, 3) BGR
    time_ns: int  # since the recording's start, on the recorded clock
    device_count: int | None  # the device's own frame counter; None unknown
    orientation: Quaternion | None  # the reading that belongs to this frame
    number: int | None = None  # lost frames counted too, from any start; None unknown
    sync_edge: int | None = None  # index of its edge on the sync output; None unknown
    digital_inputs: int = -1  # bit mask; -1 unknown
    content: Content | None = None  # what its picture shows, as judged before; None unknown
    changes: tuple[RecordedChange, ...] = ()  # what was sent since the frame before


class Recording(Protocol):
    """A recording that can be played, any number of times."""

    format_name: str
    path: str
    device_type: str  # as recorded; empty where it is unknown
    format: ImageFormat
    frame_rate: float  # as recorded, else measured [frames/s]
    interval_ns: int  # median time from frame to frame
    start_epoch_ns: int | None  # the recording's start, since 1970 UTC; None unknown
    has_orientation: bool
    device_count_bits: int  # at which width the device's frame counter wraps
    has_frame_numbers: bool  # frames have numbers that show every loss
    frame_count: int  # as far as it is known without decoding
    controls: Mapping[str, str]  # values at the recording's start, named and written as recorded
    stops: Sequence[RecordedChange]  # control values that were sent after the last frame
    warnings: list[str]  # what is wrong with the recording; grows while it is played

    def frames(self) -> Generator[RecordedFrame, None, None]:
        """
        Yield the frames in order, their times strictly rising.

        Memory does not grow with the recording's length. What it opened is closed when it ends or
        is closed. DeviceError if the recording cannot be played any further.
        """
        ...
