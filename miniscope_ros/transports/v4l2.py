# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The DAQ box through the kernel's V4L2 interface, without a library between."""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import ctypes
import errno
import fcntl
import logging
import mmap
import os
import select
import time

from miniscope_ros.errors import DeviceError, DeviceLost, StreamBroken
from miniscope_ros.transports import device_node, usb
from miniscope_ros.transports import v4l2_abi as abi
from miniscope_ros.transports.transport import Buffer
import numpy as np
from numpy.typing import NDArray

_LONGEST_WAIT = 1.0  # [s]
_BYTES_PER_PIXEL = 2
_TRANSFER_ERRORS = 4  # the kernel's uvcvideo has 5 transfers (UVC_URBS) and loses one by each

_log = logging.getLogger(__name__)


class V4l2Transport:
    """
    One DAQ box at a /dev/video* node: raw YUYV frames in, control words out.

    Frames come in order, the oldest first. Their stamps are CLOCK_MONOTONIC in whole
    microseconds, as the kernel gives them, and None where it gives another clock's.
    """

    kind = 'v4l2'
    fresh_reads = False
    _has_fixed_size = True  # every good frame has as many bytes

    def __init__(self, path: str, location: str = '') -> None:
        """Name the device node and the USB port that it is at; opens nothing."""
        self.path = path
        self.location = location
        self.card = ''
        self._fd = -1
        self._frame_bytes = 0
        self._poll = select.poll()
        self._views: list[NDArray[np.uint8]] = []
        # One of each for all calls: the hot path allocates nothing but the Buffer.
        self._buffer = abi.Buffer(type=abi.BUF_TYPE_VIDEO_CAPTURE, memory=abi.MEMORY_MMAP)
        self._control = abi.Control()
        self._transfer_errors = 0  # in this stream
        self._in_error = False  # buffers of one failed transfer are coming back
        self._groups: dict[tuple[int, ...], abi.ExtControls] = {}

    def open(self, width: int, height: int) -> None:
        """Open the node and set the image size [px], YUYV; DeviceError if it is refused."""
        self.close()
        self._fd = device_node.open_node(self.path)
        try:
            self._check_kind()
            self._set_format(width, height)
        except BaseException:
            self.close()
            raise
        self._poll.register(self._fd, select.POLLIN)

    def start(self, buffers: int) -> None:
        """Start the stream with that many buffers, or as many as the driver grants."""
        self._transfer_errors = 0
        request = abi.RequestBuffers(
            count=buffers, type=abi.BUF_TYPE_VIDEO_CAPTURE, memory=abi.MEMORY_MMAP)
        try:
            self._call(abi.VIDIOC_REQBUFS, request, 'get buffers')
            for index in range(request.count):
                self._map(index)
            self._call(abi.VIDIOC_STREAMON, _capture_type(), 'start the stream')
        except BaseException:
            self.stop()
            raise

    def dequeue(self, timeout: float) -> Buffer | None:
        """
        Take the oldest received frame; None if none arrives within timeout, at most 1 s.

        StreamBroken after four USB transfer errors: each one costs the kernel's driver one of
        the five transfers that it keeps under way, so the stream has to be opened again.
        """
        deadline = time.monotonic() + max(0.0, min(timeout, _LONGEST_WAIT))
        while True:
            buffer = self._dequeue(max(0.0, deadline - time.monotonic()))
            if buffer is None or not self._is_no_frame(buffer):
                self._in_error = False
                return buffer
            self._note_transfer_error()
            self.requeue(buffer)

    @staticmethod
    def _is_no_frame(buffer: Buffer) -> bool:
        """Return whether a buffer came back only because a transfer failed."""
        return (buffer.damaged and not len(buffer.data) and not buffer.sequence
                and not buffer.stamp_ns)

    def _note_transfer_error(self) -> None:
        """Count a failed transfer, which returns the whole ring at once; StreamBroken in time."""
        if self._in_error:
            return
        self._in_error = True
        self._transfer_errors += 1
        if self._transfer_errors == 1:
            _log.warning('a USB transfer failed: check the USB cable and what may disturb it')
        if self._transfer_errors >= _TRANSFER_ERRORS:
            raise StreamBroken(
                f'{self._transfer_errors} USB transfer errors at {self.path}: the stream is '
                'opened again before it runs dry; check the USB cable and what may disturb it')

    def _dequeue(self, timeout: float) -> Buffer | None:
        self._check_open()
        ready = self._poll.poll(1000 * timeout)
        if not ready:
            return None
        if not ready[0][1] & select.POLLIN:
            raise DeviceLost(f'the device at {self.path} has gone or has stopped its stream')
        buffer = self._buffer
        try:
            fcntl.ioctl(self._fd, abi.VIDIOC_DQBUF, buffer)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise DeviceLost(
                f'the device at {self.path} has gone ({error.strerror})') from error
        data = self._views[buffer.index]
        damaged = bool(buffer.flags & abi.BUF_FLAG_ERROR)
        if buffer.bytesused != self._frame_bytes:
            damaged = damaged or self._has_fixed_size or not buffer.bytesused
            data = data[:buffer.bytesused]
        stamp_ns = None
        if buffer.flags & abi.BUF_FLAG_TIMESTAMP_MASK == abi.BUF_FLAG_TIMESTAMP_MONOTONIC:
            stamp = buffer.timestamp
            stamp_ns = 1_000_000_000 * stamp.seconds + 1000 * stamp.microseconds
        return Buffer(data, buffer.sequence, stamp_ns, damaged, buffer.index)

    def requeue(self, buffer: Buffer) -> None:
        """Give a buffer back to the driver; its data must not be used any more."""
        self._buffer.index = buffer.index
        self._buffer.flags = 0
        self._call(abi.VIDIOC_QBUF, self._buffer, 'give a buffer back')

    def waiting(self) -> bool:
        """Return whether another received frame is ready to be taken."""
        ready = self._poll.poll(0)
        return bool(ready) and bool(ready[0][1] & select.POLLIN)

    def stop(self) -> None:
        """Stop the stream and free its buffers; also of a device that has gone."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._fd, abi.VIDIOC_STREAMOFF, _capture_type())
        self._views.clear()  # a mapping ends with its last view
        # Without this the node mostly cannot be opened again.
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._fd, abi.VIDIOC_REQBUFS, abi.RequestBuffers(
                count=0, type=abi.BUF_TYPE_VIDEO_CAPTURE, memory=abi.MEMORY_MMAP))

    def close(self) -> None:
        """Stop, then close; never fails, also if the device has gone or is closed."""
        if self._fd < 0:
            return
        self.stop()
        self._poll = select.poll()
        with contextlib.suppress(OSError):
            os.close(self._fd)
        self._fd = -1

    def write_control(self, control: int, value: int) -> None:
        """Set one V4L2 control by its id."""
        self._control.id = control
        self._control.value = value
        self._call(abi.VIDIOC_S_CTRL, self._control, f'set control {control:#010x} to {value}')

    def read_controls(self, controls: Sequence[int]) -> list[int]:
        """Read V4L2 controls by their ids in one call; the values are signed 32 bits."""
        ids = tuple(controls)
        group = self._groups.get(ids)
        if group is None:
            group = self._groups[ids] = abi.ExtControls(
                count=len(ids),
                controls=(abi.ExtControl * len(ids))(*(abi.ExtControl(id=one) for one in ids)))
        self._call(abi.VIDIOC_G_EXT_CTRLS, group, 'read controls')
        return [group.controls[index].value for index in range(len(ids))]

    def control_range(self, control: int) -> tuple[int, int] | None:
        """Return a control's minimum and maximum; None if the device has no such control."""
        query = abi.QueryControl(id=control)
        try:
            self._ioctl(abi.VIDIOC_QUERYCTRL, query)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return None
            doing = f'ask for control {control:#010x}'
            raise device_node.explain(self.path, doing, error) from error
        if query.flags & abi.CTRL_FLAG_DISABLED:
            return None
        return query.minimum, query.maximum

    def read_unit(self, unit: int, selector: int, size: int) -> bytes:
        """Read a control of a UVC extension unit."""
        return self._query_unit(unit, selector, abi.UVC_GET_CUR, bytes(size))

    def write_unit(self, unit: int, selector: int, data: bytes) -> None:
        """Write a control of a UVC extension unit."""
        self._query_unit(unit, selector, abi.UVC_SET_CUR, data)

    def find_unit(self, guid: bytes) -> int | None:
        """Return the number of the extension unit with this GUID (16 bytes as in descriptors)."""
        return usb.find_unit(self.path, guid)

    def reset_port(self) -> None:
        """Reset the USB port, which restarts the box; DeviceError names a missing permission."""
        usb.reset(self.path)

    def _check_kind(self) -> None:
        capability = abi.Capability()
        self._call(abi.VIDIOC_QUERYCAP, capability, 'ask what it is')
        self.card = capability.card.decode(errors='replace')
        needed = abi.CAP_VIDEO_CAPTURE | abi.CAP_STREAMING
        able = capability.capabilities
        if able & abi.CAP_DEVICE_CAPS:
            able = capability.device_caps
        if able & needed != needed:
            raise DeviceError(
                f'{self.path} ({self.card}) gives no images: a box has two nodes, '
                'list_devices shows the one to use')

    def _set_format(self, width: int, height: int) -> None:
        wanted = abi.Format(type=abi.BUF_TYPE_VIDEO_CAPTURE)
        wanted.pix = abi.PixelFormat(
            width=width, height=height, pixelformat=abi.PIX_FMT_YUYV, field=abi.FIELD_NONE)
        self._call(abi.VIDIOC_S_FMT, wanted, f'set {width}x{height} YUYV')
        answer = wanted.pix
        if (answer.width, answer.height, answer.pixelformat) != (width, height, abi.PIX_FMT_YUYV):
            name = answer.pixelformat.to_bytes(4, 'little').decode(errors='replace')
            raise DeviceError(
                f'{self.path} ({self.card}) does not offer {width}x{height} YUYV, only '
                f'{answer.width}x{answer.height} {name}: check device_type and the firmware')
        self._frame_bytes = _BYTES_PER_PIXEL * width * height
        if answer.sizeimage != self._frame_bytes:
            raise DeviceError(
                f'{self.path} ({self.card}) has frames of {answer.sizeimage} bytes where '
                f'{width}x{height} YUYV needs {self._frame_bytes}: rows are padded or cut')

    def _map(self, index: int) -> None:
        buffer = self._buffer
        buffer.index = index
        buffer.flags = 0
        self._call(abi.VIDIOC_QUERYBUF, buffer, 'get buffers')
        try:
            memory = mmap.mmap(
                self._fd, buffer.length, mmap.MAP_SHARED, mmap.PROT_READ, offset=buffer.offset)
        except OSError as error:
            raise device_node.explain(self.path, 'map its buffers', error) from error
        self._views.append(np.frombuffer(memory, np.uint8, self._frame_bytes))
        self._call(abi.VIDIOC_QBUF, buffer, 'give a buffer')

    def _query_unit(self, unit: int, selector: int, query: int, data: bytes) -> bytes:
        content = (ctypes.c_ubyte * len(data)).from_buffer_copy(data)
        self._call(
            abi.UVCIOC_CTRL_QUERY,
            abi.UnitQuery(
                unit=unit, selector=selector, query=query, size=len(data), data=content),
            f'use selector {selector} of extension unit {unit}')
        return bytes(content)

    def _check_open(self) -> None:
        if self._fd < 0:
            raise DeviceLost(f'{self.path} is not open')

    def _call(self, request: int, data: ctypes.Structure | ctypes.c_int32, doing: str) -> None:
        try:
            self._ioctl(request, data)
        except OSError as error:
            raise device_node.explain(self.path, doing, error) from error

    def _ioctl(self, request: int, data: ctypes.Structure | ctypes.c_int32) -> None:
        self._check_open()
        while True:
            with contextlib.suppress(InterruptedError):
                fcntl.ioctl(self._fd, request, data)
                return


def _capture_type() -> ctypes.c_int32:
    return ctypes.c_int32(abi.BUF_TYPE_VIDEO_CAPTURE)
