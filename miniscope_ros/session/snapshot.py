# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What belongs to a recording besides its data: programs, computer, types of scope."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
import math
import os
import platform
from typing import Any

from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.errors import MiniscopeError

_MODULES = ('miniscope_ros', 'miniscope_msgs', 'rclpy', 'mcap', 'numpy', 'opencv-python-headless')


def versions() -> dict[str, str]:
    """Return the versions of what takes part."""
    found = {'python': platform.python_version(), 'system': platform.platform(),
             'host': platform.node(), 'ros_distro': os.environ.get('ROS_DISTRO', ''),
             'rmw': os.environ.get('RMW_IMPLEMENTATION', '')}
    for name in _MODULES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def catalogue_entries(parameters: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the entries of the types of scope that nodes with these parameters use."""
    entries: dict[str, Any] = {}
    for values in parameters:
        name = values.get('device_type')
        if not isinstance(name, str) or values.get('source') not in ('daq', 'simulated'):
            continue
        try:
            catalogue = load_catalogue(values.get('device_catalog') or None)
        except (MiniscopeError, OSError):
            continue
        if name in catalogue:
            entries[name] = as_json(asdict(catalogue[name]))
    return entries


def as_json(value: Any) -> Any:
    """Return a value of what JSON has: texts, numbers, lists and mappings."""
    if isinstance(value, Mapping):
        return {str(key): as_json(part) for key, part in value.items()}
    if isinstance(value, (bytes, bytearray)):
        return value.hex(' ')
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Iterable):
        return [as_json(part) for part in value]
    return str(value)
