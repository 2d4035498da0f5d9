# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The DAQ box through libusb, without a kernel driver: UVC in user space.

The kernel's uvcvideo answers reads of controls from a cache. Here every read asks the box.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
import contextlib
import errno
import fcntl
import math
import os
import time

from miniscope_ros.errors import DeviceError, DeviceLost, StreamBroken
from miniscope_ros.transports import device_node, usb, uvc
from miniscope_ros.transports import v4l2_abi as abi
from miniscope_ros.transports.transport import Buffer
from miniscope_ros.transports.usb_device import UsbDevice
from miniscope_ros.transports.usb_ring import TransferRing, USBFS_MEMORY
from miniscope_ros.transports.uvc_payloads import Frame, FrameAssembler, StartEstimator
from miniscope_ros.transports.uvc_requests import UvcRequests
import usb1

_LONGEST_WAIT_S = 1.0
_BYTES_PER_PIXEL = 2
_HEADER_BYTES = 12  # header of a payload (firmware 1694a6f)


class UsbTransport:
    """
    One DAQ box at a USB port: raw YUYV frames in, control words out.

    Frames come in order, the oldest first. Their stamps are the arrival of the first payload on
    CLOCK_MONOTONIC, estimated from the arrivals of all payloads of the frame.
    """

    kind = 'usb'
    fresh_reads = True

    def __init__(self, port: str, video_path: str = '') -> None:
        """Name the USB port, as 2-1.3, and the video node that uvcvideo made, if there is one."""
        self.path = port
        self.location = port
        self.card = ''
        self._video_path = video_path
        self._camera = uvc.Camera()
        self._device: UsbDevice | None = None
        self._ring: TransferRing | None = None
        self._probe = b''
        self._frame_bytes = 0
        self._assembler = FrameAssembler(0)
        self._starts = StartEstimator()
        self._frames: deque[Frame] = deque()
        self._counted = 0  # frames of the ring that were put together
        self._lent: dict[int, Frame] = {}  # by the number of the buffer

    def open(self, width: int, height: int) -> None:
        """Take the box from its kernel driver and set the image size [px], YUYV; DeviceError."""
        self.close()
        try:
            self.path = usb.node_path(self.location)
            self._camera = uvc.parse(usb.descriptors(self.location))
            self.card = usb.attribute_at(self.location, 'product')
        except OSError as error:
            raise DeviceLost(
                f'no device at USB port {self.location} any more: plug it in again') from error
        self._check_size(width, height)
        self._check_unused(width, height)
        camera = self._camera
        self._device = UsbDevice(
            self.location, (camera.control_interface, camera.streaming_interface))
        try:
            self._negotiate(width, height)
        except BaseException:
            self.close()
            raise

    def start(self, buffers: int) -> None:
        """Start the stream; the ring has room for that many frames, as far as there is memory."""
        device = self._open_device()
        payload_bytes = int.from_bytes(self._probe[22:26], 'little')
        packet = self._camera.packet_bytes
        payloads = math.ceil(self._frame_bytes / (payload_bytes - _HEADER_BYTES))
        self._assembler = FrameAssembler(self._frame_bytes)
        self._starts = StartEstimator()
        self._frames.clear()
        self._counted = 0
        try:
            # A program that was killed may have left the stream running.
            device.handle.clearHalt(self._camera.endpoint)
            self._ring = TransferRing(
                device.context, device.handle, self._camera.endpoint & 0x0F,
                math.ceil(payload_bytes / packet) * packet, payloads, buffers)
            device.users.append(self._ring.stop)
            self._requests().set_streaming(uvc.COMMIT_CONTROL, self._probe)
        except usb1.USBErrorNoMem as error:
            raise DeviceError(
                f'{self.path}: the kernel has no memory left for USB transfers: other USB '
                f'programs use it; give it more (echo 128 | sudo tee {USBFS_MEMORY})') from error
        except usb1.USBError as error:
            self.stop()
            raise device.explain('start the stream', error) from error
        except BaseException:
            self.stop()
            raise

    def dequeue(self, timeout: float) -> Buffer | None:
        """Take the oldest received frame; None if none arrives within timeout, at most 1 s."""
        ring = self._ring
        if ring is None:
            raise DeviceLost(f'{self.path} is not open or has no stream')
        deadline = time.monotonic() + max(0.0, min(timeout, _LONGEST_WAIT_S))
        while True:
            ring.ready.clear()
            frame = self._next_frame(ring)
            if frame is not None:
                return self._lend(frame)
            if ring.broken:
                raise StreamBroken(f'the stream of {self.path} is opened again: {ring.lost}')
            if ring.lost:
                raise DeviceLost(f'the device at {self.path} has gone: {ring.lost}')
            if not ring.ready.wait(max(0.0, deadline - time.monotonic())):
                return None

    def requeue(self, buffer: Buffer) -> None:
        """Give a buffer back; its data must not be used any more."""
        frame = self._lent.pop(buffer.index, None)
        if frame is not None:
            self._assembler.give_back(frame.data)

    def waiting(self) -> bool:
        """Return whether another received frame is ready to be taken."""
        ring = self._ring
        return bool(self._frames) or (ring is not None and ring.completed > self._counted)

    def stop(self) -> None:
        """Stop the stream and free its buffers; also of a device that has gone."""
        ring, self._ring = self._ring, None
        if ring is None or self._device is None:
            return
        ring.stop()
        self._device.users.clear()
        self._lent.clear()
        self._frames.clear()
        with contextlib.suppress(usb1.USBError):
            self._device.handle.clearHalt(self._camera.endpoint)  # the box stops on this

    def close(self) -> None:
        """Stop, close and give the box back to the kernel's driver; never fails."""
        if self._device is None:
            return
        self.stop()
        self._device.close()
        self._device = None

    def write_control(self, control: int, value: int) -> None:
        """Set one V4L2 control by its id."""
        self._requests().write(control, value)

    def read_controls(self, controls: Sequence[int]) -> list[int]:
        """Read V4L2 controls by their ids from the box; those of one selector belong together."""
        return self._requests().read(controls)

    def control_range(self, control: int) -> tuple[int, int] | None:
        """Return a control's minimum and maximum; None if the device has no such control."""
        return self._requests().limits(control)

    def read_unit(self, unit: int, selector: int, size: int) -> bytes:
        """Read a control of a UVC extension unit."""
        return self._requests().read_unit(unit, selector, size)

    def write_unit(self, unit: int, selector: int, data: bytes) -> None:
        """Write a control of a UVC extension unit."""
        self._requests().write_unit(unit, selector, data)

    def find_unit(self, guid: bytes) -> int | None:
        """Return the number of the extension unit with this GUID (16 bytes as in descriptors)."""
        return self._camera.extension_units.get(guid)

    def reset_port(self) -> None:
        """Close, then reset the USB port; DeviceError names a missing permission."""
        self.close()
        usb.reset_at(self.location)

    # Frames

    def _next_frame(self, ring: TransferRing) -> Frame | None:
        while not self._frames:
            try:
                payload = ring.done.popleft()
            except IndexError:
                return None
            if payload.length < 0:
                self._assembler.tear()
            else:
                self._counted += payload.cuts + payload.ends
                self._frames.extend(self._assembler.add(
                    payload.content[:payload.length], payload.arrival_ns, payload.cuts,
                    payload.ends))
            ring.give_back(payload)
        return self._frames.popleft()

    def _lend(self, frame: Frame) -> Buffer:
        index = next(number for number in range(len(self._lent) + 1) if number not in self._lent)
        self._lent[index] = frame
        arrivals = frame.arrivals_ns
        stamp_ns = arrivals[0] if frame.damaged else self._starts.start_ns(arrivals)
        data = frame.data[:frame.used]
        data.flags.writeable = False
        return Buffer(data, frame.sequence, stamp_ns, frame.damaged, index, is_arrival=True)

    # Opening

    def _check_size(self, width: int, height: int) -> None:
        if not self._camera.endpoint or (width, height) not in self._camera.sizes:
            there = ', '.join(f'{w}x{h}' for w, h in self._camera.sizes) or 'nothing'
            raise DeviceError(
                f'{self.path} ({self.card}) does not offer {width}x{height} YUYV, only '
                f'{there}: check device_type and the firmware')

    def _check_unused(self, width: int, height: int) -> None:
        """Raise DeviceError if another program streams through the kernel's driver."""
        if not self._video_path:
            return
        try:
            fd = device_node.open_node(self._video_path)
        except DeviceError:
            return  # gone, or not ours to open: libusb says more
        wanted = abi.Format(type=abi.BUF_TYPE_VIDEO_CAPTURE)
        wanted.pix = abi.PixelFormat(
            width=width, height=height, pixelformat=abi.PIX_FMT_YUYV, field=abi.FIELD_NONE)
        try:
            fcntl.ioctl(fd, abi.VIDIOC_S_FMT, wanted)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise device_node.explain(self._video_path, 'use it', error) from error
        finally:
            os.close(fd)

    def _negotiate(self, width: int, height: int) -> None:
        format_index, frame_index, interval = self._camera.sizes[width, height]
        wanted = bytearray(uvc.PROBE_BYTES)
        wanted[0] = 1  # keep the interval
        wanted[2], wanted[3] = format_index, frame_index
        wanted[4:8] = interval.to_bytes(4, 'little')
        requests = self._requests()
        requests.set_streaming(uvc.PROBE_CONTROL, bytes(wanted))
        self._probe = requests.get_streaming(uvc.PROBE_CONTROL, uvc.PROBE_BYTES)
        self._frame_bytes = _BYTES_PER_PIXEL * width * height
        frame_bytes = int.from_bytes(self._probe[18:22], 'little')
        payload_bytes = int.from_bytes(self._probe[22:26], 'little')
        if self._probe[2:4] != bytes(wanted[2:4]) or frame_bytes != self._frame_bytes:
            raise DeviceError(
                f'{self.path} ({self.card}) has frames of {frame_bytes} bytes where '
                f'{width}x{height} YUYV needs {self._frame_bytes}: check device_type and the '
                'firmware')
        if payload_bytes <= _HEADER_BYTES:
            raise DeviceError(f'{self.path} ({self.card}) has payloads of {payload_bytes} bytes')

    def _open_device(self) -> UsbDevice:
        if self._device is None:
            raise DeviceLost(f'{self.path} is not open')
        return self._device

    def _requests(self) -> UvcRequests:
        return UvcRequests(self._open_device(), self._camera)
