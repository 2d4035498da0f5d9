# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Frames over USB from the virtual DAQ box, through the real binding of libusb."""
from box_client import MakeRig
from handles import handles, left_since
from miniscope_ros.errors import DeviceError, DeviceLost
import numpy as np
import pytest
from taking import SIZE, take, TIMEOUT
from usb_scope import opened, record_of
from virtual_daq import Fault, VirtualDaq

WHOLE = 2 * SIZE[0] * SIZE[1]  # bytes of a frame


def test_frames_arrive_byte_for_byte_in_order(make_rig: MakeRig) -> None:
    random = np.random.default_rng(1)
    bank = random.integers(0, 256, (7, SIZE[1], 2 * SIZE[0]), np.uint8)
    rig = make_rig(image=bank, rate=60.0)
    with opened(rig) as transport:
        transport.start(16)
        for number in range(60):
            buffer = take(transport)
            record = record_of(rig, number)
            assert buffer.sequence == record['sequence'] == number
            assert np.array_equal(buffer.data, bank[record['frame'] % len(bank)].reshape(-1))
            assert not buffer.damaged and buffer.is_arrival
            transport.requeue(buffer)
        assert transport.card == 'MINISCOPE'


def test_frames_are_read_only_and_outlive_the_stream(rig: VirtualDaq) -> None:
    with opened(rig) as transport:
        transport.start(8)
        data = take(transport).data
        seen = data.copy()
        with pytest.raises(ValueError, match='read-only'):
            data[0] = 1
    with opened(rig) as again:
        again.start(8)
        take(again)
    assert np.array_equal(data, seen)


def test_lost_frames_show_in_sequence_and_unfinished_ones_as_damaged(rig: VirtualDaq) -> None:
    # The frame ID says of a frame that never came. One that the box never finished comes in part
    # and the restarted transfer has the frame ID 0: frame 6 had it too, 7 has not.
    rig.box.plan({3: Fault.LOST, 7: Fault.UNFINISHED})
    with opened(rig) as transport:
        transport.start(16)
        frames = []
        for _ in range(9):
            buffer = take(transport)
            frames.append((buffer.sequence, buffer.damaged))
            transport.requeue(buffer)
    assert frames == [
        (0, False), (1, False), (2, False), (3, False), (4, False), (5, False), (6, True),
        (7, False), (8, False)]


def test_damaged_frames_are_marked(rig: VirtualDaq) -> None:
    rig.box.plan({
        1: Fault.ERROR_FLAG, 3: Fault.SHORT, 5: Fault.EMPTY, 7: Fault.TRANSFER})
    with opened(rig) as transport:
        transport.start(16)
        frames = []
        for number in range(10):
            buffer = take(transport)
            assert buffer.sequence == number
            frames.append((buffer.damaged, len(buffer.data)))
            transport.requeue(buffer)
    assert frames == [
        (False, WHOLE), (True, WHOLE), (False, WHOLE), (True, WHOLE // 2), (False, WHOLE),
        (True, 0), (False, WHOLE), (True, WHOLE - 16368), (False, WHOLE), (False, WHOLE)]


def test_frames_of_a_box_that_restarts_its_transfer_each_time_are_received(
        make_rig: MakeRig) -> None:
    # Over V4L2 none comes but the first: the kernel takes frames with equal frame IDs for one.
    rig = make_rig(rate=2.0)
    with opened(rig) as transport:
        transport.start(8)
        for sequence in range(3):
            buffer = take(transport)
            assert buffer.sequence == sequence and not buffer.damaged
            transport.requeue(buffer)


def test_every_transfer_failing_is_a_loss_that_names_the_cable(rig: VirtualDaq) -> None:
    rig.box.always(Fault.TRANSFER | Fault.EMPTY)
    with opened(rig) as transport:
        transport.start(8)
        with pytest.raises(DeviceLost, match='USB transfer errors: check the USB cable'):
            while True:
                transport.dequeue(TIMEOUT)


def test_stamps_are_the_first_payloads_arrival(make_rig: MakeRig) -> None:
    rig = make_rig(rate=30.0)
    with opened(rig) as transport:
        transport.start(16)
        stamps = {}
        for _ in range(60):
            buffer = take(transport)
            stamps[buffer.sequence] = buffer.stamp_ns
            transport.requeue(buffer)
        record_of(rig, max(stamps))
    true = {int(one['sequence']): int(one['reported_ns']) for one in rig.box.frames}
    errors = np.array([stamp - true[sequence] for sequence, stamp in stamps.items()])
    # A busy computer may be late with single frames; measured: see docs/hardware-usb.md.
    assert np.abs(np.median(errors)) < 1_000_000


def test_backlog_comes_oldest_first_and_waiting_tells_of_it(rig: VirtualDaq) -> None:
    with opened(rig) as transport:
        assert not transport.waiting()
        transport.start(16)
        rig.box.wait_frames(6)
        rig.box.freeze()
        for sequence in range(6):
            rig.box.wait(transport.waiting)
            buffer = take(transport)
            assert buffer.sequence == sequence
            transport.requeue(buffer)
        # Others were on their way before the freeze.
        while (late := transport.dequeue(0.2)) is not None:
            transport.requeue(late)
        assert not transport.waiting()


def test_full_ring_shows_as_a_gap_and_frames_come_again(rig: VirtualDaq) -> None:
    with opened(rig) as transport:
        transport.start(8)
        rig.box.wait_frames(20)
        for sequence in range(8):  # the ring has room for these
            buffer = take(transport)
            assert buffer.sequence == sequence and not buffer.damaged
            transport.requeue(buffer)
        for _ in range(20):
            buffer = take(transport)
            transport.requeue(buffer)
            if not buffer.damaged and buffer.sequence > 8:
                break
        assert not buffer.damaged


def test_ring_is_shorter_where_the_kernel_has_little_memory(
        make_rig: MakeRig, caplog: pytest.LogCaptureFixture) -> None:
    rig = make_rig(rate=10.0)  # four frames are 0.4 s: a busy computer is that late, too
    payloads = 46  # of a frame
    rig.box.state['usb_transfers'] = 4 * payloads
    with opened(rig) as transport:
        transport.start(16)
        assert 'the kernel has memory for 25 % of the USB ring' in caplog.text
        for number in range(12):  # three times around
            buffer = take(transport)
            assert buffer.sequence == number and not buffer.damaged
            transport.requeue(buffer)
    rig.box.state['usb_transfers'] = 2 * payloads - 1
    before = handles()
    with opened(rig) as transport, pytest.raises(DeviceError, match='no memory left for USB') as e:
        transport.start(16)
    assert not isinstance(e.value, DeviceLost)
    assert not left_since(before)
    rig.box.state['usb_transfers'] = 0
    with opened(rig) as transport:
        transport.start(16)
        assert take(transport).sequence == 0
