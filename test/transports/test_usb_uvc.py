# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The USB transport against the virtual DAQ box, through the real binding of libusb."""
from contextlib import closing
import errno
import gc
import os
from pathlib import Path
import subprocess
import sys

from box_client import MakeRig
from miniscope_ros.errors import DeviceError, DeviceLost
from miniscope_ros.transports import discovery, usb
from miniscope_ros.transports import v4l2_controls as controls
from miniscope_ros.transports.transport import Buffer
from miniscope_ros.transports.usb_uvc import UsbTransport
from miniscope_ros.transports.v4l2 import V4l2Transport
import numpy as np
import pytest
from virtual_daq import Box, BoxConfig, Fault, VirtualDaq
from virtual_daq.descriptors import UNIT_GUID

SIZE = (608, 608)
WHOLE = 2 * SIZE[0] * SIZE[1]
TIMEOUT = 1.0
WORDS = (controls.PAN_ABSOLUTE, controls.TILT_ABSOLUTE)
HOLDER = """
import sys
from miniscope_ros.transports.usb_uvc import UsbTransport
transport = UsbTransport('1-1', '/dev/video0')
transport.open(608, 608)
transport.start(8)
print('streams', flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def rig(make_rig: MakeRig) -> VirtualDaq:
    """Plug one box in; the computer's kernel answers from its cache."""
    return make_rig(kernel='new_kernel')


def transport_to(box: Box) -> UsbTransport:
    """Return the transport to a box."""
    return UsbTransport(box.config.port, box.path)


def opened(rig: VirtualDaq) -> 'closing[UsbTransport]':
    """Open a rig's box; closed at the end of the with block."""
    transport = transport_to(rig.box)
    transport.open(*rig.box.scope['size'])
    return closing(transport)


def take(transport: UsbTransport) -> Buffer:
    """Return the next frame, which must come."""
    buffer = transport.dequeue(TIMEOUT)
    assert buffer is not None
    return buffer


def take_until_lost(transport: UsbTransport) -> int:
    """Take frames until the device is lost; return how many there were."""
    for count in range(10_000):
        try:
            transport.requeue(take(transport))
        except DeviceLost:
            return count
    raise AssertionError('never lost')


def record_of(rig: VirtualDaq, sequence: int) -> np.void:
    """Return the record of the first stream's frame with a sequence number."""
    rig.box.wait(lambda: len(rig.box.frames) and rig.box.frames['sequence'].max() >= sequence)
    records = rig.box.frames
    return records[records['sequence'] == sequence][0]


def driver(rig: VirtualDaq) -> tuple[str, str]:
    """Return the drivers of the box's two interfaces."""
    return usb.driver(rig.box.config.port, 0), usb.driver(rig.box.config.port, 1)


def leftovers() -> tuple[int, int]:
    """Return how many files are open and how many threads there are in this process."""
    gc.collect()  # an exception of an earlier test may have kept a transport
    return len(os.listdir('/proc/self/fd')), len(os.listdir('/proc/self/task'))


# ---- frames


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
    before = leftovers()
    with opened(rig) as transport, pytest.raises(DeviceError, match='no memory left for USB') as e:
        transport.start(16)
    assert not isinstance(e.value, DeviceLost)
    assert leftovers() == before
    rig.box.state['usb_transfers'] = 0
    with opened(rig) as transport:
        transport.start(16)
        assert take(transport).sequence == 0


# ---- opening and closing


def test_box_is_taken_from_its_driver_and_given_back(rig: VirtualDaq) -> None:
    assert driver(rig) == ('uvcvideo', 'uvcvideo')
    with opened(rig):
        assert driver(rig) == ('usbfs', 'usbfs')
        assert discovery.boxes() == []
    assert driver(rig) == ('uvcvideo', 'uvcvideo')
    with closing(V4l2Transport(rig.box.path)) as plain:
        plain.open(*SIZE)
        plain.start(4)
        assert plain.dequeue(TIMEOUT) is not None


def test_opening_and_closing_leaves_nothing_behind(rig: VirtualDaq) -> None:
    def cycle(transport: UsbTransport) -> None:
        transport.open(*SIZE)
        transport.start(16)
        transport.requeue(take(transport))
        transport.close()

    transport = transport_to(rig.box)
    cycle(transport)
    before = leftovers()
    for _ in range(10):
        cycle(transport)
    assert leftovers() == before
    assert not rig.box.busy


def test_stream_can_be_stopped_and_started_while_open(rig: VirtualDaq) -> None:
    with opened(rig) as transport:
        for buffers in (8, 16, 8):
            transport.start(buffers)
            assert take(transport).sequence == 0
            transport.stop()
            transport.stop()


def test_closed_transport_says_so(rig: VirtualDaq) -> None:
    transport = transport_to(rig.box)
    transport.close()
    transport.stop()
    for call in (lambda: transport.dequeue(TIMEOUT), lambda: transport.read_controls(WORDS),
                 lambda: transport.write_control(controls.GAMMA, 1), lambda: transport.start(8)):
        with pytest.raises(DeviceLost, match='not open'):
            call()
    assert not transport.waiting()


