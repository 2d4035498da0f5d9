# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Reads camera calibrations as camera_calibration and camera_info_manager write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory, PackageNotFoundError
from miniscope_ros.errors import DeviceError
from sensor_msgs.msg import CameraInfo
import yaml

_MATRICES = {
    'camera_matrix': ('k', 9), 'rectification_matrix': ('r', 9), 'projection_matrix': ('p', 12)}


def load_camera_info(url: str) -> CameraInfo:
    """
    Return the calibration in a YAML file: a path, file:// or package:// URL; '' is uncalibrated.

    Raises DeviceError, naming file and fault, for one that cannot be read.
    """
    message = CameraInfo()
    if not url:
        return message
    path = _path(url)
    try:
        data = yaml.safe_load(path.read_text())
        message.width = int(data['image_width'])
        message.height = int(data['image_height'])
        message.distortion_model = str(data['distortion_model'])
        message.d = [float(value) for value in data['distortion_coefficients']['data']]
        for key, (name, length) in _MATRICES.items():
            setattr(message, name, _matrix(data, key, length))
    except OSError as error:
        raise DeviceError(
            f'camera_info_url {url}: {path} cannot be read: {error.strerror}') from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AssertionError) as error:
        raise DeviceError(
            f'camera_info_url {url}: {path} is no calibration of camera_calibration: '
            f'{type(error).__name__} {error}') from error
    return message


def _matrix(data: dict[str, Any], key: str, length: int) -> list[float]:
    values = [float(value) for value in data[key]['data']]
    if len(values) != length:
        raise ValueError(f'{key} has {len(values)} values instead of {length}')
    return values


def _path(url: str) -> Path:
    if url.startswith('package://'):
        package, _, rest = url.removeprefix('package://').partition('/')
        try:
            return Path(get_package_share_directory(package)) / rest
        except PackageNotFoundError as error:
            raise DeviceError(f'camera_info_url {url}: no package {package}') from error
    return Path(url.removeprefix('file://')).expanduser()
