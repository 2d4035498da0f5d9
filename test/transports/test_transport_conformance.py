# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What every transport must do. Another transport is one more line in TRANSPORTS."""
from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
from dataclasses import dataclass
from pathlib import Path
import time
from typing import Any

from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.daq.packets import encode, HARD_RESET
from miniscope_ros.errors import DeviceError, DeviceLost
from miniscope_ros.simulation.box import SimulatedTransport
from miniscope_ros.transports import v4l2_controls as controls
from miniscope_ros.transports.transport import Buffer, Transport
from miniscope_ros.transports.usb_uvc import UsbTransport
from miniscope_ros.transports.v4l2 import V4l2Transport
import numpy as np
import pytest
from virtual_daq import BoxConfig, VirtualDaq

V4 = load_catalogue()['Miniscope_V4_BNO']
SIZE = (608, 608)
PATIENCE = 20.0  # [s], far more than anything here takes
FOCUS = bytes.fromhex('EE087F02')
NO_CONTROL = 0x00980999


@dataclass
class Subject:
    """A transport, and the truth about the box behind it."""

    transport: Transport
    executed: Callable[[], list[bytes]]
    is_back: Callable[[], bool]  # after a reset


@contextlib.contextmanager
def on_virtual_box(
        folder: Path, make: Callable[[VirtualDaq], Transport], **config: Any,
) -> Iterator[Subject]:
    with VirtualDaq(folder, [BoxConfig(rate=60.0, reset_time=0.1, **config)]) as rig:
        subject = Subject(make(rig), lambda: rig.box.executed, lambda: rig.box.present)
        with contextlib.closing(subject.transport):
            yield subject


@contextlib.contextmanager
def v4l2(folder: Path) -> Iterator[Subject]:
    with on_virtual_box(folder, lambda rig: V4l2Transport(rig.box.path, '1-1')) as subject:
        yield subject


@contextlib.contextmanager
def usb(folder: Path) -> Iterator[Subject]:
    with on_virtual_box(folder, lambda rig: UsbTransport('1-1', rig.box.path)) as subject:
        yield subject


@contextlib.contextmanager
def simulated(folder: Path) -> Iterator[Subject]:
    box = SimulatedTransport(V4, loss_rate=0.0)
    with contextlib.closing(box):
        yield Subject(box, lambda: [packet for _, packet in box.executed], lambda: True)


TRANSPORTS = {
    'v4l2': v4l2,
    'usb': usb,
    'simulated': simulated,
}


@pytest.fixture(params=TRANSPORTS)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """Make the transport that a test is about; opens nothing."""
    with TRANSPORTS[request.param](tmp_path) as made:
        yield made


@pytest.fixture
def started(subject: Subject) -> Subject:
    """Return one whose stream runs."""
    subject.transport.open(*SIZE)
    subject.transport.start(8)
    return subject


