# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""An opened USB device through libusb: taken from its kernel driver, and given back to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import contextlib
import errno
import os
import weakref

from miniscope_ros.errors import DeviceError, DeviceLost
from miniscope_ros.transports import device_node, usb
import usb1

HOW_TO_INSTALL = 'sudo apt install libusb-1.0-0'

_ERRNO = {
    usb1.ERROR_ACCESS: errno.EACCES,
    usb1.ERROR_BUSY: errno.EBUSY,
    usb1.ERROR_NO_DEVICE: errno.ENODEV,
    usb1.ERROR_NOT_FOUND: errno.ENODEV,
    usb1.ERROR_TIMEOUT: errno.ETIMEDOUT,
    usb1.ERROR_PIPE: errno.EPIPE,
    usb1.ERROR_NO_MEM: errno.ENOMEM,
}


class UsbDevice:
    """
    A USB device whose interfaces belong to this process until it is closed.

    At the end of the program it is closed by itself. After a kill the kernel frees the
    interfaces, but no driver has them: usb.give_to_driver cures that.
    """

    def __init__(self, port: str, interfaces: Sequence[int]) -> None:
        """Open the device at a USB port, as 2-1.3, and claim interfaces of it; DeviceError."""
        self.port = port
        self.path = usb.node_path(port)
        self._interfaces = tuple(interfaces)
        self._claimed: list[int] = []
        # Called before closing, at the end of the program, too: what uses the device.
        self.users: list[Callable[[], None]] = []
        try:
            self.context = usb1.USBContext().open()
        except OSError as error:
            raise DeviceError(f'libusb-1.0 is missing: {HOW_TO_INSTALL}') from error
        try:
            self.handle = self._open()
        except BaseException:
            self.context.close()
            raise
        self._finalizer = weakref.finalize(
            self, _give_back, self.context, self.handle, self._claimed, self.users)
        try:
            self._claim()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the interfaces back to the kernel's driver and close; never fails."""
        self._finalizer()

    def explain(self, doing: str, error: usb1.USBError) -> DeviceError:
        """Return the error to raise when libusb refuses something."""
        return explain(self.path, doing, error)

    def _open(self) -> usb1.USBDeviceHandle:
        for device in self.context.getDeviceIterator(skip_on_error=True):
            ports = '.'.join(map(str, device.getPortNumberList()))
            if f'{device.getBusNumber()}-{ports}' == self.port:
                try:
                    return device.open()
                except usb1.USBError as error:
                    raise self.explain('open it', error) from error
        raise DeviceLost(f'no device at USB port {self.port} any more: plug it in again')

    def _claim(self) -> None:
        try:
            # From its driver to us in one step, so that no other program takes it in between, and
            # back to the driver when it is released.
            self.handle.setAutoDetachKernelDriver(True)
            for interface in self._interfaces:
                self.handle.claimInterface(interface)
                self._claimed.append(interface)
        except usb1.USBError as error:
            raise self.explain('claim its interfaces', error) from error


def explain(path: str, doing: str, error: usb1.USBError) -> DeviceError:
    """Return the error to raise when libusb refuses something on a USB device node."""
    number = _ERRNO.get(error.value, errno.EIO)
    if number == errno.EACCES:
        return DeviceError(
            f'no permission to open {path}: install the udev rule (in the folder of '
            f'miniscope_ros: {device_node.INSTALL_RULE}), then plug the box in again')
    return device_node.explain(path, doing, OSError(number, os.strerror(number)))


def _give_back(context: usb1.USBContext, handle: usb1.USBDeviceHandle,
               claimed: list[int], users: list[Callable[[], None]]) -> None:
    for stop in users:
        stop()
    # In this order: uvcvideo takes the streaming interface when it is given the first one.
    for interface in reversed(claimed):
        with contextlib.suppress(usb1.USBError):
            handle.releaseInterface(interface)
    with contextlib.suppress(usb1.USBError):
        handle.close()
    context.close()
