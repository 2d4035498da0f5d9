# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The V4L2 transport against the virtual DAQ box, in this process."""
from contextlib import closing
import errno
import gc
from pathlib import Path
import sys
from typing import Any

from box_client import FAST, MakeRig
from handles import handles, left_since
from miniscope_ros.errors import DeviceError, DeviceLost
from miniscope_ros.transports import discovery
from miniscope_ros.transports import v4l2_abi as abi
from miniscope_ros.transports import v4l2_controls as controls
from miniscope_ros.transports.v4l2 import V4l2Transport
import numpy as np
import pytest
from taking import check_refused_opening, SIZE, take, take_until_lost, TIMEOUT
import virtual_daq
from virtual_daq import Fault, Status, VirtualDaq
from virtual_daq.descriptors import UNIT_GUID

WORDS = (controls.PAN_ABSOLUTE, controls.TILT_ABSOLUTE)


@pytest.fixture
def rig(make_rig: MakeRig) -> VirtualDaq:
    """Plug one box in."""
    return make_rig()


def opened(rig: VirtualDaq) -> 'closing[V4l2Transport]':
    """Open a rig's box; closed at the end of the with block."""
    transport = V4l2Transport(rig.box.path, rig.box.config.port)
    transport.open(*rig.box.scope['size'])
    return closing(transport)


def delivered(rig: VirtualDaq) -> np.ndarray:
    """Return the records of the frames that a client could have."""
    frames = rig.box.frames
    return frames[frames['status'] == Status.DELIVERED]


def mapped() -> int:
    """Return how many frame buffers this process has mapped."""
    gc.collect()  # an exception of an earlier test may have kept some
    return Path('/proc/self/maps').read_text().count('/memfd:virtual_daq')


# ---- frames


def test_frames_arrive_byte_for_byte_in_order(make_rig: MakeRig) -> None:
    random = np.random.default_rng(1)
    bank = random.integers(0, 256, (7, SIZE[1], 2 * SIZE[0]), np.uint8)
    rig = make_rig(image=bank, jitter=0.0005)
    with opened(rig) as transport:
        transport.start(16)
        for number in range(200):
            buffer = take(transport)
            record = delivered(rig)[number]
            assert buffer.sequence == record['sequence'] == number
            assert np.array_equal(buffer.data, bank[record['frame'] % len(bank)].reshape(-1))
            assert buffer.stamp_ns == record['reported_ns'] // 1000 * 1000
            assert not buffer.damaged
            transport.requeue(buffer)
        assert transport.card == 'MINISCOPE: MINISCOPE'


def test_frames_are_read_only(rig: VirtualDaq) -> None:
    with opened(rig) as transport:
        transport.start(8)
        data = take(transport).data
        with pytest.raises(ValueError, match='read-only'):
            data[0] = 1


def test_lost_frames_show_in_sequence_and_unfinished_ones_in_time(rig: VirtualDaq) -> None:
    rig.box.plan({3: Fault.LOST, 4: Fault.LOST, 7: Fault.UNFINISHED})
    with opened(rig) as transport:
        transport.start(16)
        sequences, stamps = [], []
        for _ in range(8):
            buffer = take(transport)
            sequences.append(buffer.sequence)
            stamps.append(buffer.stamp_ns)
            transport.requeue(buffer)
    # Frames 0 1 2 - - 5 6 - 8 9 10, of which 7 was never counted.
    assert sequences == [0, 1, 2, 5, 6, 7, 8, 9]
    periods = np.round(np.diff(stamps) * FAST / 1e9)
    assert periods.tolist() == [1, 1, 3, 1, 2, 1, 1]


