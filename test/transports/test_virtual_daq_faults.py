# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The virtual DAQ box at its worst: losses, damage, freezes, unplugging, refusals."""
from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
import select
import sys

from box_client import Client, Connect, FAST, MakeRig, raised
from miniscope_ros.transports import v4l2_abi as abi
from miniscope_ros.transports import v4l2_controls as controls
import numpy as np
import pytest
from virtual_daq import Fault, Status


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
