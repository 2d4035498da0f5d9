# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The virtual DAQ box itself, by bare system calls and by OpenCV's V4L2 backend."""
from __future__ import annotations

from collections.abc import Callable, Iterator
import ctypes
import errno
import fcntl
import glob
import itertools
import mmap
import os
from pathlib import Path
import select
import signal
import stat
import subprocess
import sys
from typing import Any

import cv2
from miniscope_ros.transports import controls
from miniscope_ros.transports import v4l2_abi as abi
import numpy as np
from numpy.typing import NDArray
import pytest
import virtual_daq
from virtual_daq import BoxConfig, Fault, pacing_violations, Protocol, scope, Status, VirtualDaq
from virtual_daq.box import encode
import yaml

FAST = 300.0  # frames/s
WORDS = (controls.CONTRAST, controls.GAMMA, controls.SHARPNESS)
ORIENTATION = (controls.PAN_ABSOLUTE, controls.TILT_ABSOLUTE)
SENSOR_INIT = ('50 41 09 05', '50 3D 0C', 'FE 00')
TYPES = list(yaml.safe_load(scope.CATALOG.read_text()))

MakeRig = Callable[..., VirtualDaq]


class Client:
    """A V4L2 client of nothing but system calls."""

    def __init__(self, path: str, flags: int = os.O_NONBLOCK) -> None:
        self.fd = os.open(path, os.O_RDWR | flags)
        self.maps: list[mmap.mmap] = []
        self.buffer = abi.Buffer()

    def call(self, request: int, data: Any) -> Any:
        fcntl.ioctl(self.fd, request, data)
        return data

    def format(self, width: int, height: int) -> tuple[int, int]:
        wanted = abi.Format(type=1)
        wanted.pix = abi.PixelFormat(width=width, height=height, pixelformat=abi.PIX_FMT_YUYV)
        self.call(abi.VIDIOC_S_FMT, wanted)
        return wanted.pix.width, wanted.pix.height

    def request(self, count: int) -> int:
        return int(self.call(
            abi.VIDIOC_REQBUFS, abi.RequestBuffers(count=count, type=1, memory=1)).count)

    def queue(self, index: int) -> None:
        self.call(abi.VIDIOC_QBUF, abi.Buffer(index=index, type=1, memory=1))

    def start(self, width: int = 608, height: int = 608, count: int = 16) -> Client:
        self.format(width, height)
        for index in range(self.request(count)):
            found = self.call(abi.VIDIOC_QUERYBUF, abi.Buffer(index=index, type=1, memory=1))
            self.maps.append(mmap.mmap(
                self.fd, found.length, mmap.MAP_SHARED, mmap.PROT_READ, offset=found.offset))
            self.queue(index)
        self.call(abi.VIDIOC_STREAMON, ctypes.c_int32(1))
        return self

    def poll(self, timeout_ms: int = 2000) -> int:
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        return next((events for _, events in poller.poll(timeout_ms)), 0)

    def dequeue(self) -> abi.Buffer:
        return self.call(abi.VIDIOC_DQBUF, abi.Buffer(type=1, memory=1))

    def frame(self) -> tuple[abi.Buffer, NDArray[np.uint8]]:
        """Return the next frame's buffer and a copy of its bytes; it must come."""
        assert self.poll() == select.POLLIN
        buffer = self.dequeue()
        image = np.frombuffer(self.maps[buffer.index], np.uint8, buffer.bytesused).copy()
        self.queue(buffer.index)
        return buffer, image

    def write(self, control: int, value: int) -> None:
        self.call(abi.VIDIOC_S_CTRL, abi.Control(control, value))

    def read(self, *ids: int) -> list[int]:
        group = (abi.ExtControl * len(ids))(*(abi.ExtControl(id=one) for one in ids))
        self.call(abi.VIDIOC_G_EXT_CTRLS, abi.ExtControls(count=len(ids), controls=group))
        return [one.value for one in group]

    def send(self, *packets: str) -> None:
        """Send packets without the pauses that the real box needs."""
        for packet in packets:
            words = np.frombuffer(encode(bytes.fromhex(packet)), '<u2')
            for control, word in zip(WORDS, words, strict=True):
                self.write(control, int(word))

    def unit(self, selector: int, query: int, data: bytes, unit: int = 3) -> bytes:
        content = (ctypes.c_ubyte * len(data)).from_buffer_copy(data)
        self.call(abi.UVCIOC_CTRL_QUERY, abi.UnitQuery(
            unit=unit, selector=selector, query=query, size=len(data), data=content))
        return bytes(content)

    def stop(self) -> None:
        self.call(abi.VIDIOC_STREAMOFF, ctypes.c_int32(1))
        for one in self.maps:
            one.close()
        self.maps.clear()
        self.request(0)

    def close(self) -> None:
        for one in self.maps:
            one.close()
        os.close(self.fd)


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[MakeRig]:
    """Return a function that plugs boxes in for this process."""
    if not virtual_daq.is_preloaded():
        pytest.skip('needs the virtual DAQ box preloaded (virtual_daq.reexec_preloaded)')
    rigs: list[VirtualDaq] = []

    def make(*boxes: BoxConfig, **config: Any) -> VirtualDaq:
        rig = VirtualDaq(tmp_path, boxes or [BoxConfig(**{'rate': FAST, **config})])
        rig.__enter__()
        rigs.append(rig)
        return rig

    yield make
    for rig in reversed(rigs):
        rig.__exit__()


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Return a function that opens a rig's box."""
    clients: list[Client] = []

    def make(rig: VirtualDaq, index: int = 0, flags: int = os.O_NONBLOCK) -> Client:
        clients.append(Client(rig.boxes[index].path, flags))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


