# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The virtual DAQ box behind a real kernel: a USB/IP server for the kernel's vhci_hcd.

The box and its firmware are those of virtual_daq, reached through its libusb. This process is the
cable: it turns the kernel's requests (Documentation/usb/usbip_protocol.rst) into transfers, and
answers the requests of chapter 9 of the USB specification, which a real box answers itself. The
program under test sees neither.

    python3 -m usb_device.usbip PORT        (preloaded; PORT is the box's in VIRTUAL_DAQ_ROOT)
"""
from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
import socket
import struct
import sys
from threading import Lock, Thread
import time

import usb1
from virtual_daq.descriptors import configuration, device_descriptors, UNIT_GUID

VHCI = Path('/sys/devices/platform/vhci_hcd.0')

_SUBMIT, _UNLINK, _SUBMITTED, _UNLINKED = 1, 2, 3, 4
_BASIC = struct.Struct('>IIIII')  # command, sequence number, device, direction, endpoint
_COMMAND = struct.Struct('>IiiII8s')  # flags, length, start frame, packets, interval, setup
_ANSWER = struct.Struct('>iiiii8x')  # status, length, start frame, packets, errors
_UNLINK_BODY = struct.Struct('>I24x')
_UNLINK_ANSWER = struct.Struct('>i24x')
_IN = 1
_EPROTO, _EPIPE, _ENODEV, _ETIMEDOUT, _ECONNRESET = -71, -32, -19, -110, -104
_SUPER_SPEED, _HIGH_SPEED = 5, 3
_FIRST_SUPER_PORT = 8  # the second half of vhci's ports is for USB 3

_GET_DESCRIPTOR, _SET_CONFIGURATION, _CLEAR_FEATURE = 6, 9, 1
_STRINGS = ('', 'Cypress', 'MINISCOPE')
_BOS = bytes((5, 15, 22, 0, 2, 7, 16, 2, 0, 0, 0, 0, 10, 16, 3, 0, 0x0E, 0, 3, 0, 0, 0))
_STATUS = {
    usb1.TRANSFER_COMPLETED: 0, usb1.TRANSFER_ERROR: _EPROTO, usb1.TRANSFER_STALL: _EPIPE,
    usb1.TRANSFER_NO_DEVICE: _ENODEV, usb1.TRANSFER_CANCELLED: _ECONNRESET,
    usb1.TRANSFER_TIMED_OUT: _ETIMEDOUT, usb1.TRANSFER_OVERFLOW: -75,
}


@dataclass
class Setup:
    """The eight bytes that begin a control transfer."""

    kind: int
    request: int
    value: int
    index: int
    length: int


class Cable:
    """One connection between a box and the kernel, from plugging in to unplugging."""

    def __init__(self, device: usb1.USBDevice, hub_port: int) -> None:
        """Open the box and plug it into vhci's port of that number."""
        self._device = device
        self._handle = device.open()
        self._product = f'{device.getProductID():04x}'
        for interface in (0, 1):
            if self._handle.kernelDriverActive(interface):
                self._handle.detachKernelDriver(interface)
            self._handle.claimInterface(interface)
        unit = self._product == '00f9' and _has_unit(self._handle)
        self._descriptors = device_descriptors(unit, self._product)[:18]
        self._configuration = configuration(unit, self._product == '00f9')
        self._waiting: dict[int, usb1.USBTransfer] = {}
        self._lock = Lock()
        ours, kernels = socket.socketpair()
        self._socket = ours
        self.hub_port = hub_port
        speed = _SUPER_SPEED if self._product == '00f9' else _HIGH_SPEED
        # The device number is the protocol's only; the kernel gives its own.
        (VHCI / 'attach').write_text(f'{hub_port} {kernels.fileno()} {hub_port + 1} {speed}')
        kernels.close()

    def unplug(self) -> None:
        """Take the device out."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        """Answer the kernel until the connection ends."""
        try:
            while True:
                command, number, _, direction, endpoint = _BASIC.unpack(self._take(_BASIC.size))
                body = self._take(28)
                if command == _UNLINK:
                    self._unlink(number, _UNLINK_BODY.unpack(body)[0])
                    continue
                _, length, _, _, _, setup = _COMMAND.unpack(body)
                data = self._take(length) if direction != _IN else b''
                if endpoint == 0:
                    self._control(number, Setup(*struct.unpack('<BBHHH', setup)), data)
                elif direction == _IN and endpoint == 3:
                    self._bulk(number, length)
                # The interrupt endpoint never has anything to say.
        except (EOFError, OSError):
            pass
        finally:
            self._handle.close()
            self._socket.close()

    def _take(self, size: int) -> bytes:
        data = b''
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def _answer(self, number: int, status: int, data: bytes, length: int) -> None:
        message = _BASIC.pack(_SUBMITTED, number, 0, 0, 0) + _ANSWER.pack(status, length, 0, 0, 0)
        with self._lock:
            self._socket.sendall(message + data)

    # Bulk

    def _bulk(self, number: int, length: int) -> None:
        transfer = self._handle.getTransfer()
        transfer.setBulk(usb1.ENDPOINT_IN | 3, length, self._done, number, 0)
        self._waiting[number] = transfer
        try:
            transfer.submit()
        except usb1.USBError:
            del self._waiting[number]
            self._answer(number, _ENODEV, b'', 0)

    def _done(self, transfer: usb1.USBTransfer) -> None:
        number = transfer.getUserData()
        if self._waiting.pop(number, None) is None:
            return  # unlinked
        length = transfer.getActualLength()
        with contextlib.suppress(OSError):  # unplugged
            self._answer(
                number, _STATUS[transfer.getStatus()], bytes(transfer.getBuffer()[:length]),
                length)
        transfer.doom()

    def _unlink(self, number: int, unlinked: int) -> None:
        transfer = self._waiting.pop(unlinked, None)
        status = 0
        if transfer is not None:
            status = _ECONNRESET
            transfer.doom()
            with contextlib.suppress(usb1.USBErrorNotFound):
                transfer.cancel()
        with self._lock:
            self._socket.sendall(
                _BASIC.pack(_UNLINKED, number, 0, 0, 0) + _UNLINK_ANSWER.pack(status))

    # Control

    def _control(self, number: int, setup: Setup, data: bytes) -> None:
        try:
            answer = self._standard(setup) if not setup.kind & 0x60 else self._class(setup, data)
        except usb1.USBErrorNoDevice:
            self._answer(number, _ENODEV, b'', 0)
        except usb1.USBErrorTimeout:
            self._answer(number, _ETIMEDOUT, b'', 0)
        except usb1.USBError:
            self._answer(number, _EPIPE, b'', 0)
        else:
            answer = answer[:setup.length]
            incoming = bool(setup.kind & 0x80)
            self._answer(
                number, 0, answer if incoming else b'', len(answer) if incoming else len(data))

    def _class(self, setup: Setup, data: bytes) -> bytes:
        if setup.kind & 0x80:
            return bytes(self._handle.controlRead(
                setup.kind, setup.request, setup.value, setup.index, setup.length))
        self._handle.controlWrite(setup.kind, setup.request, setup.value, setup.index, data)
        return b''

    def _standard(self, setup: Setup) -> bytes:
        if setup.request == _GET_DESCRIPTOR:
            return self._descriptor(setup.value >> 8, setup.value & 0xFF)
        if setup.request == _CLEAR_FEATURE and setup.index == 0x83:
            self._handle.clearHalt(0x83)
        if setup.request == _SET_CONFIGURATION:
            self._handle.clearHalt(0x83)
        return bytes(setup.length) if setup.kind & 0x80 else b''

    def _descriptor(self, kind: int, index: int) -> bytes:
        if kind == 1:
            return self._descriptors
        if kind == 2:
            return self._configuration
        if kind == 3 and index == 0:
            return bytes((4, 3, 9, 4))
        if kind == 3 and index < len(_STRINGS):
            text = _STRINGS[index].encode('utf-16-le')
            return bytes((2 + len(text), 3)) + text
        if kind == 15 and self._product == '00f9':
            return _BOS
        raise usb1.USBErrorPipe


def _has_unit(handle: usb1.USBDeviceHandle) -> bool:
    try:
        return len(handle.controlRead(0xA1, 0x81, 1 << 8, 3 << 8, 3)) == 3 and bool(UNIT_GUID)
    except usb1.USBError:
        return False


def find(context: usb1.USBContext, port: str) -> usb1.USBDevice | None:
    """Return the virtual box at a port of the rig."""
    for device in context.getDeviceIterator(skip_on_error=True):
        if f'{device.getBusNumber()}-{".".join(map(str, device.getPortNumberList()))}' == port:
            return device
    return None


def main() -> None:
    """Keep a box plugged in for as long as it is there; plug it in again when it comes back."""
    port, hub_port = sys.argv[1], int(sys.argv[2])
    context = usb1.USBContext().open()
    Thread(target=_handle_events, args=(context,), daemon=True).start()
    while True:
        device = find(context, port)
        if device is None:
            time.sleep(0.02)
            continue
        address = device.getDeviceAddress()
        cable = Cable(device, _FIRST_SUPER_PORT + hub_port if device.getProductID() == 0xF9
                      else hub_port)
        Thread(target=_watch, args=(context, port, address, cable), daemon=True).start()
        cable.serve()
        time.sleep(0.05)  # for the kernel to notice


def _handle_events(context: usb1.USBContext) -> None:
    while True:
        context.handleEventsTimeout(1.0)


def _watch(context: usb1.USBContext, port: str, address: int, cable: Cable) -> None:
    """Unplug when the virtual box is gone."""
    while True:
        time.sleep(0.02)
        device = find(context, port)
        if device is None or device.getDeviceAddress() != address:
            cable.unplug()
            return


if __name__ == '__main__':
    main()
