# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Controls, readings and the extension unit over USB, on the virtual DAQ box."""
import errno

from box_client import MakeRig
from miniscope_ros.errors import DeviceError, DeviceLost
from miniscope_ros.transports import v4l2_controls as controls
import numpy as np
import pytest
from usb_scope import opened, WORDS
from virtual_daq import VirtualDaq
from virtual_daq.descriptors import UNIT_GUID


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