Connect = Callable[..., Client]


def raised(call: Callable[[], Any]) -> str:
    """Return the name of the errno that a call fails with."""
    with pytest.raises(OSError) as error:
        call()
    return errno.errorcode[error.value.errno or 0]


# ---- what the computer shows


def test_nothing_is_redirected_without_a_rig(make_rig: MakeRig) -> None:
    assert 'null' in os.listdir('/dev')
    with make_rig():
        assert sorted(glob.glob('/dev/video*')) == ['/dev/video0', '/dev/video1']


def test_nodes_and_sysfs(make_rig: MakeRig) -> None:
    rig = make_rig(BoxConfig(), BoxConfig(number=5, open_ephys=True))
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
    assert virtual_daq.box.UNIT_GUID.bytes_le in descriptors
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


# ---- formats and buffers


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


# ---- packets


def test_golden_words_become_the_packets_of_the_facts(
        make_rig: MakeRig, connect: Connect) -> None:
    golden = {
        'C0 1F 10': (0x03C0, 0x101F, 0x0000), 'AA 01 02 03 04': (0x05AA, 0x0201, 0x0403),
        'B0 05 20 11 22 33': (0x05B1, 0x1120, 0x3322),
        '20 05 00 CC 00 E4': (0x0521, 0xCC00, 0xE400), 'FE 00': (0x02FE, 0, 0)}
    rig = make_rig()
    client = connect(rig)
    for words in golden.values():
        for control, word in zip(WORDS, words, strict=True):
            client.write(control, word)
    assert rig.box.executed == []  # nothing runs while nothing streams
    client.start().frame()
    assert rig.box.executed == [bytes.fromhex(packet) for packet in golden]
    assert set(rig.box.packets['frame']) == {0}
    assert rig.box.state['polling'] == 1
    assert rig.box.protocol_faults == []
    assert rig.box.writes['control'].tolist() == list(WORDS) * 5
    assert pacing_violations(rig.box.writes)  # this client made no pauses


