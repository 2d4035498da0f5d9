# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The virtual DAQ box as a computer shows it: nodes, formats, buffers, other programs."""
from __future__ import annotations

import ctypes
import glob
import os
from pathlib import Path
import select
import stat
import subprocess

from box_client import Client, Connect, FAST, MakeRig, raised
import cv2
from handles import handles, left_since
from miniscope_ros.transports import v4l2_abi as abi
from miniscope_ros.transports import v4l2_controls as controls
import numpy as np
import pytest
from virtual_daq import BoxConfig, Status
from virtual_daq.descriptors import UNIT_GUID


def test_nothing_is_redirected_without_a_rig(
        make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('VIRTUAL_DAQ_ROOT', raising=False)
    assert 'null' in os.listdir('/dev')
    with make_rig():
        assert sorted(glob.glob('/dev/video*')) == ['/dev/video0', '/dev/video1']


def test_nodes_and_sysfs(make_rig: MakeRig) -> None:
    rig = make_rig([BoxConfig(), BoxConfig(number=5, open_ephys=True)])
    assert sorted(glob.glob('/dev/video*')) == [f'/dev/video{n}' for n in (0, 1, 5, 6)]
    assert sorted(os.listdir('/sys/class/video4linux')) == ['video0', 'video1', 'video5', 'video6']
    assert stat.S_ISCHR(os.stat('/dev/video5').st_mode)
    assert os.stat('/dev/video5').st_rdev == os.makedev(81, 5)
    for name, index in (('video5', '0'), ('video6', '1')):
        node = Path('/sys/class/video4linux', name)
        assert (node / 'index').read_text() == f'{index}\n'
        assert (node / 'name').read_text() == 'UCLA/Open Ephys Miniscope DAQ v\n'
        device = (node / 'device').resolve()
        assert device.name == '1-2:1.0'
        assert device == Path('/sys/bus/usb/devices/1-2:1.0').resolve()
        assert (device.parent / 'idVendor').read_text() == '04b4\n'
        assert (device.parent / 'idProduct').read_text() == '00f9\n'
        assert (device.parent / 'product').read_text() == 'UCLA/Open Ephys Miniscope DAQ v3\n'
    descriptors = Path('/sys/bus/usb/devices/1-2/descriptors').read_bytes()
    assert UNIT_GUID.bytes_le in descriptors
    assert [os.path.realpath(box.by_path) for box in rig.boxes] == ['/dev/video0', '/dev/video5']
    assert not os.path.exists('/dev/video2')
    assert raised(lambda: os.open('/dev/video2', os.O_RDWR)) == 'ENOENT'


def test_unplugging_and_plugging_in_moves_the_nodes(make_rig: MakeRig) -> None:
    rig = make_rig()
    assert rig.box.present and rig.box.by_path in glob.glob('/dev/v4l/by-path/*')
    rig.box.unplug()
    assert not rig.box.present
    assert glob.glob('/dev/v*/**', recursive=True) == ['/dev/v4l/', '/dev/v4l/by-path']
    assert os.listdir('/sys/class/video4linux') == os.listdir('/sys/bus/usb/devices') == []
    rig.box.plug(4)
    assert os.path.realpath(rig.box.by_path) == '/dev/video4'
    rig.box.unplug(seconds=0.05, number=2)
    assert not os.path.exists('/dev/video4')
    rig.box.wait(lambda: os.path.exists('/dev/video2'))  # by itself
    assert os.path.realpath(rig.box.by_path) == rig.box.path == '/dev/video2'


def test_who_holds_a_node_can_be_found(make_rig: MakeRig, connect: Connect) -> None:
    client = connect(make_rig())
    own = f'/proc/{os.getpid()}/fd/{client.fd}'
    assert os.readlink(own) == '/dev/video0'
    copy = os.dup(client.fd)
    os.close(copy)
    with open(os.devnull) as file:
        assert os.readlink(f'/proc/{os.getpid()}/fd/{file.fileno()}') == os.devnull


def test_format_and_buffers_behave_as_uvcvideo(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client, other = connect(rig), connect(rig)
    assert client.format(640, 480) == (752, 480)
    assert client.format(2592, 1944) == (2592, 1944)
    assert client.format(608, 608) == (608, 608)
    assert raised(lambda: other.format(608, 608)) == 'EBUSY'
    assert client.poll() == select.POLLERR  # not streaming
    assert raised(client.dequeue) == 'EINVAL'
    assert raised(lambda: client.call(abi.VIDIOC_STREAMON, ctypes.c_int32(1))) == 'EINVAL'
    assert client.request(100) == 32
    assert raised(lambda: client.format(608, 608)) == 'EBUSY'
    client.queue(3)
    assert raised(lambda: client.queue(3)) == 'EINVAL'
    assert raised(lambda: client.queue(32)) == 'EINVAL'
    assert client.request(0) == 0
    assert other.format(608, 608) == (608, 608)
    assert raised(lambda: client.request(4)) == 'EBUSY'


def test_a_held_duplicate_keeps_the_stream(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client = connect(rig).start()
    copy = os.dup(client.fd)
    os.close(client.fd)
    assert rig.box.streaming
    client.fd = copy
    client.frame()
    client.stop()
    assert not rig.box.busy


def test_a_blocking_client_is_woken(make_rig: MakeRig, connect: Connect) -> None:
    client = connect(make_rig(), flags=0).start()
    for sequence in range(3):
        buffer = client.dequeue()
        assert buffer.sequence == sequence
        client.queue(buffer.index)


@pytest.mark.parametrize('wait', ['select', 'poll', 'epoll'])
def test_all_ways_to_wait(make_rig: MakeRig, connect: Connect, wait: str) -> None:
    rig = make_rig()
    client = connect(rig).start()
    epoll = select.epoll()
    epoll.register(client.fd, select.EPOLLIN)
    for _ in range(3):
        ready = {
            'select': lambda: select.select([client.fd], [], [], 2.0)[0],
            'poll': lambda: client.poll() & select.POLLIN,
            'epoll': lambda: epoll.poll(2.0)}[wait]()
        assert ready
        client.queue(client.dequeue().index)
    epoll.close()
    rig.box.unplug()
    assert client.poll() == select.POLLERR | select.POLLHUP
    assert select.select([client.fd], [], [], 2.0)[0] == [client.fd]


def test_frames_carry_what_the_log_says(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(image='ramp', jitter=0.0003)
    client = connect(rig).start()
    received = [client.frame() for _ in range(50)]
    records = rig.box.frames[:50]
    assert records['status'].tolist() == [Status.DELIVERED] * 50
    for (buffer, image), record in zip(received, records, strict=True):
        assert buffer.sequence == record['sequence']
        stamp_us = buffer.timestamp.seconds * 1_000_000 + buffer.timestamp.microseconds
        assert stamp_us == record['reported_ns'] // 1000
        assert record['stamp_ns'] < record['end_ns'] <= record['ready_ns']
        grey = image[::2].reshape(608, 608)
        assert np.array_equal(grey, rig.box.expected_grey(record))
        assert (image[1::2] == 128).all()
    assert len(np.unique(grey)) == 256
    assert len({buffer.timestamp.microseconds for buffer, _ in received}) == 50
    period = np.diff([record['stamp_ns'] for record in records])
    assert set(period) == {round(1e9 / FAST)} or np.ptp(period) <= 1
    jitter = (records['reported_ns'] - records['stamp_ns']) / 1e9
    assert 0.0001 < jitter.std() < 0.0006


def test_prepared_frames_are_cycled(make_rig: MakeRig, connect: Connect) -> None:
    bank = np.random.default_rng(1).integers(0, 256, (3, 480, 752), np.uint8)
    rig = make_rig(device_type='Miniscope_V3', image=bank)
    client = connect(rig).start(752, 480)
    for number in range(7):
        image = client.frame()[1]
        assert np.array_equal(image[::2].reshape(480, 752), bank[number % 3])


def test_a_set_size_that_is_not_the_scopes_gives_damaged_frames(
        make_rig: MakeRig, connect: Connect) -> None:
    client = connect(make_rig()).start(752, 480)
    assert client.frame()[0].flags & abi.BUF_FLAG_ERROR


def test_without_buffers_frames_are_dropped_and_counted(
        make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(kernel='fixed_firmware')
    client = connect(rig).start(count=4)
    client.write(controls.SATURATION, 1)
    rig.box.wait_frames(20)
    first = [client.frame()[0].sequence for _ in range(5)]
    assert first[:4] == [0, 1, 2, 3] and first[4] >= 20
    rig.box.freeze()
    records = rig.box.frames
    assert (records['status'] == Status.NO_BUFFER).any()
    assert client.read(controls.CONTRAST) == [len(records)]
    assert rig.box.sync_toggles == (records['sync'] >= 0).sum() >= 19


def test_two_boxes_at_once(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig([BoxConfig(rate=FAST), BoxConfig('Miniscope_V3', rate=200)])
    first, second = connect(rig).start(), connect(rig, 1).start(752, 480)
    first.send('20 01 00')
    second.send('98 0F F0')
    for _ in range(10):
        first.frame()
        second.frame()
    assert [box.executed for box in rig.boxes] == [[b'\x20\x01\x00'], [b'\x98\x0F\xF0']]
    rig.boxes[0].unplug()
    assert first.poll() & select.POLLHUP
    second.frame()
    assert rig.boxes[1].led == 1.0


def test_opencv(make_rig: MakeRig) -> None:
    rig = make_rig(kernel='fixed_firmware')
    capture = cv2.VideoCapture(rig.box.path, cv2.CAP_V4L2)
    assert capture.isOpened()
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 752  # the nearest to OpenCV's 640x480
    assert capture.set(cv2.CAP_PROP_FRAME_WIDTH, 608)
    assert capture.set(cv2.CAP_PROP_FRAME_HEIGHT, 608)
    assert capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
    assert capture.read()[0]
    before = len(rig.box.writes)
    for prop, word in zip(
            (cv2.CAP_PROP_CONTRAST, cv2.CAP_PROP_GAMMA, cv2.CAP_PROP_SHARPNESS),
            (0x0521, 0xCC00, 0xE400), strict=True):
        assert capture.set(prop, word)
    assert rig.box.writes['value'][before:].tolist() == [0x0521, 0xCC00, 0xE400]
    for _ in range(10):
        good, image = capture.read()
        assert good and image.shape == (608, 608, 2)
        number = int.from_bytes(image[0, :8, 0].tobytes(), 'little')
        assert np.array_equal(image[:, :, 0], rig.box.expected_grey(rig.box.frames[number]))
    assert rig.box.executed == [bytes.fromhex('200500CC00E4')]
    assert capture.get(cv2.CAP_PROP_EXPOSURE) > 0
    capture.release()
    assert not rig.box.busy
    by_number = cv2.VideoCapture(0, cv2.CAP_V4L2)
    assert by_number.read()[0]
    rig.box.unplug()
    assert not by_number.read()[0]
    by_number.release()


def test_other_programs_see_the_same_files(make_rig: MakeRig) -> None:
    rig = make_rig()
    script = 'ls /dev/video*; cat /sys/class/video4linux/video1/name; readlink /dev/v4l/by-path/*'
    shown = subprocess.run(
        ['sh', '-c', script], env=rig.environ(), text=True, capture_output=True, check=True)
    assert shown.stdout.split('\n') == [
        '/dev/video0', '/dev/video1', 'MINISCOPE: MINISCOPE', '../../video0', '../../video1', '']
    with pytest.raises(subprocess.CalledProcessError):
        rig.run('-c', 'raise SystemExit(3)')
    assert rig.run('-c', 'import os; print(os.path.exists("/dev/video0"))') == 'True\n'


def test_a_child_process_leaves_the_parents_stream_alone(
        make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client = connect(rig).start()
    subprocess.run(['true'], check=True)
    subprocess.run(['true'], check=True, preexec_fn=lambda: os.close(client.fd))
    child = os.fork()
    if child == 0:
        os.close(client.fd)
        os._exit(0)
    os.waitpid(child, 0)
    for _ in range(3):
        client.frame()
    assert rig.box.streaming


def test_nothing_is_left_behind(make_rig: MakeRig) -> None:
    rig = make_rig()

    def cycle() -> int:
        client = Client(rig.box.path).start()
        client.frame()
        client.stop()
        client.close()
        rig.box.plug()
        return Path('/proc/self/maps').read_text().count('virtual_daq')

    mapped = cycle()
    before = handles()
    for _ in range(20):
        assert cycle() <= mapped  # what an earlier test has left may go meanwhile
        assert not left_since(before)


def test_the_boxes_own_cpu_time_is_known(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client = connect(rig).start()
    for _ in range(30):
        client.frame()
    used = rig.box.cpu_time
    thread = int(rig.box.state['thread_id'])
    assert Path(f'/proc/self/task/{thread}/comm').read_text() == 'virtual_daq\n'
    client.stop()
    assert 0 < used <= rig.box.cpu_time
