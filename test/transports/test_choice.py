# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Which transport is taken: from what sysfs shows of a virtual box, and the kernel's release."""
import errno
import logging
import os
from threading import Event
from typing import Any

from box_client import MakeRig
from box_scope import CATALOGUE, scope
from miniscope_ros.errors import ConfigurationError, DeviceError
from miniscope_ros.model import Reason
from miniscope_ros.sources.registry import make_daq
from miniscope_ros.transports.choice import choose
import pytest
from virtual_daq import Fault
from virtual_daq.descriptors import UNIT_GUID


def chosen(wanted: str = 'auto', **needed: Any) -> Any:
    """Return the choice for the box at 1-1 of a scope with a sensor and without a trigger."""
    return choose(wanted, '1-1', True, UNIT_GUID.bytes_le,
                  **{'orientation': True, 'trigger': False, **needed})


def test_usb_where_the_kernel_caches(make_rig: MakeRig) -> None:
    make_rig(kernel='new_kernel')
    assert chosen().kind == 'usb' and '6.12.95' in chosen().reason
    assert chosen(orientation=False, trigger=True).kind == 'usb'
    assert chosen().warning == ''


def test_v4l2_where_nothing_is_to_be_read(make_rig: MakeRig) -> None:
    make_rig(kernel='new_kernel')
    assert chosen(orientation=False).kind == 'v4l2'


def test_v4l2_where_the_kernel_asks_the_box(make_rig: MakeRig) -> None:
    make_rig(kernel='old_kernel')
    assert chosen().kind == 'v4l2' and '5.10.218' in chosen().reason
    assert chosen(trigger=True).kind == 'usb'  # which no kernel reads


def test_v4l2_with_firmware_that_writes_into_the_frames(make_rig: MakeRig) -> None:
    make_rig(kernel='new_kernel', open_ephys=True)
    assert chosen(trigger=True).kind == 'v4l2'


def test_what_was_set_is_taken(make_rig: MakeRig) -> None:
    make_rig(kernel='new_kernel')
    assert chosen('v4l2').kind == 'v4l2' and chosen('usb').kind == 'usb'
    with pytest.raises(ConfigurationError, match='firewire is unknown; there are auto, v4l2, usb'):
        chosen('firewire')


def test_missing_rights_are_named_with_the_remedy(
        make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make_rig(kernel='new_kernel')
    # Who runs the tests may be root, who may do everything.
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    choice = chosen()
    assert choice.kind == 'v4l2'
    assert 'no permission to open /dev/bus/usb/001/001: install the udev rule' in choice.warning
    assert 'orientation cannot be read on this kernel' in choice.warning
    with scope(rig.box, transport='auto') as opened:
        info = opened.open()
        assert info.transport == 'v4l2' and 'no permission' in info.warnings[0]


def test_missing_library_is_named_with_the_remedy(
        make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    make_rig(kernel='new_kernel')
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert chosen().kind == 'v4l2' and 'apt install python3-libusb1' in chosen().warning


def test_choice_is_said_once_and_kept(
        make_rig: MakeRig, caplog: pytest.LogCaptureFixture) -> None:
    rig = make_rig(kernel='new_kernel')
    caplog.set_level(logging.INFO)
    with scope(rig.box, transport='auto') as opened:
        assert opened.open().transport == 'usb'
        opened.source.close()
        rig.box.refuse('reset', errno.EACCES)  # udev has not run yet: no reason to change
        with pytest.raises(DeviceError, match='no permission'):
            opened.open()
        rig.box.refuse('reset', 0)
        assert opened.open().transport == 'usb'
    assert [record.message for record in caplog.records if 'transport' in record.message] == [
        'transport usb: Linux 6.12.95 answers readings from a cache over V4L2']


@pytest.mark.parametrize('transport', ['v4l2', 'usb'])
def test_protocol_holds_over_both(make_rig: MakeRig, transport: str) -> None:
    rig = make_rig(kernel='new_kernel', image='lit', rate=30.0)
    with scope(rig.box, transport=transport, led=50.0) as opened:
        info = opened.open()
        assert info.transport == transport
        opened.source.activate(Reason.START)
        assert rig.box.led == pytest.approx(0.5, abs=0.01)
        # On a busy computer the next frame may be there already: then a reading is thrown away.
        told = {frame.digital_inputs for frame in (opened.read() for _ in range(15))}
        assert told - {-1} == ({0} if transport == 'usb' else set())
        opened.source.deactivate()
        assert rig.box.led == 0


def test_readings_belong_to_their_frame_over_usb(make_rig: MakeRig) -> None:
    rig = make_rig(kernel='new_kernel', rate=30.0)
    with scope(rig.box, transport='usb') as opened:
        opened.open()
        frames = [opened.read() for _ in range(20)]
        told = [(frame.sequence, frame.orientation) for frame in frames if frame.orientation]
        rig.box.wait(lambda: rig.box.frames['sequence'].max() >= told[-1][0])
        records = {int(record['sequence']): record for record in rig.box.frames}
        assert len(told) >= 10  # others waited too long on a busy computer: then there is none
        for sequence, quaternion in told:
            assert tuple(map(int, records[sequence]['quaternion'])) == quaternion


def test_one_wrong_stamp_does_not_end_the_readings(make_rig: MakeRig) -> None:
    # The readings of a frame end so late that a wrong duration would make all of them too late.
    rig = make_rig(kernel='fixed_firmware', rate=15.0)
    with scope(rig.box, transport='v4l2') as opened:
        opened.open()
        for _ in range(20):
            opened.read()
        rig.box.next_frame(Fault.STAMP_FAR)
        frames = [opened.read() for _ in range(3)]
        far = max(frame.stamp_ns - frame.receive_ns for frame in frames)
        assert far > 3000 * 10**9
        rig.box.state['read_ns'] = 15_000_000
        later = [opened.read() for _ in range(30)]
        assert sum(frame.orientation is not None for frame in later) >= 15


def test_lights_off_uses_a_box_that_was_killed_over_usb(make_rig: MakeRig) -> None:
    rig = make_rig(kernel='new_kernel', light=1.0)
    assert rig.box.led == 1
    kind = CATALOGUE['Miniscope_V4_BNO']
    values = {name: control.start for name, control in kind.controls.items()}
    make_daq('', kind, Event(), values).make_dark(2.0)
    assert rig.box.led == 0
