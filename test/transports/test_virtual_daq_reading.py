# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What is read from the virtual DAQ box: orientation, counters, inputs; Open Ephys firmware."""
from __future__ import annotations

import itertools

from box_client import Client, Connect, MakeRig, ORIENTATION, raised, SENSOR_INIT
from miniscope_ros.transports import v4l2_abi as abi
from miniscope_ros.transports import v4l2_controls as controls
import numpy as np
import pytest
from virtual_daq import Fault, pacing_violations
from virtual_daq.box import encode


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
    rig = make_rig(rate=4, reading_delay=0.2)
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
    # Written words do not load the cache, what was read does.
    assert (first[2] != second[2]) == fresh[1]


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


def test_trigger_input_from_a_frame_on(make_rig: MakeRig, connect: Connect) -> None:
    rig = make_rig(kernel='fixed_firmware')
    client = connect(rig)
    client.start()
    box = rig.box
    for level, ahead in ((1, 5), (0, -1)):
        box.wait_frames(2)
        at = box.frame + ahead
        box.trigger(level, at=at)
        box.wait(lambda: box.state['inputs_at'] == 0)
        assert box.inputs_changed >= at
        assert (box.inputs_changed > at) or ahead > 0, 'a frame that is over has its inputs'
        assert client.read(controls.GAMMA) == [level]


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