def test_pacing_is_judged(make_rig: MakeRig) -> None:
    writes = np.zeros(30, virtual_daq.build.layouts()['writes'])
    writes['control'] = list(WORDS) * 10
    rests = 10_000_000 * (np.arange(30) // 12)
    writes['ns'] = 128_000 * np.arange(30) + rests
    assert pacing_violations(writes) == []
    writes['ns'][17:] -= 1
    assert len(pacing_violations(writes)) == 1
    writes['ns'] = 128_000 * np.arange(30)
    assert len(pacing_violations(writes)) == 16  # every word from the fifth packet's last on


def test_protocol_faults_are_recorded(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client = connect(rig)
    client.write(controls.GAMMA, 1)
    client.write(controls.CONTRAST, 0x03C0)
    client.write(controls.CONTRAST, 0x02FE)
    client.write(controls.GAMMA, 0)
    client.write(controls.SHARPNESS, 0)
    for control in WORDS:
        client.write(control, 0)
    for control, word in zip(WORDS, (0x0720, 0, 0), strict=True):
        client.write(control, word)
    assert rig.box.protocol_faults == [
        Protocol.ORDER, Protocol.HALF, Protocol.EMPTY, Protocol.LENGTH]
    client.start().frame()
    assert rig.box.executed[0] == bytes.fromhex('FE00')


def test_the_queue_holds_64_packets(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client = connect(rig)
    client.send(*(f'AA {n:02X}' for n in range(64)))
    assert rig.box.protocol_faults == [] and rig.box.state['queued'] == 64
    client.send('AA FF')
    assert rig.box.protocol_faults == [Protocol.OVERFLOW]
    client.start().frame()
    assert [packet[1] for packet in rig.box.executed] == [*range(1, 64), 255]


def test_packets_run_at_the_end_of_finished_frames_only(
        make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client = connect(rig).start()
    client.frame()
    start = rig.box.frame + 2
    rig.box.plan(dict.fromkeys(range(start, start + 20), Fault.UNFINISHED))
    rig.box.wait(lambda: rig.box.frame > start)
    client.send('EE 08 7F 02')
    rig.box.wait(lambda: len(rig.box.packets))
    assert rig.box.packets[0]['frame'] == start + 20
    assert rig.box.raw('focus') == 0x7F and rig.box.registers[0xEE, 8] == b'\x7f\x02'


@pytest.mark.parametrize('device_type', TYPES)
def test_every_types_controls_reach_their_registers(
        make_rig: MakeRig, connect: Connect, device_type: str) -> None:
    rig = make_rig(device_type=device_type, rate=0)
    rig.box.state['start_rate'] = FAST
    width, height = rig.box.scope['size']
    client = connect(rig).start(width, height, count=2)
    for name, control in rig.box.scope['controls'].items():
        if 'choices' in control:
            tried = [(v, raw, second) for raw, second, v in scope.choices(control)]
        else:
            tried = [(v, scope.raw_value(control, v), -1) for v in (0, 50, 100)]
        for value, raw, second in reversed(tried):
            parts = {str(k): f'{raw >> 8 * k & 255:02X}' for k in range(4)}
            parts |= {f'b{k}': f'{second >> 8 * k & 255:02X}' for k in range(2)}
            rig.box.leave_packets(
                bytes.fromhex(''.join(parts.get(word.strip('{}'), word) if '{' in word else word
                                      for word in packet.split()))
                for packet in control['packets'])
            rig.box.wait(lambda: rig.box.state['queued'] == 0)
            rig.box.wait_frames(1)  # seen from outside, the end of a frame takes a while
            assert rig.box.raw(name) == raw
            if name.startswith('led'):
                light = rig.box.led if name == 'led' else rig.box.led2
                span = control['max'] - control['min']
                assert light == pytest.approx(value / span, abs=0.02)
            elif name == 'frame_rate':
                assert rig.box.state['rate'] == value
                rig.box.set_rate(FAST)
            elif name == 'gain':
                assert rig.box.state['gain'] == value
    client.stop()


def test_the_rate_follows_its_register(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(rate=0, rate_factor=19.76 / 20)
    client = connect(rig)
    client.send('20 05 00 C9 13 88')
    client.start()
    for _ in range(6):
        client.frame()
    periods = np.diff(rig.box.frames['stamp_ns'])
    assert abs(periods[0] - 1e9 / (30 * 0.988)) < 1000
    assert abs(periods[3] - 1e9 / 19.76) < 1000


# ---- light


def test_light_is_mixed_in_the_next_frame_and_full_in_the_second(
        make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(image='lit')
    client = connect(rig).start()
    client.frame()
    client.send('20 01 00', '58 00 72 00')
    images = [client.frame()[1] for _ in range(12)]
    at = int(rig.box.packets[-1]['frame'])
    by_number = {int(image[:16:2].copy().view('<u8')[0]): image for image in images}
    levels = [int(by_number[at + after][16]) for after in (0, 1, 2, 3)]
    assert levels == [8, 38, 68, 68]
    records = rig.box.frames[at:at + 4]
    assert records['light_start'][:, 0].tolist() == [0, 0, 1, 1]
    assert records['light_end'][:, 0].tolist() == [0, 1, 1, 1]
    assert records['level'].tolist() == levels
    client.send('20 05 00 CC 24 00')  # gain 3.5: raw 36 is 0x24, low byte last
    rig.box.wait(lambda: rig.box.state['queued'] == 0)
    assert rig.box.state['gain'] != 3.5
    client.send('20 05 00 CC 00 24')
    rig.box.wait(lambda: rig.box.state['gain'] == 3.5)


def test_the_darker_of_enable_and_current_counts(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client = connect(rig).start()
    client.send('20 01 00', '58 00 72 00')
    rig.box.wait(lambda: rig.box.led == 1.0)
    client.send('20 01 FF')
    rig.box.wait(lambda: rig.box.led == 0.0)


def test_power_on_is_dark_and_forgets_registers(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client = connect(rig).start()
    client.send('20 01 00', '58 00 72 00', 'EE 08 10 02')
    rig.box.wait(lambda: rig.box.raw('focus') == 16)
    rig.box.reset()
    assert rig.box.led == 1.0 and rig.box.raw('focus') == 16  # the scope kept its power
    rig.box.plug()
    assert rig.box.led == 0.0 and rig.box.raw('focus') == -1


CLIENT = """
import sys, time
sys.path[:0] = {path!r}
from test_virtual_daq import Client
client = Client('/dev/video0').start()
client.send('20 01 00', '58 00 72 00')
while True:
    client.frame()
"""


def test_state_outlives_a_killed_client(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    child = rig.popen('-c', CLIENT.format(path=sys.path))
    rig.box.wait(lambda: rig.box.led == 1.0)
    assert rig.box.streaming
    client = connect(rig)
    assert raised(lambda: client.format(608, 608)) == 'EBUSY'
    holders = [os.readlink(entry) for entry in glob.glob(f'/proc/{child.pid}/fd/*')]
    assert '/dev/video0' in holders
    # Kill it in the middle of a packet, with another one waiting.
    os.kill(child.pid, signal.SIGSTOP)
    client.send('EE 08 20 02')
    client.write(controls.CONTRAST, 0x03C0)
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    assert not rig.box.busy and not rig.box.streaming
    assert rig.box.led == 1.0
    before = rig.box.frame
    client.start().frame()
    rig.box.wait(lambda: rig.box.raw('focus') == 32)
    packet = rig.box.packets[-1]
    assert before <= packet['frame'] <= before + 1
    client.send('20 01 FF')
    rig.box.wait(lambda: rig.box.led == 0.0)
    assert rig.box.protocol_faults == [Protocol.HALF]


def test_many_killed_clients(make_rig: MakeRig) -> None:
    rig = make_rig()
    for count in range(1, 6):
        child = rig.popen('-c', CLIENT.format(path=sys.path))
        rig.box.wait(lambda count=count: rig.box.state['streams'] == count)
        rig.box.wait_frames(count)
        child.kill()
        child.wait(10)
        assert not rig.box.streaming


# ---- reading


def quaternion(client: Client) -> tuple[int, ...]:
    return tuple(np.array(client.read(*ORIENTATION), '<i4').view('<i2').tolist())


def test_orientation_is_the_log_s(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(rate=30)
    client = connect(rig).start()
    client.frame()
    assert quaternion(client) == (0, 0, 0, 0)
    client.send(*SENSOR_INIT)
    client.frame()
    seen = []
    for _ in range(10):
        buffer, _ = client.frame()
        seen.append((buffer.sequence, quaternion(client)))
    records = {int(r['sequence']): tuple(r['quaternion'].tolist()) for r in rig.box.frames}
    assert [reading for _, reading in seen] == [records[number] for number, _ in seen]
    assert len({reading for _, reading in seen}) == 10
    norms = [np.linalg.norm(reading) / 16384 for _, reading in seen]
    assert np.allclose(norms, 1, atol=1e-4)


def test_orientation_faults(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client = connect(rig).start()
    client.send(*SENSOR_INIT)
    client.frame()
    start = rig.box.frame + 10
    rig.box.plan({start: Fault.QUAT_ZERO, start + 1: Fault.QUAT_BAD, start + 3: Fault.QUAT_FROZEN})
    rig.box.wait(lambda: rig.box.frame > start + 4)
    norms = np.linalg.norm(rig.box.frames['quaternion'][start - 1:start + 3], axis=1) / 16384
    assert np.allclose(norms, [1, 0, 1.5, 1], atol=1e-3)
    readings = rig.box.frames['quaternion'].tolist()
    assert readings[start + 3] == readings[start + 2] != readings[start + 4]
    rig.box.rest()
    rig.box.wait_frames(5)
    assert quaternion(client) == tuple(rig.box.frames['quaternion'][-3])
    rig.box.rest(False)
    rig.box.brown_out()
    rig.box.wait(lambda: quaternion(client) == (0, 0, 0, 0))
    client.send('50 41 09 05', '50 3D 0C')
    rig.box.wait(lambda: quaternion(client) != (0, 0, 0, 0))


def test_a_fast_client_gets_the_reading_before(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(rate=2, reading_delay=0.4)
    rig.box.leave_packets(map(bytes.fromhex, SENSOR_INIT))
    client = connect(rig).start()
    for _ in range(3):
        client.frame()
    assert quaternion(client) == tuple(rig.box.frames[1]['quaternion'])
    rig.box.wait(lambda: quaternion(client) == tuple(rig.box.frames[2]['quaternion']))


@pytest.mark.parametrize(('kernel', 'fresh'), [
    ('fixed_firmware', (True, True)), ('old_kernel', (True, False)),
    ('new_kernel', (False, False))])
def test_the_kernels_cache(
        make_rig: MakeRig, connect: Connect, kernel: str, fresh: tuple[bool, bool]) -> None:
    rig = make_rig(kernel=kernel)
    client = connect(rig).start()
    client.send(*SENSOR_INIT)
    client.frame()
    rig.box.wait_frames(3)
    client.write(controls.CONTRAST, 0x05AA)
    first = client.read(*ORIENTATION, controls.CONTRAST, controls.EXPOSURE_ABSOLUTE)
    rig.box.wait_frames(3)
    second = client.read(*ORIENTATION, controls.CONTRAST, controls.EXPOSURE_ABSOLUTE)
    assert (first[:2] != second[:2]) == fresh[0]
    assert (first[3] != second[3]) == fresh[1]
    assert (second[2] == 0x05AA) == (not fresh[1])  # the last word written comes back


def test_interface_version_question(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(interface_version=2)
    client = connect(rig)
    client.write(controls.SATURATION, 2)
    assert client.read(controls.HUE) == [2]
    client.write(controls.SATURATION, 0)
    assert client.read(controls.HUE) == [0]
    client.start()
    client.write(controls.SATURATION, 1)
    client.frame()
    client.frame()
    toggles = rig.box.sync_toggles
    assert toggles >= 1
    client.write(controls.SATURATION, 2)  # the question switches sync off
    toggles = rig.box.sync_toggles
    rig.box.wait_frames(3)
    assert rig.box.sync_toggles == toggles


def test_old_firmware_has_short_ranges(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(control_maximum=255)
    client = connect(rig)
    question = client.call(abi.VIDIOC_QUERYCTRL, abi.QueryControl(id=controls.CONTRAST))
    assert (question.minimum, question.maximum) == (0, 255)
    answer = client.call(abi.VIDIOC_S_CTRL, abi.Control(controls.CONTRAST, 0x05AA))
    assert answer.value == 255  # as uvcvideo clamps


def test_trigger_input(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(kernel='fixed_firmware')
    client = connect(rig)
    for level in (0, 1, 0):
        rig.box.trigger(level)
        assert client.read(controls.GAMMA) == [level]


# ---- faults


def test_both_kinds_of_loss(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(kernel='fixed_firmware')
    lost, unfinished = {5, 6, 20}, {9, 30, 31}
    rig.box.plan([(n, Fault.LOST) for n in lost] + [(n, Fault.UNFINISHED) for n in unfinished])
    client = connect(rig)
    client.write(controls.SATURATION, 1)
    client.start()
    frames = [client.frame()[0] for _ in range(40)]
    rig.box.freeze()
    records = rig.box.frames
    assert set(records['frame'][records['status'] == Status.LOST]) == lost
    assert set(records['frame'][records['status'] == Status.UNFINISHED]) == unfinished
    finished = len(records) - 3
    assert client.read(controls.CONTRAST) == [finished]
    assert rig.box.sync_toggles == finished
    sequences = [frame.sequence for frame in frames]
    assert np.diff(sequences).sum() == 39 + 3
    stamps = [frame.timestamp.seconds + frame.timestamp.microseconds / 1e6 for frame in frames]
    assert round((stamps[-1] - stamps[0]) * FAST) == 39 + 6


def test_damaged_frames_and_bad_stamps(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    size = 2 * 608 * 608
    faults = [Fault.ERROR_FLAG, Fault.SHORT, Fault.EMPTY, Fault.STAMP_ZERO, Fault.STAMP_BACK,
              Fault.STAMP_FAR]
    rig.box.plan({2 * i + 1: fault for i, fault in enumerate(faults)})
    client = connect(rig).start()
    frames = [client.frame()[0] for _ in range(13)]
    stamps = [f.timestamp.seconds * 1_000_000 + f.timestamp.microseconds for f in frames]
    assert [bool(f.flags & abi.BUF_FLAG_ERROR) for f in frames] == [n == 1 for n in range(13)]
    assert [f.bytesused for f in frames] == [
        {3: size // 2, 5: 0}.get(n, size) for n in range(13)]
    assert stamps[7] == 0
    assert stamps[8] < stamps[10] and stamps[9] < stamps[8]
    assert stamps[11] > stamps[10] + 3_500_000_000
    rig.box.next_frame(Fault.ERROR_FLAG)
    rig.box.wait(lambda: (rig.box.frames['faults'] == Fault.ERROR_FLAG).sum() == 2)


def test_wrong_first_frames(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    rig.box.bad_at_start(2)
    client = connect(rig)
    for _ in range(2):
        client.start()
        sizes = [client.frame()[0].bytesused for _ in range(4)]
        assert sizes == [608 * 608] * 2 + [2 * 608 * 608] * 2
        client.stop()


def test_freeze_until_the_usb_port_is_reset(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(reset_time=0.1, reset_number=2)
    client = connect(rig).start()
    client.send('20 01 00', '58 00 72 00')
    rig.box.wait(lambda: rig.box.led == 1.0)
    rig.box.freeze()
    while client.poll(100) == select.POLLIN:
        client.queue(client.dequeue().index)
    assert client.poll(0) == 0
    device = Path('/sys/class/video4linux/video0/device').resolve().parent
    number = int((device / 'devnum').read_text())
    node = f'/dev/bus/usb/001/{number:03}'
    rig.box.refuse('reset', errno.EACCES)
    assert raised(lambda: os.open(node, os.O_RDWR)) == 'EACCES'
    rig.box.refuse('reset', 0)
    reading = os.open(node, os.O_RDONLY)
    assert raised(lambda: fcntl.ioctl(reading, abi.USBDEVFS_RESET, 0)) == 'EPERM'
    writing = os.open(node, os.O_RDWR)
    fcntl.ioctl(writing, abi.USBDEVFS_RESET, 0)
    os.close(reading)
    os.close(writing)
    assert client.poll() == select.POLLERR | select.POLLHUP
    assert raised(client.dequeue) == raised(lambda: client.write(controls.GAMMA, 0)) == 'ENODEV'
    assert not os.path.exists('/dev/video0')
    rig.box.wait(lambda: os.path.exists('/dev/video2'))
    assert rig.box.led == 1.0  # the light outlives the box's restart
    again = connect(rig).start()
    again.frame()
    assert raised(lambda: client.format(608, 608)) == 'ENODEV'


def test_hard_reset_by_packet_needs_frames(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(reset_time=0.05)
    client = connect(rig)
    client.send('FE 01')
    assert rig.box.present
    client.start()
    assert client.poll() & select.POLLERR
    rig.box.wait(lambda: rig.box.present)
    assert rig.box.state['generation'] == 2
    assert raised(client.dequeue) == 'ENODEV'


def test_unplugging_wakes_a_waiting_client(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(rate=2)
    client = connect(rig, flags=0).start()
    client.dequeue()
    script = (
        f'import sys; sys.path[:0] = {sys.path!r}; from virtual_daq.build import library; '
        f'library().virtual_daq_unplug({str(rig.root).encode()!r}, b"box0", 0, -1)')
    child = rig.popen('-c', script)
    assert raised(client.dequeue) == 'ENODEV'
    assert child.wait(10) == 0


def test_refusals(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    client = connect(rig)
    rig.box.refuse_writes(errno.EPIPE, 2)
    assert raised(lambda: client.write(controls.GAMMA, 1)) == 'EPIPE'
    assert raised(lambda: client.write(controls.GAMMA, 1)) == 'EPIPE'
    client.write(controls.SATURATION, 1)
    assert rig.box.writes['error'].tolist() == [errno.EPIPE, errno.EPIPE, 0]
    for call, number, attempt in (
            ('open', errno.EACCES, lambda: Client('/dev/video0')),
            ('format', errno.EBUSY, lambda: client.format(608, 608)),
            ('read', errno.EIO, lambda: client.read(controls.HUE)),
            ('stream', errno.ENOSPC, client.start)):
        rig.box.refuse(call, number)
        assert raised(attempt) == errno.errorcode[number]
        rig.box.refuse(call, 0)
    assert raised(lambda: client.read(0x00980999)) == 'EINVAL'


@pytest.mark.parametrize('link', ['needs_serdes', 'none'])
def test_link_that_is_down(make_rig: MakeRig, connect: Connect, link: str) -> None:
    rig = make_rig(link=link)
    client = connect(rig).start()
    assert client.poll(50) == 0
    client.send('C0 1F 10', 'B0 05 20')
    if link == 'needs_serdes':
        client.frame()
        assert rig.box.executed == [b'\xC0\x1F\x10', b'\xB0\x05\x20']
    else:
        assert client.poll(50) == 0 and rig.box.executed == []


def test_a_dead_clients_packets_wait(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig()
    left = [bytes.fromhex('200100'), bytes.fromhex('58007200')]
    rig.box.leave_packets(left)
    assert rig.box.led == 0.0
    connect(rig).start().frame()
    assert rig.box.executed == left and rig.box.led == 1.0


# ---- Open Ephys firmware


def test_open_ephys_commands_and_telemetry(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(open_ephys=True, unit_version=(1, 2, 3))
    client = connect(rig)
    assert client.unit(1, abi.UVC_GET_CUR, bytes(3)) == bytes((1, 2, 3))
    assert client.unit(2, 0x85, bytes(2)) == bytes((25, 0))  # GET_LEN
    assert raised(lambda: client.unit(1, abi.UVC_GET_CUR, bytes(4))) == 'ENOBUFS'
    assert raised(lambda: client.unit(4, abi.UVC_GET_CUR, bytes(4))) == 'ENOENT'
    packets = [encode(bytes.fromhex(packet)) for packet in SENSOR_INIT]
    client.unit(2, abi.UVC_SET_CUR, (bytes([3]) + b''.join(packets)).ljust(25, b'\0'))
    client.unit(3, abi.UVC_SET_CUR, bytes((1, 0)))
    rig.box.trigger(2)
    client.start()
    images = [client.frame()[1] for _ in range(5)]
    assert rig.box.executed == [bytes.fromhex(packet) for packet in SENSOR_INIT]
    assert rig.box.sync_toggles >= 5
    for image, record in itertools.islice(zip(images, rig.box.frames, strict=False), 5):
        words = image[1:40:2].copy().view('<u4')
        assert words[0] == record['counter']
        assert words[2] == 2
        assert tuple(words[3:].view('<i2')) == tuple(record['quaternion'])
        grey = image[::2].reshape(608, 608)
        assert np.array_equal(grey, rig.box.expected_grey(record))
    rig.box.wait_frames(1)
    assert pacing_violations(rig.box.writes[:1]) == []


# ---- several boxes, OpenCV, other programs


def test_two_boxes_at_once(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(BoxConfig(rate=FAST), BoxConfig('Miniscope_V3', rate=200))
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

    def cycle() -> tuple[int, int, int]:
        client = Client(rig.box.path).start()
        client.frame()
        client.stop()
        client.close()
        rig.box.plug()
        return (len(os.listdir('/proc/self/fd')), len(os.listdir('/proc/self/task')),
                Path('/proc/self/maps').read_text().count('virtual_daq'))

    first = cycle()
    for _ in range(20):
        assert cycle() == first


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
