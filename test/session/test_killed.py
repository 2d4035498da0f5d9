# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""kill -9 of everything at any moment: the bag opens, lacks at most a second, and says so."""
import os
from pathlib import Path
import random
import signal
import time

from listening import stamp_ns
from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings import certificate
from miniscope_ros.recordings.bag.contents import read_contents
from miniscope_ros.recordings.bag.reader import Bag
import psutil
import pytest
from recording_sessions import only_bag, session_node, SIMULATED, write_session
import shared_memory

LOST_S = 1.0
BUSY_S = 1.0  # more than that on a computer that has other things to do


def check(folder: Path, seed: int) -> None:
    """Kill a recording after a random time and look at what it left."""
    file = write_session(folder, {'a': {**SIMULATED, 'auto_start': False}},
                         record={'recorder': 'builtin'})
    with session_node(file, '--programs', '--start') as session:
        infos = session.ear.listen('frame_info')
        session.ear.wait_for(infos, 45 + random.Random(seed).randrange(60))
        everything = [psutil.Process(session.node.pid),
                      *psutil.Process(session.node.pid).children(recursive=True)]
        # All at the same moment, lest one of them still does its work.
        for process in everything:
            shared_memory.note(process.pid)
            os.kill(process.pid, signal.SIGSTOP)
        now = time.time_ns()
        for process in everything:
            os.kill(process.pid, signal.SIGKILL)
        psutil.wait_procs(everything)
        session.ear.wait_until(lambda: True, 'what is on its way has come')
        last = max(stamp_ns(info) for info in infos)
    path = only_bag(folder / 'bags')
    bag = Bag(path)
    acquisition, = read_contents(bag, lambda progress: None)
    indexes = acquisition.frames['frame_index']
    assert list(indexes) == list(range(len(indexes)))
    lacking = (min(last, now) - int(acquisition.frames['stamp'][-1])) / 1e9
    assert lacking < LOST_S + BUSY_S, f'{lacking:.2f} s are missing'
    assert any('metadata.yaml is missing' in problem for problem in bag.problems)
    assert any('cut off' in problem for problem in bag.problems)
    with pytest.raises(DeviceError, match='the recording was cut off before its end'):
        certificate.verify(path)


@pytest.mark.parametrize('seed', range(3))
def test_a_recording_that_is_killed_can_be_read(seed: int, tmp_path: Path) -> None:
    check(tmp_path, seed)


@pytest.mark.soak
@pytest.mark.parametrize('seed', range(100, 130))
def test_thirty_recordings_that_are_killed_can_be_read(seed: int, tmp_path: Path) -> None:
    check(tmp_path, seed)
