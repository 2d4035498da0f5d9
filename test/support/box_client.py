# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A client of the virtual DAQ box of nothing but system calls."""
from __future__ import annotations

from collections.abc import Callable
import ctypes
import errno
import fcntl
import mmap
import os
import select
from typing import Any

from miniscope_ros.transports import v4l2_abi as abi
from miniscope_ros.transports import v4l2_controls as controls
import numpy as np
from numpy.typing import NDArray
import pytest
from virtual_daq import VirtualDaq
from virtual_daq.box import encode

FAST = 300.0  # frames/s
WORDS = (controls.CONTRAST, controls.GAMMA, controls.SHARPNESS)
ORIENTATION = (controls.PAN_ABSOLUTE, controls.TILT_ABSOLUTE)
SENSOR_INIT = ('50 41 09 05', '50 3D 0C', 'FE 00')

MakeRig = Callable[..., VirtualDaq]  # see conftest.py


class Client:
    """A V4L2 client of nothing but system calls."""

    def __init__(self, path: str, flags: int = os.O_NONBLOCK) -> None:
        self.fd = os.open(path, os.O_RDWR | flags)
        self.maps: list[mmap.mmap] = []
        self.buffer = abi.Buffer()

    def call(self, request: int, data: Any) -> Any:
        fcntl.ioctl(self.fd, request, data)
        return data

    def format(self, width: int, height: int) -> tuple[int, int]:
        wanted = abi.Format(type=1)
        wanted.pix = abi.PixelFormat(width=width, height=height, pixelformat=abi.PIX_FMT_YUYV)
        self.call(abi.VIDIOC_S_FMT, wanted)
        return wanted.pix.width, wanted.pix.height

    def request(self, count: int) -> int:
        return int(self.call(
            abi.VIDIOC_REQBUFS, abi.RequestBuffers(count=count, type=1, memory=1)).count)

    def queue(self, index: int) -> None:
        self.call(abi.VIDIOC_QBUF, abi.Buffer(index=index, type=1, memory=1))

    def start(self, width: int = 608, height: int = 608, count: int = 16) -> Client:
        self.format(width, height)
        for index in range(self.request(count)):
            found = self.call(abi.VIDIOC_QUERYBUF, abi.Buffer(index=index, type=1, memory=1))
            self.maps.append(mmap.mmap(
                self.fd, found.length, mmap.MAP_SHARED, mmap.PROT_READ, offset=found.offset))
            self.queue(index)
        self.call(abi.VIDIOC_STREAMON, ctypes.c_int32(1))
        return self

    def poll(self, timeout_ms: int = 2000) -> int:
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        return next((events for _, events in poller.poll(timeout_ms)), 0)

    def dequeue(self) -> abi.Buffer:
        return self.call(abi.VIDIOC_DQBUF, abi.Buffer(type=1, memory=1))

    def frame(self) -> tuple[abi.Buffer, NDArray[np.uint8]]:
        """Return the next frame's buffer and a copy of its bytes; it must come."""
        assert self.poll() == select.POLLIN
        buffer = self.dequeue()
        image = np.frombuffer(self.maps[buffer.index], np.uint8, buffer.bytesused).copy()
        self.queue(buffer.index)
        return buffer, image

    def write(self, control: int, value: int) -> None:
        self.call(abi.VIDIOC_S_CTRL, abi.Control(control, value))

    def read(self, *ids: int) -> list[int]:
        group = (abi.ExtControl * len(ids))(*(abi.ExtControl(id=one) for one in ids))
        self.call(abi.VIDIOC_G_EXT_CTRLS, abi.ExtControls(count=len(ids), controls=group))
        return [one.value for one in group]

    def send(self, *packets: str) -> None:
        """Send packets without the pauses that the real box needs."""
        for packet in packets:
            words = np.frombuffer(encode(bytes.fromhex(packet)), '<u2')
            for control, word in zip(WORDS, words, strict=True):
                self.write(control, int(word))

    def unit(self, selector: int, query: int, data: bytes, unit: int = 3) -> bytes:
        content = (ctypes.c_ubyte * len(data)).from_buffer_copy(data)
        self.call(abi.UVCIOC_CTRL_QUERY, abi.UnitQuery(
            unit=unit, selector=selector, query=query, size=len(data), data=content))
        return bytes(content)

    def stop(self) -> None:
        self.call(abi.VIDIOC_STREAMOFF, ctypes.c_int32(1))
        for one in self.maps:
            one.close()
        self.maps.clear()
        self.request(0)

    def close(self) -> None:
        for one in self.maps:
            one.close()
        os.close(self.fd)


Connect = Callable[..., Client]


def raised(call: Callable[[], Any]) -> str:
    """Return the name of the errno that a call fails with."""
    with pytest.raises(OSError) as error:
        call()
    return errno.errorcode[error.value.errno or 0]


def turn_into_webcam(rig: VirtualDaq, port: str) -> None:
    """Give what is at a port another maker's number."""
    vendor = rig.root / 'sys/bus/usb/devices' / port / 'idVendor'
    vendor.resolve().write_text('046d\n')
