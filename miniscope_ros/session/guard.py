# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Watches that a recording really is written.

A recorder that has stopped taking messages may look well in every other way: it runs, and its
file is there. What counts is that the file grows as the published frames say that it has to.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
import math
import os
from pathlib import Path

from miniscope_ros.errors import DeviceError

GB = 1e9  # bytes
PATIENCE_S = 5.0
"""Frames may be published for this time while the recorder takes nothing (docs/recording.md)."""
_LEAST_GROWTH = 0.5
"""Part of the images' bytes by which an uncompressed bag has to grow in that time."""
_LEAST_COMPRESSED = 0.005
"""The same of a compressed bag: black pictures shrink to less than a hundredth."""
_RATE_WINDOW_S = 10.0  # bytes_per_s is the average over this time


def free_bytes(folder: Path) -> int:
    """Return how many bytes can be written where a folder is, or will be. Raises DeviceError."""
    place = folder
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        status = os.statvfs(place)
    except OSError as error:
        raise DeviceError(f'{place} cannot be asked for its free space: {error}') from error
    return status.f_bavail * status.f_frsize


def check_room(folder: Path, min_free_gb: float) -> None:
    """Raise DeviceError where less than min_free_gb [10^9 bytes] is free for a recording."""
    free = free_bytes(folder)
    if free < min_free_gb * GB:
        raise DeviceError(
            f'only {free / GB:.2f} GB are free for {folder}, and min_free_gb is {min_free_gb:g}: '
            'delete something, record to another disk, or lower min_free_gb')


@dataclass(frozen=True)
class Progress:
    """How the recording does at one moment."""

    time_s: float  # monotonic
    bytes: int  # in the bag
    frames: int  # published by all scopes since the recording began
    frame_bytes: float  # the images of these


class Guard:
    """Judges one recording; observe() is called several times a second."""

    def __init__(self, folder: Path, stop_free_gb: float, *, compressed: bool = False) -> None:
        """Watch the bag in a folder; compressed: its images may take far fewer bytes."""
        self._folder = folder
        self._stop_free = stop_free_gb * GB
        self._least = _LEAST_COMPRESSED if compressed else _LEAST_GROWTH
        self._history: deque[Progress] = deque()
        self.free = 0
        self.bytes_per_s = math.nan

    @property
    def seconds_left(self) -> float:
        """Seconds until stop_free_gb is reached; NaN where that is not known."""
        if not self.bytes_per_s > 0:
            return math.nan
        return max(0.0, self.free - self._stop_free) / self.bytes_per_s

    @property
    def disk_is_full(self) -> bool:
        """Whether so little is free that the recording has to end now to end in order."""
        return self.free < self._stop_free

    def observe(self, now: Progress) -> None:
        """Take a new state. Raises DeviceError if the recorder does not write enough."""
        if not self._folder.is_dir():
            raise DeviceError(f'{self._folder} is gone: it was deleted or its disk was removed '
                              'while it was being recorded into')
        self.free = free_bytes(self._folder)
        history = self._history
        history.append(now)
        while len(history) > 2 and now.time_s - history[1].time_s >= _RATE_WINDOW_S:
            history.popleft()
        first = history[0]
        if now.time_s > first.time_s:
            self.bytes_per_s = (now.bytes - first.bytes) / (now.time_s - first.time_s)
        self._check_growth(now)

    def begin_anew(self) -> None:
        """Judge from now on: a scope was started again, and the recorder has to find it first."""
        self._history.clear()

    def _check_growth(self, now: Progress) -> None:
        # The latest state that is old enough.
        before = next((past for past in reversed(self._history)
                       if now.time_s - past.time_s >= PATIENCE_S), None)
        if before is None:
            return
        frames = now.frames - before.frames
        expected = now.frame_bytes - before.frame_bytes
        grown = now.bytes - before.bytes
        if frames and (grown <= 0 or grown < self._least * expected):
            raise DeviceError(
                f'the recorder does not take what is published: the bag grew by {grown / 1e6:.1f} '
                f'MB in {now.time_s - before.time_s:.1f} s, while {frames} frames of '
                f'{expected / 1e6:.1f} MB were published')
