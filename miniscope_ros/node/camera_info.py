# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Camera calibrations in the files of camera_calibration and camera_info_manager."""

from __future__ import annotations

from collections.abc import Sequence
import math
import os
from pathlib import Path
import reprlib
from typing import Any

from ament_index_python.packages import get_package_share_directory, PackageNotFoundError
from miniscope_ros.errors import DeviceError
from miniscope_ros.yaml_text import read_yaml
from sensor_msgs.msg import CameraInfo
import yaml

_MATRICES = {
    'camera_matrix': ('k', 3, 3),
    'rectification_matrix': ('r', 3, 3),
    'projection_matrix': ('p', 3, 4),
}
_LARGEST_FILE = 65_536  # [characters]; a calibration has about 1000
_LARGEST_SIDE = 65_535  # [pixels]
_MOST_COEFFICIENTS = 100  # of the distortion; the largest model of OpenCV has 14
_FAULTS = (  # what the conversions raise for content that is no calibration
    LookupError, TypeError, ValueError, ArithmeticError, AssertionError)


def load_camera_info(url: str) -> CameraInfo:
    """
    Return the calibration in a YAML file: a path, file:// or package:// URL; '' is uncalibrated.

    Raises DeviceError, naming file and fault, for one that cannot be read.
    """
    message = CameraInfo()
    if not url:
        return message
    path = calibration_path(url)
    try:
        data = read_yaml(_read(path))
        message.width = _side(data, 'image_width')
        message.height = _side(data, 'image_height')
        message.distortion_model = _text(data, 'distortion_model')
        message.d = _numbers(data['distortion_coefficients']['data'])
        for key, (name, rows, columns) in _MATRICES.items():
            setattr(message, name, _matrix(data, key, rows * columns))
    except OSError as error:
        raise DeviceError(
            f'camera_info_url {url}: {path} cannot be read: {error.strerror}') from error
    except _FAULTS as error:
        raise DeviceError(
            f'camera_info_url {url}: {path} is no calibration of camera_calibration: '
            f'{type(error).__name__} {" ".join(str(error).split())}') from error
    if problem := why_unusable(message):
        raise DeviceError(
            f'camera_info_url {url}: {path} is no calibration of camera_calibration: {problem}')
    return message


def fit_camera_info(message: CameraInfo, width: int, height: int) -> tuple[CameraInfo, str]:
    """
    Return the camera_info to publish beside images of a size [pixels], and a warning or ''.

    A calibration of another size would be false for these images, so they get none.
    """
    if (message.width, message.height) == (width, height):
        return message, ''
    warning = '' if not message.width else (
        f'the calibration of camera_info_url is for images of {message.width}x{message.height}, '
        f'these are {width}x{height}: camera_info is published uncalibrated; calibrate for this '
        "size, or set camera_info_url to ''")
    return CameraInfo(width=width, height=height), warning


def why_unusable(message: CameraInfo) -> str:
    """Return what is wrong with the values of a calibration, or an empty text."""
    if len(message.d) > _MOST_COEFFICIENTS:
        return (f'it has {len(message.d)} distortion coefficients; at most {_MOST_COEFFICIENTS} '
                'are taken')
    if not all(map(math.isfinite, (*message.d, *message.k, *message.r, *message.p))):
        return 'it holds values that are no finite numbers'
    return ''


def save_camera_info(message: CameraInfo, path: Path, name: str) -> None:
    """Write a calibration to a file that load_camera_info reads; DeviceError if that fails."""
    data: dict[str, Any] = {
        'image_width': int(message.width),
        'image_height': int(message.height),
        'camera_name': name,
        'distortion_model': message.distortion_model,
        'distortion_coefficients': _table(message.d, 1, len(message.d)),
    }
    for key, (field, rows, columns) in _MATRICES.items():
        data[key] = _table(getattr(message, field), rows, columns)
    part = path.with_name(f'{path.name}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(yaml.safe_dump(data, sort_keys=False, default_flow_style=None))
        os.replace(part, path)
    except OSError as error:
        raise DeviceError(
            f'the calibration cannot be written to {path}: {error.strerror}') from error


def calibration_path(url: str) -> Path:
    """Return the file that a path, file:// or package:// URL stands for; DeviceError."""
    if url.startswith('package://'):
        package, _, rest = url.removeprefix('package://').partition('/')
        try:
            return Path(get_package_share_directory(package)) / rest
        except (PackageNotFoundError, ValueError) as error:
            raise DeviceError(f'camera_info_url {url}: no package {package}') from error
    return Path(url.removeprefix('file://')).expanduser()


def _read(path: Path) -> str:
    """Return a file's text; a file without end, or a fifo, holds nobody up."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, encoding='utf-8') as file:
        content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ValueError(f'it is longer than {_LARGEST_FILE} characters')
    return content


def _side(data: dict[str, Any], key: str) -> int:
    value = data[key]
    if type(value) is not int or not 1 <= value <= _LARGEST_SIDE:
        raise ValueError(
            f'{key} is {reprlib.repr(value)}; it has to be 1 to {_LARGEST_SIDE}')
    return int(value)


def _text(data: dict[str, Any], key: str) -> str:
    value = data[key]
    # What cannot be printed can mostly not be published, either.
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f'{key} is {reprlib.repr(value)}; it has to be a text')
    return value


def _matrix(data: dict[str, Any], key: str, length: int) -> list[float]:
    values = _numbers(data[key]['data'])
    if len(values) != length:
        raise ValueError(f'{key} has {len(values)} values instead of {length}')
    return values


def _numbers(values: Sequence[Any]) -> list[float]:
    return [float(value) for value in values]


def _table(values: Sequence[float], rows: int, columns: int) -> dict[str, Any]:
    return {'rows': rows, 'cols': columns, 'data': [float(value) for value in values]}
