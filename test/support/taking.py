# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Taking frames of any transport, and opening one that is refused at first."""
from contextlib import closing

from handles import handles, left_since
from miniscope_ros.errors import DeviceError, DeviceLost
from miniscope_ros.transports.transport import Buffer, Transport
import pytest
from virtual_daq import Box

SIZE = (608, 608)
TIMEOUT = 1.0


def take(transport: Transport) -> Buffer:
    """Return the next frame, which must come."""
    buffer = transport.dequeue(TIMEOUT)
    assert buffer is not None
    return buffer


def take_until_lost(transport: Transport) -> int:
    """Take frames until the device is lost; return how many there were."""
    for count in range(10_000):
        try:
            transport.requeue(take(transport))
        except DeviceLost:
            return count
    raise AssertionError('never lost')


def check_refused_opening(
        transport: Transport, box: Box, call: str, number: int, text: str) -> None:
    """Let the box refuse a call: the error says it, nothing is left, and it opens afterwards."""
    box.refuse(call, number)
    before = handles()
    with pytest.raises(DeviceError, match=text) as error:
        transport.open(*SIZE)
        transport.start(8)
    assert not isinstance(error.value, DeviceLost)
    transport.close()
    assert not left_since(before)
    box.refuse(call, 0)
    with closing(transport):
        transport.open(*SIZE)
        transport.start(8)
        take(transport)
