# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""~/save_image: the newest raw frame as a lossless file that says what it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
import math
import os
from pathlib import Path
from threading import Event, Lock

from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.errors import ConfigurationError, DeviceError
import numpy as np
from numpy.typing import NDArray

FOLDER = Path('~/miniscope_images')


@dataclass(frozen=True)
class SavedFrame:
    """A copy of a frame with what is known of it."""

    image: NDArray[np.uint8]  # (height, width), or (height, width, 3) as BGR
    stamp_ns: int  # ROS clock
    frame_id: str
    frame_index: int
    capture_index: int
    device_frame_count: int  # -1 unknown


class ImageSaver:
    """Takes a copy of the next frame from the capture thread when one is wanted."""

    def __init__(self) -> None:
        self.is_wanted = False
        self._lock = Lock()
        self._taken = Event()
        self._frame: SavedFrame | None = None

    def take(self, frame: Frame, frame_id: str) -> None:
        """Copy a frame; called in the capture thread while one is wanted."""
        self.is_wanted = False
        self._frame = SavedFrame(
            frame.sample.image.copy(), frame.stamp_ns, frame_id, frame.frame_index,
            frame.capture_index, frame.device_frame_count)
        self._taken.set()

    def next_frame(self, timeout: float) -> SavedFrame:
        """Return a copy of the next frame that is published; DeviceError after timeout [s]."""
        with self._lock:
            self._taken.clear()
            self.is_wanted = True
            try:
                if not self._taken.wait(timeout):
                    raise DeviceError(f'no frame has come within {timeout:.1f} s')
            finally:
                self.is_wanted = False
            frame, self._frame = self._frame, None
            assert frame is not None
            return frame


def write_png(frame: SavedFrame, name: str, details: Mapping[str, object]) -> Path:
    """
    Write a frame to FOLDER as a PNG, lossless, and return its path.

    name begins the file's name; details become text entries of the file. Raises DeviceError if
    the folder cannot be written, ConfigurationError where Pillow is missing.
    """
    try:
        from PIL import Image, PngImagePlugin
    except ImportError as error:
        raise ConfigurationError(
            f'save_image needs Pillow, which cannot be imported ({error}): install '
            'python3-pil') from error
    stamp = datetime.fromtimestamp(frame.stamp_ns // 1_000_000_000, timezone.utc)
    when = f'{stamp:%Y%m%d-%H%M%S}.{frame.stamp_ns % 1_000_000_000:09d}'
    path = FOLDER.expanduser() / f'{name}_{when}_frame{frame.frame_index:06d}.png'
    text = PngImagePlugin.PngInfo()
    entries = {
        'stamp_ns': frame.stamp_ns, 'stamp_utc': stamp.isoformat(), 'frame_id': frame.frame_id,
        'frame_index': frame.frame_index, 'capture_index': frame.capture_index,
        'device_frame_count': frame.device_frame_count, **details}
    for key, value in entries.items():
        text.add_itxt(key, _show(value))
    pixels = frame.image if frame.image.ndim == 2 else frame.image[..., ::-1]
    # Under another name first: nobody sees half a file.
    part = path.with_suffix('.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(pixels)).save(part, 'PNG', pnginfo=text)
        os.replace(part, path)
    except OSError as error:
        raise DeviceError(f'{path} cannot be written: {error.strerror or error}') from error
    return path


def _show(value: object) -> str:
    if isinstance(value, float):
        return 'unknown' if math.isnan(value) else f'{value:g}'
    return str(value)
