# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""session.launch.py: all that the file names is started, recorded and ended."""
from pathlib import Path

from launched import LAUNCH_FILE, launched, needs_launch
from listening import Listener
from miniscope_ros.recordings import certificate
import pytest
from recording_sessions import only_bag, RECORDERS, SIMULATED, write_session

SESSION_FILE = LAUNCH_FILE.with_name('session.launch.py')


@needs_launch
@pytest.mark.parametrize('recorder', RECORDERS)
def test_a_session_is_recorded_from_ctrl_c_to_ctrl_c(recorder: str, tmp_path: Path) -> None:
    scope = {**SIMULATED, 'auto_start': False}
    file = write_session(tmp_path, {'a': scope, 'b': scope}, record={'recorder': recorder})
    with launched(SESSION_FILE, session=file, start='true') as launch:
        for name in '/a', '/b':
            with Listener(name) as ear:
                ear.wait_for(ear.listen('frame_info'), 20)
        launch.press_ctrl_c()
        status, output = launch.wait()
        assert status == 0, output
        assert not launch.programs()
    bag = only_bag(tmp_path / 'bags')
    assert certificate.verify(bag) == []
    assert set(certificate.read(bag)['scopes']) == {'/a', '/b'}


@needs_launch
def test_a_faulty_session_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / 'session.yaml'
    file.write_text('scopes: [{}]\n')
    with launched(SESSION_FILE, session=file) as launch:
        status, output = launch.wait()
    assert status == 1
    assert 'scopes[0].name' in output