def test_size_that_is_not_offered_is_refused_with_what_is(rig: VirtualDaq) -> None:
    with pytest.raises(DeviceError, match='640x480 YUYV, only 608x608, 2592x1944.*firmware'):
        transport_to(rig.box).open(640, 480)
    assert driver(rig) == ('uvcvideo', 'uvcvideo')


def test_who_streams_over_v4l2_is_not_disturbed(rig: VirtualDaq) -> None:
    other = V4l2Transport(rig.box.path)
    with closing(other):
        other.open(*SIZE)
        other.start(4)
        with pytest.raises(DeviceError, match='in use.*fuser -v /dev/video0') as error:
            transport_to(rig.box).open(*SIZE)
        assert not isinstance(error.value, DeviceLost)
        assert other.dequeue(TIMEOUT) is not None


def test_second_program_over_usb_is_told_who_has_it(rig: VirtualDaq) -> None:
    holder = rig.popen('-c', HOLDER)
    assert holder.stdout is not None and holder.stdout.readline() == 'streams\n'
    try:
        for find in (lambda: discovery.find_box(''), lambda: transport_to(rig.box).open(*SIZE)):
            with pytest.raises(DeviceError, match='in use') as error:
                find()
            assert not isinstance(error.value, DeviceLost)
    finally:
        holder.communicate('\n')
    assert driver(rig) == ('uvcvideo', 'uvcvideo')  # its end gave it back, without close()


def test_what_a_kill_left_is_mended_by_the_next_search(rig: VirtualDaq) -> None:
    holder = rig.popen('-c', HOLDER)
    assert holder.stdout is not None and holder.stdout.readline() == 'streams\n'
    holder.kill()
    holder.communicate()
    assert driver(rig) == ('', '') and discovery.boxes() == []
    found = discovery.find_box('')
    assert found.video is not None and found.video.path == '/dev/video0'
    assert driver(rig) == ('uvcvideo', 'uvcvideo')


def test_box_that_a_kill_left_can_be_opened_at_once(rig: VirtualDaq) -> None:
    holder = rig.popen('-c', HOLDER)
    assert holder.stdout is not None and holder.stdout.readline() == 'streams\n'
    holder.kill()
    holder.communicate()
    with opened(rig) as transport:
        transport.start(8)
        assert take(transport).sequence == 0


@pytest.mark.parametrize(('call', 'number', 'text'), [
    ('reset', errno.EACCES, 'no permission.*sudo cp config/70-miniscope.rules'),
    ('stream', errno.EPROTO, 'set up the stream: Broken pipe'),
    ('format', errno.EIO, 'set up the stream: Broken pipe'),
])
def test_refused_opening_names_the_remedy_and_can_be_repeated(
        rig: VirtualDaq, call: str, number: int, text: str) -> None:
    transport = transport_to(rig.box)
    rig.box.refuse(call, number)
    before = leftovers()
    with pytest.raises(DeviceError, match=text) as error:
        transport.open(*SIZE)
        transport.start(8)
    assert not isinstance(error.value, DeviceLost)
    transport.close()
    assert leftovers() == before
    rig.box.refuse(call, 0)
    with closing(transport):
        transport.open(*SIZE)
        transport.start(8)
        take(transport)


# ---- a device that goes


def test_unplugged_box_is_lost_in_every_call(rig: VirtualDaq) -> None:
    transport = transport_to(rig.box)
    transport.open(*SIZE)
    transport.start(8)
    take(transport)
    rig.box.unplug()
    assert take_until_lost(transport) < 10
    for call in (lambda: transport.dequeue(TIMEOUT), lambda: transport.read_controls(WORDS),
                 lambda: transport.write_control(controls.GAMMA, 1)):
        with pytest.raises(DeviceLost):
            call()
    transport.stop()
    transport.close()
    with pytest.raises(DeviceLost, match='USB port 1-1'):
        transport.open(*SIZE)


def test_unplugging_ends_the_wait_for_a_frame(make_rig: MakeRig) -> None:
    rig = make_rig(rate=1.0)
    with opened(rig) as transport:
        transport.start(8)
        rig.box.unplug()
        with pytest.raises(DeviceLost):
            transport.dequeue(TIMEOUT)


def test_plugging_in_again_gives_frames_again(rig: VirtualDaq) -> None:
    with opened(rig) as transport:
        transport.start(8)
        take(transport)
        rig.box.unplug()
        take_until_lost(transport)
    rig.box.plug(number=4)
    found = discovery.find_box_at('1-1')
    assert found is not None and found.video is not None and found.video.path == '/dev/video4'
    with opened(rig) as again:
        again.start(8)
        assert take(again).sequence == 0


def test_port_reset_restarts_a_frozen_box(rig: VirtualDaq) -> None:
    with opened(rig) as transport:
        transport.start(8)
        take(transport)
        rig.box.freeze()
        transport.reset_port()
        with pytest.raises(DeviceLost):
            transport.dequeue(TIMEOUT)
    rig.box.wait(lambda: discovery.find_box_at('1-1') is not None)
    with opened(rig) as again:
        again.start(8)
        take(again)