def take(transport: Transport) -> Buffer:
    """Return the next frame, which must come."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        buffer = transport.dequeue(0.5)
        if buffer is not None:
            return buffer
    raise AssertionError('no frame')


def pass_frames(transport: Transport, count: int) -> list[tuple[int, int]]:
    """Take so many frames and give them back; return sequence and stamp of each."""
    seen = []
    for _ in range(count):
        buffer = take(transport)
        seen.append((buffer.sequence, buffer.stamp_ns or 0))
        transport.requeue(buffer)
    return seen


def send(transport: Transport, packet: bytes) -> None:
    """Queue a packet in the box."""
    words = (controls.CONTRAST, controls.GAMMA, controls.SHARPNESS)
    for control, word in zip(words, encode(packet), strict=True):
        transport.write_control(control, word)
        time.sleep(0.0002)  # the box needs it


def reopen(subject: Subject) -> None:
    """Open it again once it is back."""
    deadline = time.monotonic() + PATIENCE
    subject.transport.close()
    while True:
        try:
            if subject.is_back():
                subject.transport.open(*SIZE)
                return
        except DeviceError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def test_it_says_what_it_is(started: Subject) -> None:
    transport = started.transport
    assert transport.kind and transport.card and transport.location and transport.path
    assert transport.fresh_reads in (True, False)


def test_frames_come_in_order_with_rising_stamps(started: Subject) -> None:
    transport = started.transport
    buffer = take(transport)
    assert buffer.data.dtype == np.uint8 and buffer.data.shape == (2 * SIZE[0] * SIZE[1],)
    assert not buffer.damaged
    transport.requeue(buffer)
    seen = [(buffer.sequence, buffer.stamp_ns or 0), *pass_frames(transport, 10)]
    assert seen == sorted(seen) and len({sequence for sequence, _ in seen}) == len(seen)
    assert all(0 < stamp_ns <= time.monotonic_ns() for _, stamp_ns in seen)


def test_waiting_tells_whether_a_frame_is_ready(started: Subject) -> None:
    transport = started.transport
    pass_frames(transport, 2)
    deadline = time.monotonic() + PATIENCE
    while not transport.waiting():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    buffer = transport.dequeue(0.0)
    assert buffer is not None
    transport.requeue(buffer)


def test_nothing_comes_of_no_time(started: Subject) -> None:
    transport = started.transport
    while transport.waiting():
        pass_frames(transport, 1)
    assert transport.dequeue(0.0) is None or transport.waiting() in (True, False)


def test_more_frames_come_than_the_ring_holds(started: Subject) -> None:
    assert len(pass_frames(started.transport, 25)) == 25


def test_commands_are_executed(started: Subject) -> None:
    transport = started.transport
    pass_frames(transport, 1)
    send(transport, FOCUS)
    sent_ns = time.monotonic_ns()
    # What was under way ends, and with it or the next one the packet runs; older ones may wait.
    while pass_frames(transport, 1)[0][1] <= sent_ns:
        pass
    pass_frames(transport, 1)
    assert FOCUS in started.executed()


def test_controls_are_read_in_one_call_and_have_ranges(started: Subject) -> None:
    transport = started.transport
    pass_frames(transport, 1)
    values = transport.read_controls([controls.PAN_ABSOLUTE, controls.TILT_ABSOLUTE])
    assert len(values) == 2
    assert all(-1 << 31 <= value < 1 << 31 for value in values)
    limits = transport.control_range(controls.CONTRAST)
    assert limits is not None and limits[1] == 65535
    assert transport.control_range(NO_CONTROL) is None
    assert transport.find_unit(bytes(15) + b'\x01') is None


def test_the_stream_can_be_stopped_and_started_while_open(started: Subject) -> None:
    transport = started.transport
    pass_frames(transport, 3)
    transport.stop()
    transport.stop()
    transport.start(8)
    assert len(pass_frames(transport, 3)) == 3


def test_it_can_be_closed_twice_and_opened_again(started: Subject) -> None:
    transport = started.transport
    pass_frames(transport, 1)
    for _ in range(2):
        transport.close()
        transport.close()
        transport.open(*SIZE)
        transport.start(8)
        pass_frames(transport, 2)


def test_closed_it_refuses_everything(subject: Subject) -> None:
    transport = subject.transport
    for call in (lambda: transport.dequeue(0.0), lambda: transport.write_control(
            controls.SATURATION, 0), lambda: transport.read_controls([controls.PAN_ABSOLUTE]),
            lambda: transport.start(8)):
        with pytest.raises(DeviceError):
            call()


def test_another_size_is_refused_and_leaves_it_closed(subject: Subject) -> None:
    with pytest.raises(DeviceError):
        subject.transport.open(640, 481)
    subject.transport.open(*SIZE)


def test_a_box_that_restarts_is_lost_and_can_be_opened_again(started: Subject) -> None:
    transport = started.transport
    pass_frames(transport, 2)
    send(transport, HARD_RESET)
    with pytest.raises(DeviceLost):
        pass_frames(transport, 50)
    for call in (transport.dequeue, lambda _: transport.read_controls([controls.PAN_ABSOLUTE])):
        with pytest.raises(DeviceLost):
            call(0.1)
    transport.stop()
    reopen(started)
    transport.start(8)
    assert len(pass_frames(transport, 3)) == 3


def test_its_port_can_be_reset(started: Subject) -> None:
    transport = started.transport
    pass_frames(transport, 2)
    transport.reset_port()
    with pytest.raises(DeviceLost):
        pass_frames(transport, 50)
    reopen(started)
    transport.start(8)
    assert len(pass_frames(transport, 3)) == 3
