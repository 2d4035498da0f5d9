# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What a camera offers: pixel formats, sizes and frame rates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import ctypes
from dataclasses import dataclass
import fcntl
import os
from typing import TypeVar

from miniscope_ros.transports import device_node
from miniscope_ros.transports import v4l2_abi as abi

_Entry = TypeVar('_Entry', bound=ctypes.Structure)

_MOST = 256  # entries of one list: a faulty driver must not make it endless


@dataclass(frozen=True)
class CameraFormat:
    """One size in one pixel format."""

    pixel_format: str  # four characters, as YUYV
    width: int  # [px]
    height: int
    frame_rates: tuple[float, ...]  # [frames/s]; empty where the camera lists none

    def __str__(self) -> str:
        """Return it in words, for lists."""
        rates = ', '.join(f'{rate:g}' for rate in self.frame_rates)
        return f'{self.pixel_format} {self.width}x{self.height}' + (
            f' at {rates} frames/s' if rates else '')


def list_formats(path: str) -> list[CameraFormat]:
    """Return the discrete sizes that a video node offers; DeviceError if it cannot be opened."""
    fd = device_node.open_node(path)
    try:
        return [
            CameraFormat(
                format_name(found.pixelformat),
                size.width, size.height, _rates(fd, found.pixelformat, size))
            for found in _entries(fd, abi.VIDIOC_ENUM_FMT, lambda index: abi.FormatDescription(
                index=index, type=abi.BUF_TYPE_VIDEO_CAPTURE))
            for size in _sizes(fd, found.pixelformat)]
    finally:
        os.close(fd)


def own_format(path: str) -> CameraFormat:
    """Return the format that a video node has now; DeviceError if it cannot be asked."""
    fd = device_node.open_node(path)
    try:
        answer = abi.Format(type=abi.BUF_TYPE_VIDEO_CAPTURE)
        fcntl.ioctl(fd, abi.VIDIOC_G_FMT, answer)
    except OSError as error:
        raise device_node.explain(path, 'ask for its format', error) from error
    finally:
        os.close(fd)
    return CameraFormat(
        format_name(answer.pix.pixelformat), answer.pix.width, answer.pix.height, ())


def format_name(pixel_format: int) -> str:
    """Return a pixel format's four characters."""
    return pixel_format.to_bytes(4, 'little').decode(errors='replace').strip()


def _sizes(fd: int, pixel_format: int) -> Iterator[abi.FrameSize]:
    for size in _entries(fd, abi.VIDIOC_ENUM_FRAMESIZES, lambda index: abi.FrameSize(
            index=index, pixel_format=pixel_format)):
        if size.type == abi.DISCRETE:
            yield size


def _rates(fd: int, pixel_format: int, size: abi.FrameSize) -> tuple[float, ...]:
    intervals = _entries(
        fd, abi.VIDIOC_ENUM_FRAMEINTERVALS, lambda index: abi.FrameInterval(
            index=index, pixel_format=pixel_format, width=size.width, height=size.height))
    return tuple(
        round(one.denominator / one.numerator, 3) for one in intervals
        if one.type == abi.DISCRETE and one.numerator)


def _entries(fd: int, request: int, make: Callable[[int], _Entry]) -> Iterator[_Entry]:
    for index in range(_MOST):
        entry = make(index)
        try:
            fcntl.ioctl(fd, request, entry)
        except OSError:  # EINVAL ends the list; a node that gives no images has none
            return
        yield entry
