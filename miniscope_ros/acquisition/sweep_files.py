# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The files of a sweep: TIFF stacks of its pictures, and its curve as a table."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
import shutil
from typing import Any

from miniscope_ros.acquisition.sweep_frames import SweepStep
from miniscope_ros.acquisition.sweep_plan import SweepPlan
from miniscope_ros.daq.control import show
from miniscope_ros.errors import ConfigurationError, DeviceError
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter, IMAGEDESCRIPTION, ImageFileDirectory_v2

_LARGEST = 2**32 - 2**24  # [bytes] a place in a TIFF file has 32 bits
_COLUMNS = ('sharpness', 'brightness', 'first_capture_index', 'last_capture_index')


class SweepFiles:
    """
    Writes what a sweep takes, step by step.

    NAME_mean.tif has one page of float32 for each value, NAME_VALUE.tif every frame of a value as
    uint8 where all are kept, NAME.csv the curve. The description of a page is JSON: control,
    value and capture indices. A file has its name only once it is complete; until then, and if it
    cannot be completed, it is NAME.part.
    """

    def __init__(self, folder: Path, name: str, plan: SweepPlan, frame_bytes: int) -> None:
        """
        Begin the files; frame_bytes is the size of one frame.

        Raises ConfigurationError for more frames than fit into a file or onto the disk,
        DeviceError where the folder cannot be written.
        """
        self._plan = plan
        self._folder, self._name = folder, name
        self._rows: list[tuple[float, ...]] = []
        self._complete: list[Path] = []  # files of frames
        self._mean = folder / f'{name}_mean.tif'
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _check_sizes(folder, plan, frame_bytes)
            self._means = AppendingTiffWriter(str(_part(self._mean)), new=True)
        except OSError as error:
            raise _unwritable(folder, error) from error

    def add(self, step: SweepStep) -> None:
        """Write what was taken under one value; DeviceError where that is impossible."""
        about = json.dumps({'control': self._plan.control, 'value': step.value, **{
            name: getattr(step, name) for name in _COLUMNS}})
        try:
            if step.images:
                self._complete.append(self._write_frames(step, about))
            _append(self._means, step.mean_image, about)
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        self._rows.append((step.value, *(getattr(step, name) for name in _COLUMNS)))

    def close(self) -> list[Path]:
        """
        End the files and return those that are complete and hold something.

        Raises DeviceError where one of them cannot be written; the others are complete then.
        """
        failures: list[OSError] = []
        for finish in (self._finish_table, self._finish_means):
            try:
                finish()
            except OSError as error:
                failures.append(error)
        if failures:
            raise _unwritable(self._folder, failures[0]) from failures[0]
        return self._complete

    def _write_frames(self, step: SweepStep, about: str) -> Path:
        """Write every frame of a value into its own file: each page takes longer than the last."""
        path = self._folder / f'{self._name}_{show(step.value)}.tif'
        with AppendingTiffWriter(str(_part(path)), new=True) as writer:
            for image in step.images:
                _append(writer, image, about)
        os.replace(_part(path), path)
        return path

    def _finish_table(self) -> None:
        if not self._rows:
            return
        table = self._folder / f'{self._name}.csv'
        with open(_part(table), 'w', newline='') as file:
            writer = csv.writer(file)
            writer.writerow((self._plan.control, *_COLUMNS))
            writer.writerows(self._rows)
        os.replace(_part(table), table)
        self._complete.append(table)

    def _finish_means(self) -> None:
        self._means.close()
        if self._rows:
            os.replace(_part(self._mean), self._mean)
            self._complete.insert(0, self._mean)
        else:
            _part(self._mean).unlink(missing_ok=True)


def _check_sizes(folder: Path, plan: SweepPlan, frame_bytes: int) -> None:
    """Raise ConfigurationError where the files would be too large."""
    means = 4 * frame_bytes * len(plan.values)
    if means > _LARGEST:
        raise ConfigurationError(
            f'the file of mean images would have {means / 1e9:.1f} GB, and TIFF ends at '
            f'{_LARGEST / 1e9:.1f} GB: take fewer values')
    frames = frame_bytes * plan.frames * len(plan.values) if plan.keep_all else 0
    free = shutil.disk_usage(folder).free
    if means + frames > free:
        raise ConfigurationError(
            f'the files would have {(means + frames) / 1e9:.1f} GB, and only {free / 1e9:.1f} GB '
            f'are free in {folder}: take fewer values or frames')


def _append(writer: AppendingTiffWriter, image: NDArray[Any], about: str) -> None:
    """Write a page with a description."""
    tags = ImageFileDirectory_v2()
    tags[IMAGEDESCRIPTION] = about
    Image.fromarray(image).save(writer, format='TIFF', tiffinfo=tags)
    writer.newFrame()


def _part(path: Path) -> Path:
    return path.with_name(f'{path.name}.part')


def _unwritable(path: Path, error: OSError) -> DeviceError:
    return DeviceError(f'{path} cannot be written: {error.strerror or error}')
