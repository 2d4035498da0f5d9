# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Messages of fixed layout, serialized by struct.

rclpy takes every field out of a Python object one by one, which for a small message costs more
than sending it, and copies an image to do so. Together that is 12 % of figure 1 of the benchmark.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
import sys

import numpy as np
from numpy.typing import NDArray

# What follows the header in the .msg file, as codes of the struct module.
FRAME_INFO = 'QQIIBqqBBhddiIBI'
ORIENTATION_ROW = 'Q5d'
IMU = '37d'  # quaternion as x, y, z, w and 9 covariances, then twice a vector with 9 covariances

_ENCAPSULATION = b'\x00\x01\x00\x00' if sys.byteorder == 'little' else b'\x00\x00\x00\x00'


def packer(frame_id: str, fields: str) -> Callable[..., bytes]:
    """
    Return what serializes messages of a type, given seconds, nanoseconds and all its fields.

    The format is OMG's CDR (XCDR version 1), which aligns numbers as C does on common machines;
    Publisher.publish takes it in place of a message.
    """
    name = frame_id.encode() + b'\0'
    pack = Struct(f'@iII{len(name)}s{fields}').pack

    def serialize(sec: int, nanosec: int, *values: float | bytes) -> bytes:
        return _ENCAPSULATION + pack(sec, nanosec, len(name), name, *values)
    return serialize


def image_packer(frame_id: str, encoding: str) -> Callable[[int, int, NDArray[np.uint8]], bytes]:
    """Return what serializes images, given seconds, nanoseconds and contiguous pixels."""
    name = encoding.encode() + b'\0'
    pack = packer(frame_id, f'III{len(name)}sBII')

    def serialize(sec: int, nanosec: int, image: NDArray[np.uint8]) -> bytes:
        height, width = image.shape[:2]
        return b''.join((
            pack(sec, nanosec, height, width, len(name), name, False, image.strides[0],
                 image.nbytes), image.data))
    return serialize
