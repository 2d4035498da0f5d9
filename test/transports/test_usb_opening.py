# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The USB transport is opened and closed, and its box goes and comes back."""
from contextlib import closing
import errno
from pathlib import Path
import subprocess
import sys

from box_client import MakeRig
from handles import handles, left_since
from miniscope_ros.errors import DeviceError, DeviceLost
from miniscope_ros.transports import discovery
from miniscope_ros.transports import v4l2_controls as controls
from miniscope_ros.transports.usb_uvc import UsbTransport
from miniscope_ros.transports.v4l2 import V4l2Transport
import pytest
from taking import check_refused_opening, SIZE, take, take_until_lost, TIMEOUT
from usb_scope import driver, HOLDER, opened, transport_to, WORDS
from virtual_daq import BoxConfig, VirtualDaq


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
    before = handles()
    for _ in range(10):
        cycle(transport)
    assert not left_since(before)
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
    check_refused_opening(transport_to(rig.box), rig.box, call, number, text)


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
