# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Recordings of Syntalos, read with edlio and PyAV."""

from __future__ import annotations

from collections.abc import Generator
import importlib
import math
from pathlib import Path
import struct
from typing import Any

from miniscope_ros.errors import DeviceError
from miniscope_ros.installing import pip_install
from miniscope_ros.recordings.readers.table import Table
from miniscope_ros.recordings.readers.time_map import read_time_map, TimeMap
from miniscope_ros.recordings.readers.timed_video import (
    orientation_rows,
    Part,
    QUATERNION,
    Rows,
    Tables,
    TimedVideo,
)
from miniscope_ros.recordings.readers.video import check_size, Decoder, Image
from miniscope_ros.regular import check_regular, read_text
import numpy as np
from numpy.typing import NDArray

_MANIFEST = 'manifest.toml'
_ATTRIBUTES = 'attributes.toml'
_LARGEST_MANIFEST = 1 << 22  # bytes
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
    warnings: list[str] = []
    try:
        datasets = _datasets(edlio, root, warnings)
        video = _choose(path, [dataset for dataset in datasets
                               if Path(dataset.path).is_relative_to(path)], warnings)
        return _read(video, datasets, warnings)
    except (edlio.EDLError, KeyError, OSError, TypeError, ValueError, RecursionError,
            struct.error) as error:
        raise DeviceError(f'{path}: not a readable Syntalos recording: {error!r}') from error


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DeviceError(f'playing a Syntalos recording needs the Python package {name}, which '
                          f'is not there ({error}): {pip_install("edlio", "av")}') from error


def _datasets(edlio: Any, root: Path, warnings: list[str]) -> list[Any]:
    """
    Return all datasets below a folder; one that cannot be read costs itself.

    Each is loaded by itself: loading the whole tree renames its folders to themselves, which
    fails on a read-only disk.
    """
    toml = importlib.import_module('tomlkit')  # comes with edlio
    datasets = []
    for manifest in sorted(root.rglob(_MANIFEST)):
        try:
            content = toml.parse(read_text(manifest, _LARGEST_MANIFEST))
            if content.get('type') != 'dataset':
                continue
            attributes = manifest.with_name(_ATTRIBUTES)
            if attributes.exists():
                read_text(attributes, _LARGEST_MANIFEST)
            datasets.append(edlio.load(str(manifest.parent)))
        except (edlio.EDLError, AttributeError, KeyError, OSError, TypeError, ValueError,
                RecursionError) as error:
            warnings.append(f'{manifest.parent} cannot be read: {error!r}')
    return datasets


def _choose(path: Path, datasets: list[Any], warnings: list[str]) -> Any:
    """Return the one video, or the one of several that is a Miniscope's by its name."""
    videos = [dataset for dataset in datasets
              if str(dataset.data.media_type or '').startswith('video/')]
    if not videos:
        if warnings:
            raise ValueError('; '.join(warnings))
        raise DeviceError(f'{path}: no video in this Syntalos recording')
    named = [video for video in videos
             if 'miniscope' in video.name.lower() and 'display' not in video.name.lower()]
    for choice in (videos, named):
        if len(choice) == 1:
            return choice[0]
    raise DeviceError(f'{path} holds several videos; name one of: '
                      + ', '.join(video.path for video in videos))


def _read(video: Any, datasets: list[Any], warnings: list[str]) -> TimedVideo:
    tables = _tables(datasets, warnings)
    folder = Path(video.path)
    files = _files(video, warnings)
    attributes = _attributes(video, warnings)
    maps = [read_time_map(Path(file), warnings) for data in video.aux_data
            if data.file_type == 'tsync' for file in data.part_paths()]
    if len(maps) != len(files):
        warnings.append(f'{folder}: {len(maps)} time maps (.tsync) for {len(files)} videos; the '
                        "times in the video, which are the set rate's, are used instead")
        maps = [None] * len(files)
    else:
        warnings += [f"{file}: the times in the video, which are the set rate's, are used"
                     for file, known in zip(files, maps, strict=True) if known is None]
    times = _all_times(files, maps)
    start_epoch_ns = next(
        (known.created_ns - round(known.times_ms[0] * 1e6) for known in maps
         if known is not None and known.times_ms.size), None)
    times_ms = np.concatenate(times)
    parts = [Part(file, len(own)) for file, own in zip(files, times, strict=True)]
    described = Tables(
        times_ms=times_ms,
        orientation=_orientation(folder, tables, times_ms, warnings),
        frame_rate=_frame_rate(folder, attributes, warnings),
        start_epoch_ns=start_epoch_ns,
        controls=_controls(tables, warnings),
        warnings=warnings)
    return TimedVideo('Syntalos', folder, parts, _decoder(files, attributes), described)


