# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A recording made of video files and tables: images paired with times by their order."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
import math
from pathlib import Path

from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.readers.matching import match_rows
from miniscope_ros.recordings.readers.table import Table
from miniscope_ros.recordings.readers.video import Decoder
from miniscope_ros.recordings.recording import ImageFormat, RecordedChange, RecordedFrame
from miniscope_ros.recordings.timeline import pace, rising_ns
import numpy as np
from numpy.typing import NDArray

_LATEST_MS = 4e12  # [ms] since 1970: the year 2096; some programs count from 1970
_LEAP = 10  # frames: more than a counter mostly rises by from row to row

QUATERNION = ('qw', 'qx', 'qy', 'qz')
"""The columns of an orientation table, besides the time."""


@dataclass(frozen=True)
class Part:
    """One video file of the recording."""

    path: Path
    rows: int  # how many of the time stamps belong to its images


@dataclass(frozen=True)
class Rows:
    """Readings of the orientation sensor."""

    times_ms: NDArray[np.float64]  # (n,) on the frames' clock; NaN unknown
    quaternions: NDArray[np.float64]  # (n, 4) w, x, y, z; NaN unknown


@dataclass
class Tables:
    """What was recorded beside the images; one row per frame but for the orientation."""

    times_ms: NDArray[np.float64]  # NaN unknown: that frame cannot be played
    device_counts: NDArray[np.float64] | None = None  # NaN unknown
    orientation: Rows | None = None
    device_type: str = ''
    frame_rate: float = math.nan  # the set rate [frames/s]
    start_epoch_ns: int | None = None
    controls: Mapping[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class TimedVideo:
    """A Recording of video files and tables."""

    has_frame_numbers = False
    stops: Sequence[RecordedChange] = ()

    def __init__(self, name: str, path: Path, parts: Sequence[Part], decode: Decoder,
                 tables: Tables) -> None:
        """Decode the first image; DeviceError if there is none or no frame has a time."""
        self.format_name = name
        self.path = str(path)
        self.warnings = tables.warnings
        self.device_type = tables.device_type
        self.start_epoch_ns = tables.start_epoch_ns
        self.controls = tables.controls
        self._parts = parts
        self._decode = decode

        self._known = np.isfinite(tables.times_ms) & (np.abs(tables.times_ms) < _LATEST_MS)
        if beyond := int(np.isfinite(tables.times_ms).sum() - self._known.sum()):
            self._warn(f'{path}: {beyond} time stamps are beyond any time; these frames are not '
                       'played')
        self.frame_count = int(self._known.sum())
        if not self.frame_count:
            raise DeviceError(f'{path}: no frame has a time stamp')
        times, moved = rising_ns(tables.times_ms[self._known])
        if moved:
            self._warn(f'{path}: time stamps are not above the one before; {moved}')
        self._times_ns = np.zeros(len(self._known), dtype=np.int64)
        self._times_ns[self._known] = times
        self.interval_ns, self.frame_rate = pace(times, tables.frame_rate)

        counts = tables.device_counts
        if counts is not None and not _counting(counts):
            self._warn(f'{path}: the recorded frame counter does not count frames; it is not used')
            counts = None
        self._counts = np.full(len(self._known), np.nan) if counts is None else counts
        # The box's own counter has 16 bits; programs subtract its first value from it.
        self.device_count_bits = 32 if np.nanmax(self._counts, initial=0) > 0xFFFF else 16
        self.has_orientation = tables.orientation is not None
        self._quaternions = np.full((len(self._known), 4), np.nan)
        if tables.orientation is not None:
            self._assign(tables.orientation, tables.times_ms)

        self.format = self._first_format()

    def frames(self) -> Generator[RecordedFrame, None, None]:
        """Yield the frames as Recording says."""
        end = 0
        for part in self._parts:
            row, end = end, end + part.rows
            with closing(self._decode(part.path)) as images:
                for image in images:
                    if ImageFormat.of(image) != self.format:
                        raise DeviceError(
                            f'{part.path}: image size {ImageFormat.of(image)} differs from the '
                            f'{self.format} of the files before')
                    if row == end:
                        self._warn(f'{part.path}: there are more frames than the {part.rows} time '
                                   'stamps for them; frames without one are not played')
                        break
                    if self._known[row]:
                        yield self._frame(row, image)
                    row += 1
            if row < end:
                self._warn(f'{part.path}: {part.rows + row - end} frames can be decoded, '
                           f'{end - row} less than there are time stamps for them')

    def _frame(self, row: int, image: NDArray[np.uint8]) -> RecordedFrame:
        count = self._counts[row]
        w, x, y, z = self._quaternions[row].tolist()
        return RecordedFrame(
            image=image,
            time_ns=int(self._times_ns[row]),
            device_count=(None if math.isnan(count)
                          else int(count) % (1 << self.device_count_bits)),
            orientation=None if math.isnan(w) else (w, x, y, z))

    def _first_format(self) -> ImageFormat:
        for part in self._parts:
            with closing(self._decode(part.path)) as images:
                for image in images:
                    return ImageFormat.of(image)
        raise DeviceError(f'{self.path}: no frame can be decoded from '
                          + ', '.join(part.path.name for part in self._parts))

    def _assign(self, rows: Rows, times_ms: NDArray[np.float64]) -> None:
        """Give each reading to the frame nearest in time, if that is within half an interval."""
        usable = (np.isfinite(rows.times_ms) & (np.abs(rows.times_ms) < _LATEST_MS)
                  & np.isfinite(rows.quaternions).all(axis=1))
        if not usable.any():
            return
        nearest = match_rows(
            times_ms[self._known], rows.times_ms[usable], self.interval_ns // 2)
        near = nearest >= 0
        frame_rows = np.flatnonzero(self._known)[nearest[near]]
        self._quaternions[frame_rows] = rows.quaternions[usable][near]
        if not near.all():
            self._warn(f'{self.path}: {np.count_nonzero(~near)} orientation rows belong to no '
                       'frame')

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _counting(counts: NDArray[np.float64]) -> bool:
    """Tell a counter from one read out of a cache, which stands still or leaps."""
    steps = np.diff(counts[np.isfinite(counts)])
    return not steps.size or bool(np.mean((steps > 0) & (steps < _LEAP)) >= 0.5)


def orientation_rows(table: Table, time_column: str) -> Rows:
    """Take the readings from a table; DeviceError if a column is missing."""
    times, *quaternions = table.columns(time_column, *QUATERNION)
    return Rows(times, np.stack(quaternions, axis=1))


def read_orientation(path: Path, delimiter: str, time_column: str,
                     warnings: list[str]) -> Rows | None:
    """Read an orientation table; None, with a warning if it is there, where it cannot be used."""
    if not path.exists():
        return None
    try:
        table = Table(path, delimiter)
        rows = orientation_rows(table, time_column)
    except DeviceError as error:
        warnings.append(f'the orientation is not played: {error}')
        return None
    warnings.extend(table.warnings)
    return rows
