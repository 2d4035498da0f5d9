# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The built-in recorder at the rate it is made for, and over long times."""
from pathlib import Path
import time

from miniscope_ros.recordings import certificate
import psutil
import pytest
from recording_sessions import only_bag, session_node, write_session
from virtual_daq import BoxConfig, VirtualDaq

RATE = 60.0
MEMORY_MB = 350  # of the queue's bound alone it would be 256 more


def record(folder: Path, seconds: float) -> list[float]:
    """Record two boxes so long; return the recorder's memory [MB], second by second."""
    memory = []
    with VirtualDaq(folder, [BoxConfig(kernel='fixed_firmware', rate=RATE)] * 2) as rig:
        file = write_session(folder, {
            name: {'led': 50.0, 'auto_start': False, 'device': box.by_path}
            for name, box in zip('ab', rig.boxes, strict=True)}, record={'recorder': 'builtin'})
        with session_node(file, '--programs', '--start') as session:
            session.ear.wait_for(session.ear.listen('frame_info'), 10)
            recorder = psutil.Process(session.recorder().pid)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                memory.append(recorder.memory_info().rss / 1e6)
                time.sleep(1.0)
            answer = session.stop()
            assert answer.success, answer.message
            assert session.node.stop() == 0, session.node.output
    return memory


def check(folder: Path, seconds: float) -> None:
    """Fail unless every message is there and the memory stays what it was."""
    memory = record(folder, seconds)
    bag = only_bag(folder / 'bags')
    assert certificate.verify(bag) == []
    content = certificate.read(bag)
    assert content['warnings'] == [] or all('period' in text for text in content['warnings'])
    for name in 'ab':
        assert content['scopes'][f'/{name}']['published'] > 0.5 * RATE * seconds
        for topic in 'image_raw', 'camera_info', 'frame_info', 'imu/data', 'orientation_rows':
            assert content['topics'][f'/{name}/{topic}']['lost'] == 0
    assert max(memory) < MEMORY_MB


def test_two_scopes_at_60_frames_a_second_lose_nothing(tmp_path: Path) -> None:
    check(tmp_path, 8.0)


@pytest.mark.soak
@pytest.mark.timeout(5400)
def test_an_hour_has_no_false_alarm(tmp_path: Path) -> None:
    check(tmp_path, 3600.0)