def test_damaged_frames_are_marked(rig: VirtualDaq) -> None:
    rig.box.plan({1: Fault.ERROR_FLAG, 3: Fault.SHORT, 5: Fault.EMPTY})
    whole = 2 * SIZE[0] * SIZE[1]
    with opened(rig) as transport:
        transport.start(16)
        frames = []
        for _ in range(7):
            buffer = take(transport)
            frames.append((buffer.damaged, len(buffer.data)))
            transport.requeue(buffer)
    assert frames == [
        (False, whole), (True, whole), (False, whole), (True, whole // 2), (False, whole),
        (True, 0), (False, whole)]


def test_missing_stamp_is_zero(rig: VirtualDaq) -> None:
    rig.box.plan({1: Fault.STAMP_ZERO})
    with opened(rig) as transport:
        transport.start(8)
        assert take(transport).stamp_ns > 0
        assert take(transport).stamp_ns == 0


def test_a_driver_without_the_monotonic_clock_has_no_stamps(rig: VirtualDaq) -> None:
    rig.box.plan({1: Fault.STAMP_NONE})
    with opened(rig) as transport:
        transport.start(8)
        assert take(transport).stamp_ns > 0
        assert take(transport).stamp_ns is None


def test_backlog_comes_oldest_first_and_waiting_tells_of_it(rig: VirtualDaq) -> None:
    with opened(rig) as transport:
        assert not transport.waiting()
        transport.start(16)
        rig.box.wait_frames(6)
        rig.box.freeze()
        for sequence in range(6):
            assert transport.waiting()
            buffer = take(transport)
            assert buffer.sequence == sequence
            transport.requeue(buffer)
        while transport.waiting():  # one may have come before the freeze
            transport.requeue(take(transport))
        assert transport.dequeue(0.0) is None
        assert transport.dequeue(0.05) is None


def test_full_ring_drops_the_newest_and_the_sequence_shows_it(rig: VirtualDaq) -> None:
    with opened(rig) as transport:
        transport.start(8)
        rig.box.wait_frames(20)
        sequences = []
        for _ in range(9):
            buffer = take(transport)
            sequences.append(buffer.sequence)
            transport.requeue(buffer)
    assert sequences[:8] == list(range(8))
    assert sequences[8] >= 20


def test_fewer_buffers_than_asked_for_are_used(rig: VirtualDaq) -> None:
    with opened(rig) as transport:
        before = mapped()
        transport.start(1000)
        assert mapped() - before == 32  # the box's most
        for _ in range(40):
            transport.requeue(take(transport))


# ---- opening and closing


def test_opening_and_closing_leaves_nothing_behind(rig: VirtualDaq) -> None:
    def cycle(transport: V4l2Transport) -> None:
        transport.open(*SIZE)
        transport.start(16)
        transport.requeue(take(transport))
        transport.close()

    transport = V4l2Transport(rig.box.path)
    cycle(transport)
    before, buffers = handles(), mapped()
    for _ in range(20):
        cycle(transport)
    assert not left_since(before) and mapped() == buffers
    assert not rig.box.busy


def test_stream_can_be_stopped_and_started_while_open(rig: VirtualDaq) -> None:
    before = mapped()
    with opened(rig) as transport:
        for buffers in (8, 16, 8):
            transport.start(buffers)
            assert take(transport).sequence == 0
            transport.stop()
            transport.stop()
        assert mapped() == before


def test_frame_still_in_use_outlives_the_stream(rig: VirtualDaq) -> None:
    before = mapped()
    with opened(rig) as transport:
        transport.start(8)
        data = take(transport).data
        seen = data.copy()
    with opened(rig) as again:
        again.start(8)
        take(again)
        assert np.array_equal(data, seen)
    del data
    assert mapped() == before


def test_closed_transport_says_so(rig: VirtualDaq) -> None:
    transport = V4l2Transport(rig.box.path)
    transport.close()
    transport.stop()
    for call in (lambda: transport.dequeue(TIMEOUT), lambda: transport.read_controls(WORDS),
                 lambda: transport.write_control(controls.GAMMA, 1), lambda: transport.start(8)):
        with pytest.raises(DeviceLost, match='not open'):
            call()
    assert not transport.waiting()


def test_other_size_than_asked_for_is_refused_with_both(rig: VirtualDaq) -> None:
    transport = V4l2Transport(rig.box.path)
    with pytest.raises(DeviceError, match='640x480 YUYV, only 752x480 YUYV'):
        transport.open(640, 480)
    assert not rig.box.busy


def test_metadata_node_is_refused(rig: VirtualDaq) -> None:
    before = handles()
    with pytest.raises(DeviceError, match='/dev/video1 .*no images.*list_devices'):
        V4l2Transport('/dev/video1').open(*SIZE)
    assert not left_since(before)


def test_missing_node_is_named(rig: VirtualDaq) -> None:
    with pytest.raises(DeviceError, match='/dev/video98 .*cable'):
        V4l2Transport('/dev/video98').open(*SIZE)


def test_busy_box_says_how_to_find_the_other_program(rig: VirtualDaq) -> None:
    other = V4l2Transport(rig.box.path)
    with opened(rig):
        with pytest.raises(DeviceError, match='in use.*fuser -v /dev/video0') as error:
            other.open(*SIZE)
        assert not isinstance(error.value, DeviceLost)
    with closing(other):
        other.open(*SIZE)  # as soon as it is free


@pytest.mark.parametrize(('call', 'number', 'text'), [
    ('open', errno.EACCES, 'no permission.*sudo cp config/70-miniscope.rules'),
    ('open', errno.EBUSY, 'in use'),
    ('format', errno.EIO, 'set 608x608 YUYV: Input/output error'),
    ('stream', errno.ENOSPC, 'bandwidth.*another controller'),
    ('stream', errno.EPROTO, 'start the stream: Protocol error'),
])
def test_refused_opening_names_the_remedy_and_can_be_repeated(
        rig: VirtualDaq, call: str, number: int, text: str) -> None:
    check_refused_opening(V4l2Transport(rig.box.path), rig.box, call, number, text)


# ---- a device that goes


def test_unplugged_box_is_lost_in_every_call(rig: VirtualDaq) -> None:
    before, buffers = handles(), mapped()
    with opened(rig) as transport:
        transport.start(8)
        buffer = take(transport)
        buffer.data = np.empty(0, np.uint8)  # lets go of the mapping
        rig.box.unplug()
        for call in (lambda: transport.requeue(buffer), lambda: transport.dequeue(TIMEOUT),
                     lambda: transport.write_control(controls.GAMMA, 1),
                     lambda: transport.read_controls(WORDS),
                     lambda: transport.control_range(controls.GAMMA),
                     lambda: transport.read_unit(3, 1, 3),
                     transport.reset_port):
            with pytest.raises(DeviceLost, match='/dev/video0'):
                call()
        transport.waiting()
        transport.stop()
    assert not left_since(before) and mapped() == buffers


def test_unplugging_ends_the_wait_for_a_frame(rig: VirtualDaq) -> None:
    rig.box.plan({5: Fault.UNPLUG})
    with opened(rig) as transport:
        transport.start(8)
        assert take_until_lost(transport) <= 6


def test_plugging_in_again_under_another_number(rig: VirtualDaq) -> None:
    transport = V4l2Transport(rig.box.path, '1-1')
    for number in (4, 0, 6):
        with closing(transport):
            transport.open(*SIZE)
            transport.start(8)
            transport.requeue(take(transport))
            rig.box.plug(number)
            take_until_lost(transport)
        found = discovery.find_port(transport.location)
        assert found is not None and found.path == f'/dev/video{number}'
        transport = V4l2Transport(found.path, found.usb_port)


# ---- controls


def test_control_words_arrive_as_they_are(rig: VirtualDaq) -> None:
    words = [
        (controls.CONTRAST, 0x05AA), (controls.GAMMA, 0xFFFF), (controls.SHARPNESS, 0x8000),
        (controls.CONTRAST, 0x03C0), (controls.GAMMA, 0x101F), (controls.SHARPNESS, 0)]
    with opened(rig) as transport:
        for control, value in words:
            transport.write_control(control, value)
    writes = rig.box.writes
    assert list(zip(writes['control'], writes['value'], strict=True)) == words
    assert not writes['error'].any()


def test_both_words_of_a_quaternion_come_in_one_call(make_rig: MakeRig) -> None:
    rig = make_rig(kernel='fixed_firmware')
    calls: list[int] = []
    listening = True

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event == 'fcntl.ioctl':
            calls.append(arguments[1])

    sys.addaudithook(listen)  # there is no way to take it back
    with opened(rig) as transport:
        for packet in ('504109 05', '503D0C', 'FE00'):
            rig.box.leave_packets([bytes.fromhex(packet)])
        transport.start(16)
        moving = set()
        for _ in range(1000):  # on a busy computer several frames meet the same reading
            transport.requeue(take(transport))
            calls.clear()
            words = transport.read_controls(WORDS)
            assert calls == [abi.VIDIOC_G_EXT_CTRLS]
            reading = tuple(np.array(words, '<i4').view('<i2').tolist())
            moving |= {reading} if any(reading) else set()
            if len(moving) > 50:
                break
        listening = False
    assert len(moving) > 50
    executed = {tuple(record['quaternion'].tolist()) for record in rig.box.frames}
    assert moving <= executed


def test_control_values_are_signed(make_rig: MakeRig) -> None:
    rig = make_rig(kernel='fixed_firmware')
    rig.box.state['quaternion'] = (-1, -32768, 32767, -2)
    with opened(rig) as transport:
        words = transport.read_controls((*WORDS, controls.HUE))
    assert words == [-0x7FFF0001, -0x18001, -32768]


def test_control_ranges_are_told(make_rig: MakeRig) -> None:
    rig = make_rig(control_maximum=255)
    with opened(rig) as transport:
        assert transport.control_range(controls.CONTRAST) == (0, 255)
        assert transport.control_range(controls.PAN_ABSOLUTE) == (-2**31, 2**31 - 1)
        assert transport.control_range(controls.PAN_ABSOLUTE + 100) is None


def test_refused_control_is_an_error_but_no_loss(rig: VirtualDaq) -> None:
    with opened(rig) as transport:
        transport.read_controls((controls.CONTRAST,))  # the kernel caches writes after that
        rig.box.refuse_writes(errno.EIO, 1)
        with pytest.raises(DeviceError, match='set control 0x00980901 to 7: Input') as error:
            transport.write_control(controls.CONTRAST, 7)
        assert not isinstance(error.value, DeviceLost)
        transport.write_control(controls.CONTRAST, 7)
        rig.box.refuse('read', errno.EIO)
        with pytest.raises(DeviceError, match='read controls'):
            transport.read_controls(WORDS)
        rig.box.refuse('read', 0)
        assert transport.read_controls((controls.CONTRAST,)) == [7]  # the kernel's cache


def test_extension_unit_is_found_read_and_written(make_rig: MakeRig) -> None:
    rig = make_rig(open_ephys=True)
    guid = UNIT_GUID.bytes_le
    with opened(rig) as transport:
        unit = transport.find_unit(guid)
        assert unit == 3
        assert transport.read_unit(unit, 1, 3) == bytes([1, 1, 0])
        transport.write_unit(unit, 3, bytes([1, 0]))
        assert rig.box.state['flags'] == 1
        packet = bytes.fromhex('200133')
        transport.write_unit(unit, 2, (b'\1' + virtual_daq.box.encode(packet)).ljust(25, b'\0'))
        transport.start(8)
        take(transport)
        assert rig.box.executed == [packet]
        with pytest.raises(DeviceError, match='selector 1 of extension unit 9'):
            transport.read_unit(9, 1, 3)
        assert transport.find_unit(bytes(16)) is None


def test_plain_firmware_has_no_such_unit(rig: VirtualDaq) -> None:
    assert V4l2Transport(rig.box.path).find_unit(UNIT_GUID.bytes_le) is None


# ---- reset


def test_port_reset_restarts_a_frozen_box(make_rig: MakeRig) -> None:
    rig = make_rig(reset_time=0.05, reset_number=2)
    with opened(rig) as transport:
        transport.start(8)
        transport.requeue(take(transport))
        rig.box.freeze()
        transport.reset_port()
        take_until_lost(transport)
    rig.box.wait(lambda: discovery.find_port('1-1'))
    assert rig.box.path == '/dev/video2'
    with opened(rig) as transport:
        transport.start(8)
        assert take(transport).sequence == 0


def test_missing_permission_to_reset_is_named(rig: VirtualDaq) -> None:
    rig.box.refuse('reset', errno.EACCES)
    with opened(rig) as transport, pytest.raises(
            DeviceError, match=r'no permission to open /dev/bus/usb/001/001: install the udev'):
        transport.reset_port()