def _all_times(files: list[Path], maps: list[TimeMap | None]) -> list[NDArray[np.float64]]:
    """Return the times of each file's frames [ms]; without a map those that the video has."""
    times: list[NDArray[np.float64]] = []
    end = 0.0
    for file, known in zip(files, maps, strict=True):
        own = known.times_ms if known is not None else _times_in_video(file) + end
        times.append(own)
        if own.size:
            step = float(np.median(np.diff(own))) if own.size > 1 else 0.0
            end = float(own[-1]) + step
    return times


def _attributes(video: Any, warnings: list[str]) -> dict[str, Any]:
    attributes = video.attributes.get('video', {})
    if isinstance(attributes, dict):
        return attributes
    warnings.append(f'{video.path}/{_ATTRIBUTES}: video cannot be {attributes!r}; it is left out')
    return {}


def _frame_rate(folder: Path, attributes: dict[str, Any], warnings: list[str]) -> float:
    """Return the set rate [frames/s]; NaN where it is unknown."""
    value = attributes.get('framerate', math.nan)
    try:
        rate = float(value)
    except (TypeError, ValueError):
        rate = 0.0
    if math.isnan(rate) or 0 < rate < 1e6:
        return rate
    warnings.append(f'{folder / _ATTRIBUTES}: video.framerate cannot be {value!r}; it is left '
                    'out')
    return math.nan


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


def _times_in_video(path: Path) -> NDArray[np.float64]:
    """Return the display times that the container has for its images [ms]."""
    av = _library('av')
    try:
        check_regular(path)
        with av.open(str(path)) as container:
            stamps = [float(packet.pts * packet.time_base) * 1e3
                      for packet in container.demux(video=0) if packet.pts is not None]
    except (av.error.FFmpegError, OSError, IndexError):
        return np.empty(0)
    return np.sort(np.array(stamps, dtype=np.float64))


def _decoder(files: list[Path], attributes: dict[str, Any]) -> Decoder:
    """Choose grey or BGR by what was recorded, else by the video's own format."""
    av = _library('av')
    grey = next((own for own in map(_is_grey, files) if own is not None), True)
    coloured = attributes.get('colored', not grey)
    pixels = 'bgr24' if coloured else 'gray'

    def decode(path: Path) -> Generator[Image, None, None]:
        try:
            check_regular(path)
            with av.open(str(path)) as container:
                context = container.streams.video[0].codec_context
                check_size(path, context.width, context.height)
                for frame in container.decode(video=0):
                    yield frame.to_ndarray(format=pixels)
        except (av.error.FFmpegError, OSError, IndexError):
            return

    return decode


def _is_grey(path: Path) -> bool | None:
    """Return whether a video has one channel; None where it cannot be opened."""
    av = _library('av')
    try:
        check_regular(path)
        with av.open(str(path)) as container:
            return bool(container.streams.video[0].codec_context.pix_fmt.startswith('gray'))
    except (av.error.FFmpegError, OSError, IndexError, AttributeError):
        return None


def _tables(datasets: list[Any], warnings: list[str]) -> list[Table]:
    tables = []
    for file in (Path(file) for dataset in datasets for file in dataset.data.part_paths()):
        if file.suffix == '.csv' and file.is_file() and file.stat().st_size:
            try:
                tables.append(Table(file, ';'))
            except DeviceError as error:
                warnings.append(str(error))
    return tables


def _orientation(folder: Path, tables: list[Table], times_ms: NDArray[np.float64],
                 warnings: list[str]) -> Rows | None:
    tables = [table for table in tables if table.has(_ROW_TIME, *QUATERNION)]
    if len(tables) > 1:
        names = ', '.join(str(table.path) for table in tables)
        warnings.append(f'{folder}: several orientation tables, none is played: {names}')
    if len(tables) != 1:
        return None
    try:
        rows = orientation_rows(tables[0], _ROW_TIME)
    except DeviceError as error:
        warnings.append(f'the orientation is not played: {error}')
        return None
    warnings.extend(tables[0].warnings)
    if _middle(rows.times_ms) > _SURELY_MICROSECONDS * _middle(times_ms) > 0:
        warnings.append(f'{tables[0].path}: the times are taken as microseconds, whatever '
                        f'"{_ROW_TIME}" says')
        rows = Rows(rows.times_ms / 1000, rows.quaternions)
    return rows


def _middle(times: NDArray[np.float64]) -> float:
    """Return the median, on which single wrong times have no influence."""
    known = times[np.isfinite(times)]
    return float(np.median(known)) if known.size else 0.0


def _controls(tables: list[Table], warnings: list[str]) -> dict[str, str]:
    """Return the first shown value of every control in the log of control changes."""
    controls: dict[str, str] = {}
    for table in tables:
        if table.has(*_CONTROL_LOG):
            try:
                for name, value in table.texts('ID', 'Display Value'):
                    controls.setdefault(name, value)
            except DeviceError as error:
                warnings.append(str(error))
    return controls
