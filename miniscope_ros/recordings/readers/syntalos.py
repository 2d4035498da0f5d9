# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Recordings of Syntalos, read with edlio and PyAV."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timezone
import importlib
import math
from pathlib import Path
import struct
from typing import Any

from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.readers.table import Table
from miniscope_ros.recordings.readers.timed_video import (
    orientation_rows,
    Part,
    QUATERNION,
    Rows,
    Tables,
    TimedVideo,
)
from miniscope_ros.recordings.readers.video import Decoder, Image
import numpy as np
from numpy.typing import NDArray

_MANIFEST = 'manifest.toml'
_VIDEOS = ('.mkv', '.avi', '.mp4')
_ROW_TIME = 'Time [ms]'
_CONTROL_LOG = ('Time', 'ID', 'Display Value', 'Device Value')
# Some versions write microseconds into the column named milliseconds.
_SURELY_MICROSECONDS = 30


def recognise(path: Path) -> bool:
    """Return whether it is a folder of the Experiment Directory Layout."""
    return (path / _MANIFEST).is_file()


def read(path: Path) -> TimedVideo:
    """
    Open the Miniscope's video of a recording, or the one video below the path.

    DeviceError if it cannot be played or a library is missing. The start is known to a second:
    it is taken from the creation of the time map, which is written from the first frame on; the
    folder's own time of creation is when the recording ended.
    """
    edlio = _library('edlio')
    _library('av')
    root = path
    while recognise(root.parent):
        root = root.parent
    try:
        datasets = _datasets(edlio, root)
        video = _choose(path, [dataset for dataset in datasets
                               if Path(dataset.path).is_relative_to(path)])
        return _read(edlio, video, datasets)
    except (edlio.EDLError, KeyError, OSError, TypeError, ValueError,
            struct.error) as error:
        raise DeviceError(f'{path}: not a readable Syntalos recording: {error!r}') from error


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DeviceError(f'playing a Syntalos recording needs the Python package {name}, which '
                          f'is not there ({error}): pip install edlio av') from error


def _datasets(edlio: Any, root: Path) -> list[Any]:
    """
    Return all datasets below a folder.

    Each is loaded by itself: loading the whole tree renames its folders to themselves, which
    fails on a read-only disk.
    """
    toml = importlib.import_module('tomlkit')  # comes with edlio
    manifests = sorted(root.rglob(_MANIFEST))
    return [edlio.load(str(manifest.parent)) for manifest in manifests
            if toml.parse(manifest.read_text(encoding='utf-8')).get('type') == 'dataset']


def _choose(path: Path, datasets: list[Any]) -> Any:
    """Return the one video, or the one of several that is a Miniscope's by its name."""
    videos = [dataset for dataset in datasets
              if (dataset.data.media_type or '').startswith('video/')]
    if not videos:
        raise DeviceError(f'{path}: no video in this Syntalos recording')
    named = [video for video in videos
             if 'miniscope' in video.name.lower() and 'display' not in video.name.lower()]
    for choice in (videos, named):
        if len(choice) == 1:
            return choice[0]
    raise DeviceError(f'{path} holds several videos; name one of: '
                      + ', '.join(video.path for video in videos))


def _read(edlio: Any, video: Any, datasets: list[Any]) -> TimedVideo:
    warnings: list[str] = []
    tables = _tables(datasets)
    folder = Path(video.path)
    files = _files(video, warnings)
    attributes = video.attributes.get('video', {})
    maps = [time_map for data in video.aux_data if data.file_type == 'tsync'
            for time_map in data.read()]
    start_epoch_ns = None
    if len(maps) == len(files):
        times = [_times_ms(edlio, time_map) for time_map in maps]
        if times[0].size:
            created = maps[0].time_created.replace(tzinfo=timezone.utc).timestamp()
            start_epoch_ns = round(created * 1e9) - round(times[0][0] * 1e6)
    else:
        warnings.append(f'{folder}: {len(maps)} time maps (.tsync) for {len(files)} videos; the '
                        "times in the video, which are the set rate's, are used instead")
        times = [_times_in_video(file) for file in files]
    times_ms = np.concatenate(times)
    parts = [Part(file, len(own)) for file, own in zip(files, times, strict=True)]
    described = Tables(
        times_ms=times_ms,
        orientation=_orientation(folder, tables, times_ms, warnings),
        frame_rate=float(attributes.get('framerate', math.nan)),
        start_epoch_ns=start_epoch_ns,
        controls=_controls(tables),
        warnings=warnings)
    return TimedVideo('Syntalos', folder, parts, _decoder(files[0], attributes), described)