def test_two_boxes_stream_side_by_side(make_rig: MakeRig) -> None:
    rig = make_rig([BoxConfig(rate=60.0, port='1-1'), BoxConfig(rate=60.0, port='1-2.3')])
    with closing(transport_to(rig.boxes[0])) as first, \
            closing(transport_to(rig.boxes[1])) as second:
        for transport in (first, second):
            transport.open(*SIZE)
            transport.start(8)
        for number in range(20):
            for transport in (first, second):
                buffer = take(transport)
                assert buffer.sequence == number
                transport.requeue(buffer)


# ---- controls


def test_control_words_arrive_as_they_are(rig: VirtualDaq) -> None:
    words = {controls.CONTRAST: 0x03C0, controls.GAMMA: 0xFFFF, controls.SHARPNESS: 0x8001}
    with opened(rig) as transport:
        for control, word in words.items():
            transport.write_control(control, word)
    assert {int(w['control']): int(w['value']) for w in rig.box.writes} == words


def test_readings_are_the_boxs_own_on_every_kernel(rig: VirtualDaq) -> None:
    rig.box.state['awake'] = 3
    rig.box.state['polling'] = 1
    everything = [*WORDS, controls.EXPOSURE_ABSOLUTE, controls.GAMMA]
    with opened(rig) as transport:
        transport.start(8)
        rig.box.trigger(1)
        rig.box.wait_frames(20)
        rig.box.freeze()
        rig.box.wait(lambda: rig.box.state['frozen'])
        while transport.dequeue(0.1) is not None:
            pass
        values = transport.read_controls(everything)
        record = rig.box.frames[-1]
        w, x, y, z = (int(part) for part in record['quaternion'])
        assert values == [
            _int32(w & 0xFFFF | x << 16), _int32(y & 0xFFFF | z << 16),
            int(record['counter']) & 0xFFFF, 1]
        assert len(set(map(int, rig.box.frames['quaternion'][:, 1]))) > 2


def _int32(value: int) -> int:
    return int(np.int64(value & 0xFFFFFFFF).astype(np.int32))


def test_both_words_of_a_quaternion_come_in_one_transfer(rig: VirtualDaq) -> None:
    with opened(rig) as transport:
        before = int(rig.box.state['control_reads'])
        transport.read_controls([*WORDS, controls.EXPOSURE_ABSOLUTE])
        assert int(rig.box.state['control_reads']) - before == 3  # values, of two selectors


def test_control_ranges_are_told(make_rig: MakeRig) -> None:
    rig = make_rig(control_maximum=255)
    with opened(rig) as transport:
        assert transport.control_range(controls.CONTRAST) == (0, 255)
        assert transport.control_range(0x00980924) is None


def test_refused_control_is_an_error_but_no_loss(rig: VirtualDaq) -> None:
    with opened(rig) as transport:
        rig.box.refuse('read', errno.EIO)
        with pytest.raises(DeviceError, match='read controls') as error:
            transport.read_controls(WORDS)
        assert not isinstance(error.value, DeviceLost)
        rig.box.refuse('read', 0)
        rig.box.refuse_writes(errno.EIO, 1)
        with pytest.raises(DeviceError, match='set control 0x00980910 to 1'):
            transport.write_control(controls.GAMMA, 1)
        transport.write_control(controls.GAMMA, 1)


def test_extension_unit_is_found_read_and_written(make_rig: MakeRig) -> None:
    rig = make_rig(open_ephys=True, unit_version=(1, 2, 3))
    with opened(rig) as transport:
        unit = transport.find_unit(UNIT_GUID.bytes_le)
        assert unit == 3
        assert transport.read_unit(unit, 1, 3) == bytes((1, 2, 3))
        transport.write_unit(unit, 3, bytes((1, 0)))
        assert rig.box.state['flags'] == 1
        with pytest.raises(DeviceError, match='selector 9 of extension unit 3'):
            transport.read_unit(unit, 9, 3)


def test_plain_firmware_has_no_such_unit(rig: VirtualDaq) -> None:
    with opened(rig) as transport:
        assert transport.find_unit(UNIT_GUID.bytes_le) is None


def test_missing_library_is_named(rig: VirtualDaq, tmp_path: Path) -> None:
    (tmp_path / 'libusb-1.0.so.0').write_text('this is no library')
    environment = {**rig.environ(), 'LD_LIBRARY_PATH': str(tmp_path)}
    script = HOLDER.replace('transport.open', 'import usb1; transport.open')
    blocked = (
        'import ctypes, usb1\n'
        'def none(*_): raise OSError(2, "cannot find a suitable libusb-1.0")\n'
        'usb1.libusb1.loadLibrary.__globals__["__loadLibrary"] = none\n')
    result = subprocess.run(
        [sys.executable, '-c', blocked + script], env=environment, text=True,
        capture_output=True, input='', timeout=60)
    assert result.returncode and 'sudo apt install libusb-1.0-0' in result.stderr
