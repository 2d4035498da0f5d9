# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A ring of asynchronous bulk transfers, and the thread that takes them when they are done."""

from __future__ import annotations

from collections import deque
import contextlib
from dataclasses import dataclass
import logging
from threading import Event, Thread
import time

from miniscope_ros.transports.uvc import PAYLOAD_END_OF_FRAME, PAYLOAD_FRAME_ID
import numpy as np
import usb1

_log = logging.getLogger(__name__)

_POLL_S = 0.1  # how often the thread looks whether it is to end
_END_S = 2.0  # for the transfers to be given back by the kernel when the stream ends
_ERRORS_IN_A_ROW = 8
"""Failed transfers one after the other that make a stream useless: two are one glitch."""

USBFS_MEMORY = '/sys/module/usbcore/parameters/usbfs_memory_mb'


@dataclass(slots=True)
class Payload:
    """One transfer that is done."""

    transfer: usb1.USBTransfer
    content: memoryview
    length: int  # bytes received; -1: the transfer failed
    arrival_ns: int  # CLOCK_MONOTONIC
    ends: int  # frames that it completes


class TransferRing:
    """
    Bulk transfers that wait for data in the kernel, in order.

    The thread only takes them and notes the time. Who reads the stream takes their content and
    gives them back, so that the ring holds what comes while that thread is busy.
    """

    def __init__(self, context: usb1.USBContext, handle: usb1.USBDeviceHandle, endpoint: int,
                 transfer_bytes: int, count: int, fewest: int) -> None:
        """
        Give transfers to the kernel, as many of count as it has memory for.

        Raises USBErrorNoMem where it has memory for less than fewest.
        """
        self.lost = ''  # why nothing comes any more
        self.ready = Event()  # a frame may be complete, or the device is lost
        self.done: deque[Payload] = deque()
        self.completed = 0  # frames, since the stream began
        self._context = context
        self._stopping = False
        self._errors = 0
        self._frame_id = -1  # of the frame that is being received; -1: none
        self._transfers: list[usb1.USBTransfer] = []
        memory = np.empty((count, transfer_bytes), np.uint8)
        self._thread = Thread(target=self._reap, name='usb_reaper', daemon=True)
        try:
            for row in memory:
                transfer = handle.getTransfer()
                transfer.setBulk(
                    usb1.ENDPOINT_IN | endpoint, row.data, self._take, row.data, 0)
                transfer.submit()
                self._transfers.append(transfer)
        except usb1.USBErrorNoMem:
            if len(self._transfers) < fewest:
                self._thread.start()
                self.stop()
                raise
            _log.warning(
                'the kernel has memory for %.0f %% of the USB ring: frames may be lost while the '
                'computer is busy; give it more (echo 128 | sudo tee %s)',
                100 * len(self._transfers) / count, USBFS_MEMORY)
        self._thread.start()

    def give_back(self, payload: Payload) -> None:
        """Let a transfer wait for data again."""
        if self._stopping:
            return
        try:
            payload.transfer.submit()
        except usb1.USBError as error:
            self._lose(f'no transfer can be started any more ({error})')

    def stop(self) -> None:
        """End all transfers and the thread; never fails."""
        self._stopping = True
        for transfer in self._transfers:
            with contextlib.suppress(usb1.USBError):
                transfer.cancel()
        self._thread.join(_END_S)
        self.done.clear()
        if not self._thread.is_alive():
            for transfer in self._transfers:
                transfer.close()
        self._transfers = []

    def _reap(self) -> None:
        end = 0.0
        while True:
            if self._stopping:
                end = end or time.monotonic() + _END_S / 2
                pending = any(transfer.isSubmitted() for transfer in self._transfers)
                if not pending or time.monotonic() > end:
                    return
            try:
                self._context.handleEventsTimeout(_POLL_S)
            except usb1.USBErrorInterrupted:
                continue
            except usb1.USBError as error:
                self._lose(f'libusb: {error}')
                time.sleep(_POLL_S)

    def _take(self, transfer: usb1.USBTransfer) -> None:
        """Note one transfer; called by libusb in the thread."""
        arrival_ns = time.monotonic_ns()
        if self._stopping:
            return
        status = transfer.getStatus()
        content: memoryview = transfer.getUserData()
        length, ends = -1, 0
        if status == usb1.TRANSFER_COMPLETED:
            self._errors = 0
            length = transfer.getActualLength()
            if length >= 2:
                ends = self._count(content[1])
        else:
            self._errors += 1
            if status == usb1.TRANSFER_NO_DEVICE:
                self._lose('it was unplugged')
            elif status == usb1.TRANSFER_STALL or self._errors >= _ERRORS_IN_A_ROW:
                self._lose('USB transfer errors: check the USB cable')
            elif status == usb1.TRANSFER_CANCELLED:
                self._lose('its transfers were cancelled: its port was reset or it was suspended')
            if self.lost:
                return
        self.done.append(Payload(transfer, content, length, arrival_ns, ends))
        if ends:
            self.completed += ends
            self.ready.set()

    def _count(self, flags: int) -> int:
        """Return how many frames a payload completes: see FrameAssembler."""
        frame_id = flags & PAYLOAD_FRAME_ID
        ends = int(self._frame_id not in (-1, frame_id))
        self._frame_id = frame_id
        if flags & PAYLOAD_END_OF_FRAME:
            self._frame_id = -1
            ends += 1
        return ends

    def _lose(self, reason: str) -> None:
        self.lost = self.lost or reason
        self.ready.set()