def _files(video: Any, warnings: list[str]) -> list[Path]:
    """Return the video's files; where a single one was renamed, the one that is there."""
    files = [Path(file) for file in video.data.part_paths()]
    missing = [file for file in files if not file.exists()]
    if not missing and files:
        return files
    there = sorted(file for file in Path(video.path).iterdir() if file.suffix in _VIDEOS)
    names = ', '.join(file.name for file in missing)
    if len(files) == 1 and len(there) == 1:
        warnings.append(f'{video.path}: {names} is missing; {there[0].name}, the only video '
                        'there, is played instead')
        return there
    raise DeviceError(f'{video.path}: the manifest names videos that are missing: {names}')


def _times_ms(edlio: Any, time_map: Any) -> NDArray[np.float64]:
    """Return a map's times, one per frame; its frame numbers are consecutive in any case."""
    frame_unit, time_unit = time_map.time_units
    if frame_unit != edlio.ureg.dimensionless:
        raise ValueError(f'the time map counts {frame_unit}, not frames')
    milliseconds = edlio.ureg.Quantity(1, time_unit).to('millisecond').magnitude
    return np.asarray(time_map.times[:, 1] * milliseconds, dtype=np.float64)


def _times_in_video(path: Path) -> NDArray[np.float64]:
    """Return the display times that the container has for its images [ms]."""
    av = _library('av')
    with av.open(str(path)) as container:
        stamps = [float(packet.pts * packet.time_base) * 1e3
                  for packet in container.demux(video=0) if packet.pts is not None]
    return np.sort(np.array(stamps, dtype=np.float64))


def _decoder(path: Path, attributes: Any) -> Decoder:
    """Choose grey or BGR by what was recorded, else by the video's own format."""
    av = _library('av')
    with av.open(str(path)) as container:
        grey = container.streams.video[0].codec_context.pix_fmt.startswith('gray')
    pixels = 'gray' if not attributes.get('colored', not grey) else 'bgr24'

    def decode(path: Path) -> Generator[Image, None, None]:
        try:
            with av.open(str(path)) as container:
                for frame in container.decode(video=0):
                    yield frame.to_ndarray(format=pixels)
        except av.error.FFmpegError:
            return

    return decode


def _tables(datasets: list[Any]) -> list[Table]:
    files = [Path(file) for dataset in datasets for file in dataset.data.part_paths()]
    return [Table(file, ';') for file in files
            if file.suffix == '.csv' and file.is_file() and file.stat().st_size]


def _orientation(folder: Path, tables: list[Table], times_ms: NDArray[np.float64],
                 warnings: list[str]) -> Rows | None:
    tables = [table for table in tables if all(map(table.has, (_ROW_TIME, *QUATERNION)))]
    if len(tables) > 1:
        names = ', '.join(str(table.path) for table in tables)
        warnings.append(f'{folder}: several orientation tables, none is played: {names}')
    if len(tables) != 1:
        return None
    rows = orientation_rows(tables[0], _ROW_TIME)
    warnings.extend(tables[0].warnings)
    if np.nanmax(rows.times_ms, initial=0) > _SURELY_MICROSECONDS * np.max(times_ms, initial=0):
        warnings.append(f'{tables[0].path}: the times are taken as microseconds, whatever '
                        f'"{_ROW_TIME}" says')
        rows = Rows(rows.times_ms / 1000, rows.quaternions)
    return rows


def _controls(tables: list[Table]) -> dict[str, str]:
    """Return the first shown value of every control in the log of control changes."""
    controls: dict[str, str] = {}
    for table in tables:
        if all(map(table.has, _CONTROL_LOG)):
            for name, value in table.texts('ID', 'Display Value'):
                controls.setdefault(name, value)
    return controls
