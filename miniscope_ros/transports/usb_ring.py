# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A ring of asynchronous bulk transfers, and the thread that takes them when they are done."""

from __future__ import annotations

from collections import deque
import contextlib
from dataclasses import dataclass
import logging
import os
import threading
from threading import Event, Thread
import time

from miniscope_ros.transports.uvc_payloads import FrameBoundaries
import numpy as np
import usb1

_log = logging.getLogger(__name__)

_PRIORITY = 1  # the lowest of real time
_POLL_S = 0.1  # how often the thread looks whether it is to end
_NAP_S = 0.005
"""
How long the thread sleeps amid a frame: waking for each of 46 payloads costs 1 ms of CPU a frame.
It is awake for a frame's first payload, and when its end is due.
"""
_SHORTEST_NAP_S = 0.0005
_AFTER_END_S = 0.0003  # the thread wakes this much after the end, to find the last payloads
_FEWEST_FRAMES = 2  # the ring must hold at least this many frames
_END_S = 2.0  # the longest wait for the kernel to give the transfers back at the end
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
    cuts: bool  # it begins another frame: see FrameBoundaries
    ends: bool  # it ends a frame


class TransferRing:
    """
    Bulk transfers that wait for data in the kernel, in order.

    The thread only takes them and notes the time. Who reads the stream takes their content and
    gives them back, so that the ring holds what comes while that thread is busy.
    """

    def __init__(self, context: usb1.USBContext, handle: usb1.USBDeviceHandle, endpoint: int,
                 transfer_bytes: int, frame_payloads: int, frames: int) -> None:
        """
        Give transfers for so many frames to the kernel, or as many as it has memory for.

        frame_payloads is how many payloads a frame comes in. Raises USBErrorNoMem where it has
        memory for less than two frames.
        """
        self.lost = ''  # why no data comes any more
        self.broken = False  # the device is there all the same
        self.ready = Event()  # a frame may be complete, or the device is lost
        self.done: deque[Payload] = deque()
        self.completed = 0  # frames, since the stream began
        self._context = context
        self._stopping = False
        self._errors = 0
        self._boundaries = FrameBoundaries()
        self._transfers: list[usb1.USBTransfer] = []
        self._began_ns = 0  # first payload of the frame that is being received
        self._frame_ns = 0  # from the first to the last payload of the frame before
        count = frames * frame_payloads
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
            if len(self._transfers) < _FEWEST_FRAMES * frame_payloads:
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
        # The stamps are as good as this thread is punctual. Where the user has the right to it
        # (rtprio in limits.conf) it goes before all that is not as urgent; it works for 1 ms a
        # frame and sleeps.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(
                threading.get_native_id(), os.SCHED_RR, os.sched_param(_PRIORITY))
        end = 0.0
        while True:
            if self._stopping:
                end = end or time.monotonic() + _END_S / 2
                pending = any(transfer.isSubmitted() for transfer in self._transfers)
                if not pending or time.monotonic() > end:
                    return
            try:
                self._context.handleEventsTimeout(_POLL_S)
                self._nap()
            except usb1.USBErrorInterrupted:
                continue
            except usb1.USBError as error:
                self._lose(f'libusb: {error}')
                time.sleep(_POLL_S)

    def _nap(self) -> None:
        """Let payloads gather while a frame is being received."""
        if not self._boundaries.received or not self._frame_ns or self._stopping:
            return
        due_s = (self._began_ns + self._frame_ns - time.monotonic_ns()) * 1e-9 + _AFTER_END_S
        if due_s > _SHORTEST_NAP_S:
            time.sleep(min(due_s, _NAP_S))

    def _take(self, transfer: usb1.USBTransfer) -> None:
        """Note one transfer; called by libusb in the thread."""
        arrival_ns = time.monotonic_ns()
        if self._stopping:
            return
        status = transfer.getStatus()
        content: memoryview = transfer.getUserData()
        length, cuts, ends = -1, False, False
        if status == usb1.TRANSFER_COMPLETED:
            self._errors = 0
            length = transfer.getActualLength()
            if length < 2 or not 2 <= content[0] <= length:
                length = -1  # no payload
            else:
                cuts, ends = self._boundaries.look(content[1], arrival_ns)
                if self._boundaries.received == 1:
                    self._began_ns = arrival_ns
                elif ends:
                    self._frame_ns = arrival_ns - self._began_ns
        else:
            self._errors += 1
            if status == usb1.TRANSFER_NO_DEVICE:
                self._lose('it was unplugged')
            elif status == usb1.TRANSFER_STALL or self._errors >= _ERRORS_IN_A_ROW:
                self.broken = not self.lost
                self._lose('USB transfer errors: check the USB cable')
            elif status == usb1.TRANSFER_CANCELLED:
                self._lose('its transfers were cancelled: its port was reset or it was suspended')
            if self.lost:
                return
        self.done.append(Payload(transfer, content, length, arrival_ns, cuts, ends))
        if cuts or ends:
            self.completed += cuts + ends
            self.ready.set()

    def _lose(self, reason: str) -> None:
        self.lost = self.lost or reason
        self.ready.set()
