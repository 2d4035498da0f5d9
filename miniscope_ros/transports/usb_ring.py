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

from miniscope_ros.transports.usb_transfers import BulkTransfers
from miniscope_ros.transports.uvc_payloads import FrameBoundaries
import numpy as np
from numpy.typing import NDArray
import usb1

_log = logging.getLogger(__name__)

_PRIORITY = 1  # the lowest of real time
_POLL_S = 0.1  # how often the thread looks whether it is to end
_AMID_FRAME_S = 0.005  # the longest wait for an event while a frame is being received
_NAPS = 2
"""
In so many parts the thread sleeps through a frame: waking costs about 75 us of CPU on a busy
computer, however many of the 46 payloads it then takes. It is awake for a frame's first payload
and when its end is due. One part more cost more and made no better stamps; without the waking
amid the frame they were worse.
"""
_SHORTEST_NAP_S = 0.0005
_AFTER_END_S = 0.0003  # the thread wakes this much after the end, to find the last payloads
_FEWEST_FRAMES = 2  # the ring must hold at least this many frames
_END_S = 2.0  # the longest wait for the kernel to give the transfers back at the end
_ERRORS_IN_A_ROW = 8
"""Failed transfers one after the other that make a stream useless: two are one glitch."""

USBFS_MEMORY = '/sys/module/usbcore/parameters/usbfs_memory_mb'


@dataclass(slots=True)
class Run:
    """Transfers of one frame that were taken at one time, and lie one after the other."""

    first: int  # number of the first transfer
    count: int
    length: int  # bytes received by each; -1: the transfer failed
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
        self.done: deque[Run] = deque()
        self.completed = 0  # frames, since the stream began
        self._context = context
        self._stopping = False
        self._errors = 0
        self._boundaries = FrameBoundaries()
        self._began_ns = 0  # first payload of the frame that is being received
        self._frame_ns = 0  # from the first to the last payload of the frame before
        self._oldest = 0  # number of the transfer that is done next
        wanted = frames * frame_payloads
        self._memory = np.empty((wanted, transfer_bytes), np.uint8)
        self._transfers = BulkTransfers(handle, endpoint, self._memory)
        self._thread = Thread(target=self._reap, name='usb_reaper', daemon=True)
        self._count = wanted
        self._submit_all(_FEWEST_FRAMES * frame_payloads)
        self._thread.start()

    def content(self, run: Run) -> NDArray[np.uint8]:
        """Return what a run received, 2-D: a payload a row, headers included."""
        return self._memory[run.first:run.first + run.count, :run.length]

    def give_back(self, run: Run) -> None:
        """Let transfers wait for data again."""
        if self._stopping:
            return
        try:
            for number in range(run.first, run.first + run.count):
                self._transfers.submit(number)
        except usb1.USBError as error:
            self._lose(f'no transfer can be started any more ({error})')

    def stop(self) -> None:
        """End all transfers and the thread; never fails."""
        self._stopping = True
        self._transfers.cancel()
        self._thread.join(_END_S)
        self.done.clear()
        self._transfers.close()

    def _submit_all(self, fewest: int) -> None:
        """Submit as many transfers as the kernel has memory for; USBErrorNoMem if too few."""
        wanted = self._count
        for number in range(wanted):
            try:
                self._transfers.submit(number)
            except usb1.USBError as error:
                no_memory = error.value == usb1.ERROR_NO_MEM
                if not no_memory or number < fewest:
                    self._thread.start()
                    self.stop()
                    raise
                _log.warning(
                    'the kernel has memory for %.0f %% of the USB ring: frames may be lost while '
                    'the computer is busy; give it more (echo 128 | sudo tee %s)',
                    100 * number / wanted, USBFS_MEMORY)
                self._count = number
                return

    def _reap(self) -> None:
        # The stamps are as good as this thread is punctual. Where the user has the right to it
        # (rtprio in limits.conf) it goes before all that is not as urgent; it works for less than
        # 1 ms a frame and sleeps.
        with contextlib.suppress(OSError):
            os.sched_setscheduler(
                threading.get_native_id(), os.SCHED_RR, os.sched_param(_PRIORITY))
        end = 0.0
        while True:
            if self._stopping:
                end = end or time.monotonic() + _END_S / 2
                if not self._transfers.pending() or time.monotonic() > end:
                    return
            try:
                # Who asks for a control meanwhile handles the events of our transfers, too: amid
                # a frame the next look must not wait for an event of the next frame.
                self._context.handleEventsTimeout(
                    _AMID_FRAME_S if self._boundaries.received else _POLL_S)
                self._collect(time.monotonic_ns())
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
            time.sleep(min(due_s, self._frame_ns * 1e-9 / _NAPS))

    def _collect(self, arrival_ns: int) -> None:
        """Take all transfers that are done."""
        before = self.completed
        while not (self._stopping or self.lost):
            taken = self._transfers.take(self._oldest)
            if taken is None:
                break
            run = self._examine(self._oldest, *taken, arrival_ns)
            if run is None:
                break
            if run.length > 0 and not run.ends:
                # Most payloads are like the one before: these are not looked at one by one.
                more = self._transfers.take_alike(run.first)
                run.count += more
                self._boundaries.received += more
            self._oldest = (run.first + run.count) % self._count
            self.done.append(run)
        if self.completed > before:
            self.ready.set()

    def _examine(self, number: int, status: int, length: int, arrival_ns: int) -> Run | None:
        """Return a transfer as a run of its own; None if the device is lost."""
        if status != usb1.TRANSFER_COMPLETED:
            self._note_error(status)
            return None if self.lost else Run(number, 1, -1, arrival_ns, False, False)
        self._errors = 0
        header, flags = self._memory[number, :2].tolist()
        if length < 2 or not 2 <= header <= length:  # no payload
            return Run(number, 1, -1, arrival_ns, False, False)
        cuts, ends = self._boundaries.look(flags, arrival_ns)
        if self._boundaries.received == 1:
            self._began_ns = arrival_ns
        elif ends:
            self._frame_ns = arrival_ns - self._began_ns
        self.completed += cuts + ends
        return Run(number, 1, length, arrival_ns, cuts, ends)

    def _note_error(self, status: int) -> None:
        self._errors += 1
        if status == usb1.TRANSFER_NO_DEVICE:
            self._lose('it was unplugged')
        elif status == usb1.TRANSFER_STALL or self._errors >= _ERRORS_IN_A_ROW:
            self.broken = not self.lost
            self._lose('USB transfer errors: check the USB cable')
        elif status == usb1.TRANSFER_CANCELLED:
            self._lose('its transfers were cancelled: its port was reset or it was suspended')

    def _lose(self, reason: str) -> None:
        self.lost = self.lost or reason
        self.ready.set()
