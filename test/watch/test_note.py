# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The note of what is open: found by who needs it, closed to others, no way into other files."""
import os
from pathlib import Path
import subprocess
import sys

from miniscope_ros.watch.note import (
    DeviceHeld,
    DeviceLock,
    folder,
    LIGHTS_OFF,
    NODE,
    Note,
    note_of_process,
    notes,
    read_note,
)
import pytest

NOTE = Note(17, '2-1.3', '/dev/video4', 'Miniscope_V3', '/home/größe/a b.yaml')
HOLD = """
import sys
from miniscope_ros.watch.note import DeviceLock
lock = DeviceLock(sys.argv[1], '/dev/video4', sys.argv[2])
print('held', flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a runtime folder of its own."""
    monkeypatch.setenv('XDG_RUNTIME_DIR', str(tmp_path))
    return tmp_path


def hold(role: str) -> 'subprocess.Popen[str]':
    """Let another process take the lock."""
    process = subprocess.Popen(
        [sys.executable, '-c', HOLD, NOTE.usb_port, role], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == 'held\n'
    return process


def test_a_note_is_found_by_its_port_and_by_its_process() -> None:
    assert notes() == [] and read_note('2-1.3') is None
    lock = DeviceLock('2-1.3', '/dev/video4', NODE)
    lock.write(NOTE)
    assert read_note('2-1.3') == note_of_process(17) == NOTE
    assert read_note('2-1') is None and note_of_process(18) is None
    lock.remove_note()
    assert notes() == []


def test_a_failed_opening_puts_the_older_note_back() -> None:
    lock = DeviceLock('2-1.3', '/dev/video4', NODE)
    lock.write(NOTE)
    lock.release()
    lock = DeviceLock('2-1.3', '/dev/video4', NODE)
    lock.write(Note(18, '2-1.3', '/dev/video4', 'Miniscope_V4', ''))
    lock.remove_note(restore=True)
    assert read_note('2-1.3') == NOTE


def test_the_lock_ends_with_its_holder() -> None:
    process = hold(NODE)
    with pytest.raises(DeviceHeld, match=rf'in use by scope_node \(process {process.pid}\)'):
        DeviceLock('2-1.3', '/dev/video4', NODE, patience_s=60.0)
    process.kill()
    process.communicate()
    DeviceLock('2-1.3', '/dev/video4', NODE).release()


def test_lights_off_is_waited_for() -> None:
    process = hold(LIGHTS_OFF)
    asked = []

    def look() -> bool:
        asked.append(True)
        if len(asked) == 3:
            process.kill()
        return False

    DeviceLock('2-1.3', '/dev/video4', NODE, 60.0, look).release()
    assert len(asked) >= 3
    process.communicate()
    process = hold(LIGHTS_OFF)
    with pytest.raises(DeviceHeld, match='in use by lights_off'):
        DeviceLock('2-1.3', '/dev/video4', NODE, 60.0, lambda: True)
    process.kill()
    process.communicate()


def test_no_link_leads_to_another_file(runtime: Path) -> None:
    precious = runtime / 'precious'
    precious.write_text('keep me')
    folder().mkdir(mode=0o700)
    for name in ('2-1.3.json', '2-1.3.lock', f'2-1.3.json.{os.getpid()}'):
        (folder() / name).symlink_to(precious)
    assert read_note('2-1.3') is None
    with pytest.raises(OSError, match='symbolic links'):
        DeviceLock('2-1.3', '/dev/video4', NODE)
    (folder() / '2-1.3.lock').unlink()
    DeviceLock('2-1.3', '/dev/video4', NODE).write(NOTE)
    assert read_note('2-1.3') == NOTE
    assert precious.read_text() == 'keep me'


def test_a_folder_of_somebody_else_is_not_used(runtime: Path) -> None:
    elsewhere = runtime / 'elsewhere'
    elsewhere.mkdir(mode=0o700)
    folder().symlink_to(elsewhere)
    with pytest.raises(OSError):
        DeviceLock('2-1.3', '/dev/video4', NODE)
    folder().unlink()
    folder().mkdir()
    folder().chmod(0o777)
    with pytest.raises(PermissionError, match='open to others'):
        DeviceLock('2-1.3', '/dev/video4', NODE)
    assert notes() == []
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize('content', [
    '', '[', '[]', '{}', '{"pid": 1}', '[' * 50000, '"' + 'x' * 100000,
    '{"pid": "1", "usb_port": "a", "path": "b", "device_type": "c", "device_catalog": "d"}',
    '{"pid": 1, "usb_port": 7, "path": "b", "device_type": "c", "device_catalog": "d"}'])
def test_a_damaged_note_is_no_note(content: str) -> None:
    folder().mkdir(mode=0o700)
    (folder() / '2-1.3.json').write_text(content)
    assert read_note('2-1.3') is None and notes() == []


def test_a_note_that_is_no_file_is_not_waited_for() -> None:
    folder().mkdir(mode=0o700)
    os.mkfifo(folder() / '2-1.3.json')
    assert read_note('2-1.3') is None


def test_a_port_is_no_path(runtime: Path) -> None:
    lock = DeviceLock('../../x/..', '/dev/video4', NODE)
    lock.write(NOTE)
    assert {path.parent for path in folder().iterdir()} == {folder()}
    assert sorted(runtime.iterdir()) == [folder()]
