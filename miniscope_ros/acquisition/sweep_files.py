# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The files of a sweep: TIFF stacks of its pictures, and its curve as a table."""

from __future__ import annotations

from collections.abc import Sequence
import csv
import json
import os
from pathlib import Path
from typing import Any

from miniscope_ros.acquisition.sweep_frames import SweepStep
from miniscope_ros.acquisition.sweep_plan import SweepPlan
from miniscope_ros.errors import ConfigurationError, DeviceError
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter, IMAGEDESCRIPTION, ImageFileDirectory_v2

_LARGEST = 2**32 - 2**24  # [bytes] a place in a TIFF file has 32 bits
_COLUMNS = ('sharpness', 'brightness', 'first_capture_index', 'last_capture_index')


class SweepFiles:
    """
    Writes what a sweep takes, step by step.

    NAME_mean.tif has one page of float32 for each value, NAME_frames.tif every frame as uint8
    where all are kept, NAME.csv the curve. The description of a page is JSON: control, value
    and capture indices. Files have their names only once they are complete.
    """

    def __init__(self, folder: Path, name: str, plan: SweepPlan, frame_bytes: int) -> None:
        """
        Begin the files; frame_bytes is the size of one frame.

        Raises ConfigurationError for more frames than a file holds, DeviceError where the folder
        cannot be written.
        """
        self._plan = plan
        self._rows: list[tuple[float, ...]] = []
        self._table = folder / f'{name}.csv'
        self._writers: dict[Path, AppendingTiffWriter] = {}
        sizes = {folder / f'{name}_mean.tif': 4 * frame_bytes * len(plan.values)}
        if plan.keep_all:
            sizes[folder / f'{name}_frames.tif'] = frame_bytes * plan.frames * len(plan.values)
        if (most := max(sizes.values())) > _LARGEST:
            raise ConfigurationError(
                f'the file would have {most / 1e9:.1f} GB, and TIFF ends at '
                f'{_LARGEST / 1e9:.1f} GB: take fewer values or frames')
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in sizes:
                self._writers[path] = AppendingTiffWriter(str(_part(path)), new=True)
        except OSError as error:
            raise _unwritable(folder, error) from error

    def add(self, step: SweepStep) -> None:
        """Write what was taken under one value; DeviceError where that is impossible."""
        about = {'control': self._plan.control, 'value': step.value, **{
            name: getattr(step, name) for name in _COLUMNS}}
        stacks: list[Sequence[NDArray[Any]]] = [[step.mean_image], step.images]
        try:
            for writer, images in zip(self._writers.values(), stacks, strict=False):
                for image in images:
                    tags = ImageFileDirectory_v2()
                    tags[IMAGEDESCRIPTION] = json.dumps(about)
                    Image.fromarray(image).save(writer, format='TIFF', tiffinfo=tags)
                    writer.newFrame()
        except OSError as error:
            raise _unwritable(self._table.parent, error) from error
        self._rows.append((step.value, *(getattr(step, name) for name in _COLUMNS)))

    def close(self) -> list[Path]:
        """
        End the files and return those that hold something.

        Raises DeviceError where they cannot be written.
        """
        writers, self._writers = self._writers, {}
        try:
            for path, writer in writers.items():
                writer.close()
                if self._rows:
                    os.replace(_part(path), path)
                else:
                    _part(path).unlink(missing_ok=True)
            if not self._rows or not writers:
                return []
            with open(_part(self._table), 'w', newline='') as file:
                table = csv.writer(file)
                table.writerow((self._plan.control, *_COLUMNS))
                table.writerows(self._rows)
            os.replace(_part(self._table), self._table)
        except OSError as error:
            raise _unwritable(self._table.parent, error) from error
        return [*writers, self._table]


def _part(path: Path) -> Path:
    return path.with_name(f'{path.name}.part')


def _unwritable(path: Path, error: OSError) -> DeviceError:
    return DeviceError(f'{path} cannot be written: {error.strerror or error}')
