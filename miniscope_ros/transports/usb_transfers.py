# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Bulk transfers through libusb that are done without a call of Python for each."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray
import usb1

_PENDING = -1  # libusb has it
_TAKEN = -2  # we have it

_kept: list[object] = []
"""What libusb did not give back at the end: its memory must never be used for anything else."""


class BulkTransfers:
    """
    Transfers from one bulk endpoint, by number: each has one row of the memory.

    The binding's own USBTransfer calls Python at the end of each transfer, 46 times a frame. These
    transfers call a function of libusb that only looks something up. Their status says whether
    they are done: libusb writes it, then the length, while it handles events, and never else
    (usbi_handle_transfer_completion and libusb_submit_transfer in io.c of libusb 1.0).
    """

    def __init__(self, handle: usb1.USBDeviceHandle, endpoint: int,
                 memory: NDArray[np.uint8]) -> None:
        """Make one transfer for each row of memory (2-D); none is submitted yet."""
        binding = usb1.libusb1
        self._submit = binding.libusb_submit_transfer
        self._cancel = binding.libusb_cancel_transfer
        self._free = binding.libusb_free_transfer
        self._memory = memory
        self._bytes = memory.reshape(-1).data
        self._row_bytes = memory.shape[1]
        self._pointers: list[Any] = []
        nothing = ctypes.cast(
            binding.libusb.libusb_transfer_get_stream_id, binding.libusb_transfer_cb_fn_p)
        # The binding shows the C handle to nobody, and makes its own transfers only.
        opened = handle._USBDeviceHandle__handle
        for row in memory:
            pointer = binding.libusb_alloc_transfer(0)
            if not pointer:
                self.close()
                raise usb1.USBErrorNoMem
            self._pointers.append(pointer)
            binding.libusb_fill_bulk_transfer(
                pointer, opened, usb1.ENDPOINT_IN | endpoint, row.ctypes.data, row.nbytes,
                nothing, None, 0)
            pointer.contents.status = _TAKEN
        self._records = [pointer.contents for pointer in self._pointers]

    def submit(self, number: int) -> None:
        """Let a transfer wait for data; USBError."""
        record = self._records[number]
        record.actual_length = _PENDING
        record.status = _PENDING
        error = self._submit(self._pointers[number])
        if error:
            record.status = _TAKEN
            raise (usb1.USBErrorNoMem if error == usb1.ERROR_NO_MEM else usb1.USBError)(error)

    def take(self, number: int) -> tuple[int, int] | None:
        """Return a transfer's status and how many bytes came; None if it is not done."""
        record = self._records[number]
        status, length = record.status, record.actual_length
        if status < 0 or length < 0:
            return None
        record.status = _TAKEN
        return status, length

    def take_alike(self, number: int) -> int:
        """
        Take those after one that was taken and completed, as far as they are like it.

        Like it are a transfer's status, its length and the two bytes with which its row of the
        memory begins. The last row has no next. Return how many were taken.
        """
        records, content, row = self._records, self._bytes, self._row_bytes
        length = records[number].actual_length
        beginning = content[number * row:number * row + 2]
        last = number
        for place in range(number + 1, len(records)):
            record = records[place]
            if record.status != usb1.TRANSFER_COMPLETED or record.actual_length != length \
                    or content[place * row:place * row + 2] != beginning:
                break
            record.status = _TAKEN
            last = place
        return last - number

    def pending(self) -> bool:
        """Return whether libusb has any of them."""
        return any(record.status == _PENDING for record in self._records)

    def cancel(self) -> None:
        """Ask for all of them back; they are done when events were handled."""
        for record, pointer in zip(self._records, self._pointers, strict=True):
            if record.status == _PENDING:
                self._cancel(pointer)

    def close(self) -> None:
        """Free them. What is pending all the same stays, as does the memory."""
        for pointer in self._pointers:
            if pointer.contents.status == _PENDING:
                _kept.append(self._memory)
            else:
                self._free(pointer)
        self._pointers, self._records = [], []
