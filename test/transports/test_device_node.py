# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What people are told when a device node cannot be used."""
import errno
import os
from pathlib import Path
import subprocess
import sys
import tempfile

from miniscope_ros.errors import DeviceError, DeviceLost
from miniscope_ros.transports import device_node
import pytest

NOBODY = 65534
ROOT = Path(__file__).parents[2]


def refusal(number: int) -> OSError:
    """Return the kernel's refusal with an error number."""
    return OSError(number, os.strerror(number))


def test_missing_node_is_named_with_what_to_check(tmp_path: Path) -> None:
    path = str(tmp_path / 'video9')
    with pytest.raises(DeviceError, match=f'{path}.*cable.*list_devices'):
        device_node.open_node(path)


def test_missing_permission_names_the_line_that_installs_the_rule() -> None:
    with tempfile.NamedTemporaryFile() as file:
        os.chmod(file.name, 0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)  # nothing is forbidden to root
        try:
            with pytest.raises(DeviceError, match=f'no permission to open {file.name}') as error:
                device_node.open_node(file.name)
        finally:
            os.seteuid(user)
    assert device_node.INSTALL_RULE in str(error.value)
    assert 'usermod -aG video' in str(error.value)


def test_the_rule_is_where_its_line_says() -> None:
    source = device_node.INSTALL_RULE.split()[2]
    rules = [line for line in (ROOT / source).read_text().splitlines() if line.startswith('SUB')]
    assert [rule.split(',')[0] for rule in rules] == [
        'SUBSYSTEM=="video4linux"', 'SUBSYSTEM=="usb"']
    assert all('"04b4"' in rule and '"00f9"' in rule for rule in rules)
    # For the seated user and the group, not for all; systemd gives access in its rule 73.
    assert all('MODE="0660"' in rule and 'TAG+="uaccess"' in rule for rule in rules)
    assert int(Path(source).name.partition('-')[0]) < 73


def test_busy_node_names_the_program_that_holds_it(tmp_path: Path) -> None:
    path = tmp_path / 'video9'
    path.touch()
    holder = subprocess.Popen(
        [sys.executable, '-c', f'file = open({str(path)!r}); print(flush=True); input()'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        text = str(device_node.explain(str(path), 'start the stream', refusal(errno.EBUSY)))
        holder.communicate(b'\n')
    assert f'(process {holder.pid})' in text
    assert f'fuser -v {path}' in text
    assert str(os.getpid()) not in device_node.in_use_by(str(path))


def test_busy_node_of_an_unknown_program_still_says_how_to_find_it() -> None:
    text = str(device_node.explain('/dev/video9', 'start the stream', refusal(errno.EBUSY)))
    assert 'fuser -v /dev/video9' in text


@pytest.mark.parametrize('number', [errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN])
def test_a_device_that_has_gone_is_lost(number: int) -> None:
    told = device_node.explain('/dev/video9', 'give a buffer', refusal(number))
    assert isinstance(told, DeviceLost)


def test_other_refusals_say_what_was_tried() -> None:
    error = device_node.explain('/dev/video9', 'set control 0x00980901 to 3', refusal(errno.EIO))
    assert not isinstance(error, DeviceLost)
    assert str(error) == '/dev/video9: cannot set control 0x00980901 to 3: Input/output error'
    told = device_node.explain('/dev/video9', 'start', refusal(errno.ENOSPC))
    assert 'controller' in str(told)
