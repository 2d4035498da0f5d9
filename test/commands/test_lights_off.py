# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""lights_off: which types it makes dark, and what it claims to know afterwards."""
from collections.abc import Callable
import os
from pathlib import Path
import subprocess
import sys

from miniscope_ros.watch.note import DeviceLock, NODE, Note, read_note
import pytest
from virtual_daq import BoxConfig, VirtualDaq
import yaml

LOUD = 'THE LIGHT MAY STILL BE ON'
CATALOGUE = Path(__file__).parents[2] / 'miniscope_ros' / 'daq' / 'device_types.yaml'
Run = Callable[..., 'subprocess.CompletedProcess[str]']


def lights_off(rig: VirtualDaq, *arguments: str) -> 'subprocess.CompletedProcess[str]':
    """Run the command."""
    return subprocess.run(
        [sys.executable, '-c', 'from miniscope_ros.commands.lights_off import main; main()',
         *arguments],
        env=rig.environ(), text=True, capture_output=True, timeout=90)


def leave_note(port: str, device_type: str, catalogue: str = '') -> None:
    """Leave the note of a node that is gone."""
    lock = DeviceLock(port, '/dev/video0', NODE)
    lock.write(Note(os.getpid(), port, '/dev/video0', device_type, catalogue))
    lock.release()


@pytest.mark.parametrize(('device_type', 'dark'), [
    ('Miniscope_V4_2C_Manual', 'its light is dark'),
    ('Miniscope_V3', 'its light is as dark as this type can be made'),
    ('MiniLFOV_Bin2x_Avg', 'its light is as dark as this type can be made')])
def test_without_a_type_every_type_of_that_size_is_made_dark(
        tmp_path: Path, device_type: str, dark: str) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(device_type, light=1.0)]) as rig:
        assert rig.box.led == 1.0
        done = lights_off(rig)
        assert done.returncode == 0, done.stderr
        assert device_type in done.stdout and dark in done.stdout
        assert (rig.box.led, rig.box.led2) == (0.0, 0.0)
        assert rig.box.protocol_faults == []


def test_nothing_is_sent_that_means_light_to_another_type(tmp_path: Path) -> None:
    # '58 00 72 FF' is dark to a V4 and half bright to this one, and V4's are tried first.
    with VirtualDaq(tmp_path, [BoxConfig('MiniLFOV_1000X1000_full', light=0.0)]) as rig:
        assert lights_off(rig).returncode == 0
        assert b'\x58\x00\x72\xff' not in rig.box.executed
        assert rig.box.led == 0.0


def test_the_note_says_which_type_it_is(tmp_path: Path) -> None:
    own = tmp_path / 'own.yaml'
    entry = yaml.safe_load(CATALOGUE.read_text())['Miniscope_V3']
    own.write_text(yaml.safe_dump({'Mine': entry}))
    with VirtualDaq(tmp_path, [BoxConfig('Miniscope_V3', light=1.0, port='1-1')]) as rig:
        leave_note('1-1', 'Mine', str(own))
        done = lights_off(rig, rig.box.by_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == 'The light of the Mine is as dark as this type can be made.\n'
        assert rig.box.led == 0.0
        assert read_note('1-1') is None
        # Another type that is given is believed.
        leave_note('1-1', 'Miniscope_V4')
        assert 'of the Miniscope_V3 is' in lights_off(rig, '--device-type', 'Miniscope_V3').stdout


def test_a_box_that_a_node_has_is_left_to_it(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(light=1.0, port='1-1')]) as rig:
        lock = DeviceLock('1-1', rig.box.path, NODE)
        by_hand, by_watcher = lights_off(rig), lights_off(rig, '--after', '1')
        lock.release()
        for refused in (by_hand, by_watcher):
            assert refused.returncode == 1
            assert f'is in use by scope_node (process {os.getpid()})' in refused.stderr
        assert LOUD in by_hand.stderr
        assert LOUD not in by_watcher.stderr, 'a node that opens it makes it dark'
        assert rig.box.executed == []


def test_what_another_program_has_made_dark_is_not_opened(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(light=0.0, port='1-1')]) as rig:
        done = lights_off(rig, '--after', '1', '--usb-port', '1-1')
        assert done.returncode == 0
        assert 'is dark: another program has seen to it' in done.stdout
        assert rig.box.executed == []


@pytest.mark.parametrize(('arguments', 'status', 'text'), [
    (['--help'], 0, '2 the arguments are not understood'),
    (['--devicetype', 'Miniscope_V3'], 2, 'unrecognized arguments'),
    (['--device-typ', 'Miniscope_V3'], 2, 'unrecognized arguments'),
    (['/dev/video0', 'more'], 2, 'unrecognized arguments'),
    (['--device-type', 'V5'], 1, 'device type V5 is unknown; there are Mini'),
    (['--usb-port', '7-7'], 1, 'no DAQ box at USB port 7-7'),
])
def test_arguments(tmp_path: Path, arguments: list[str], status: int, text: str) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(light=1.0)]) as rig:
        done = lights_off(rig, *arguments)
        assert done.returncode == status
        assert text in done.stdout + done.stderr
        assert (LOUD in done.stderr) == (status == 1)
        assert rig.box.executed == []
