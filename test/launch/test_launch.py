# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""scope.launch.py: what it starts, what it hands over, and how all of it ends."""
import os
from pathlib import Path
import shutil
import signal

from launched import LAUNCH_FILE, launched, needs_launch
from listening import Listener
from node_process import PATIENCE
import psutil
import pytest
from virtual_daq import VirtualDaq
import yaml

launch_pytest = pytest.importorskip('launch_pytest')

from launch import LaunchContext, LaunchDescription  # noqa: E402, I100
from launch.actions import (  # noqa: E402
    GroupAction,
    IncludeLaunchDescription,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402

ARGUMENTS = {
    'name', 'namespace', 'source', 'device', 'device_type', 'frame_rate', 'led', 'params_file',
    'record', 'record_display', 'viewer', 'panel', 'log_level'}
SIMULATED = {'source': 'simulated', 'led': 20}
PROFILES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')

ended: list[int] = []
"""Exit codes of what launch_pytest ran."""


def write_parameters(file: Path, node: str, **values: object) -> Path:
    """Write a parameter file for a node."""
    file.write_text(yaml.safe_dump({node: {'ros__parameters': values}}))
    return file


def include(**arguments: object) -> GroupAction:
    """Return the launch file with arguments of its own."""
    return GroupAction([IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(LAUNCH_FILE)),
        launch_arguments=[(name, str(value)) for name, value in arguments.items()])])


@launch_pytest.fixture
def two_scopes(tmp_path: Path) -> LaunchDescription:
    """Describe two scopes at once, one of them with a file of parameters."""
    file = write_parameters(
        tmp_path / 'b.yaml', '/lab/b', **{'led': 33.0, 'gain': 2.0, 'display.mode': 'raw',
                                          'display.maximum': 200})
    ended.clear()
    return LaunchDescription([
        RegisterEventHandler(OnProcessExit(
            on_exit=lambda event, context: ended.append(event.returncode))),
        include(name='a', source='simulated'),
        include(name='b', namespace='lab', params_file=file, frame_rate=20, device='seed=5',
                device_type='Miniscope_V3', **SIMULATED),
    ])


@pytest.mark.launch(fixture=two_scopes)
def test_arguments_reach_the_parameters():
    with Listener('/a') as ear:
        frames = ear.listen('image_raw')
        ear.wait_for(frames, 10)
        assert (frames[-1].width, frames[-1].height) == (608, 608)
        assert ear.get('led') == 0.0 and ear.get('device_type') == 'Miniscope_V4_BNO'
    with Listener('/lab/b') as ear:
        frames, rows = ear.listen('image_raw'), ear.listen('image_raw/metadata')
        ear.wait_for(frames, 10)
        ear.wait_for(rows)
        assert (frames[-1].width, frames[-1].height) == (752, 480)
        assert rows[-1].framerate == 20.0
        # config/scope.yaml, then the file, then the arguments
        assert ear.get('display.color_map') == 'none'
        assert ear.get('display.maximum') == 200 and ear.get('gain') == 2.0
        assert ear.get('led') == 20.0 and ear.get('frame_rate') == 20.0
        assert ear.get('device') == 'seed=5'
    yield
    assert ended == [0, 0]


@launch_pytest.fixture
def number_as_device() -> LaunchDescription:
    """Describe a scope whose device is a number."""
    return LaunchDescription([include(device=0, source='camera', name='camera')])


@pytest.mark.launch(fixture=number_as_device)
def test_a_number_is_a_device_name():
    with Listener('/camera') as ear:
        assert ear.get('device') == '0'


def test_every_argument_is_described() -> None:
    description = PythonLaunchDescriptionSource(str(LAUNCH_FILE)).get_launch_description(
        LaunchContext())
    described = {
        argument.name: argument.description
        for argument in description.get_launch_arguments()}
    assert set(described) == ARGUMENTS
    assert all(len(text.split()) > 3 for text in described.values()), described


@needs_launch
@pytest.mark.parametrize('whom', ['terminal', 'launch'])
def test_ctrl_c_ends_all_with_exit_code_0(whom: str) -> None:
    with launched(**SIMULATED) as launch, Listener() as ear:
        ear.wait_for(ear.listen('frame_info'), 10)
        if whom == 'terminal':
            launch.press_ctrl_c()
        else:
            launch.send_signal(signal.SIGINT)
        status, output = launch.wait()
        assert status == 0, output
        assert 'process has finished cleanly' in output and 'Traceback' not in output
        assert not launch.programs()


@needs_launch
@pytest.mark.skipif(shutil.which('setpriv') is None, reason='setpriv is not installed')
def test_no_scope_is_left_when_launch_is_killed() -> None:
    with launched(**SIMULATED) as launch, Listener() as ear:
        ear.wait_for(ear.listen('frame_info'), 10)
        programs = launch.programs()
        launch.send_signal(signal.SIGKILL)
        assert programs and not psutil.wait_procs(programs, PATIENCE)[1]


@needs_launch
@pytest.mark.parametrize(('arguments', 'reason'), [
    ({'source': 'microscope'}, "Valid options are: ['', 'daq', 'camera', 'simulated', 'replay']"),
    ({'viewer': 'eyes'}, "Valid options are: ['none', 'rqt', 'rviz']"),
    ({'led': 'bright'}, 'led:=bright is not a number'),
    ({'led': 101}, 'led cannot be 101: it is 0 to 100'),
    ({'frame_rate': 17}, 'frame_rate cannot be 17: it is one of 2, 5, 10, 15, 20, 25, 30'),
    ({'device_type': 'Microscope'}, 'device_type cannot be Microscope: it is one of '),
    ({'name': 'my scope'}, 'Invalid node name'),
    ({'params_file': '/nowhere.yaml'}, '/nowhere.yaml cannot be read: No such file'),
])
def test_bad_arguments_are_refused_with_the_reason(
        arguments: dict[str, object], reason: str) -> None:
    with launched(**{**SIMULATED, **arguments}) as launch:
        status, output = launch.wait()
        assert status != 0
        assert reason in output and 'Traceback' not in output, output
        assert not launch.programs()


@needs_launch
def test_unknown_parameters_and_broken_files_are_refused(tmp_path: Path) -> None:
    unknown = write_parameters(tmp_path / 'unknown.yaml', '/**', brightness=3)
    with launched(**SIMULATED, params_file=unknown) as launch:
        status, output = launch.wait()
        assert status != 0
        assert 'unknown parameter brightness; with this source and device type' in output
    broken = tmp_path / 'broken.yaml'
    broken.write_text('/**: [')
    with launched(**SIMULATED, params_file=broken) as launch:
        status, output = launch.wait()
        assert status != 0 and f'{broken} is not a YAML file with NODE' in output
        assert 'Traceback' not in output


@needs_launch
def test_the_light_goes_out_when_the_node_is_killed(tmp_path: Path) -> None:
    file = write_parameters(tmp_path / 'scope.yaml', '/**', device_type='Miniscope_V4')
    with VirtualDaq(tmp_path) as rig, Listener() as ear, launched(
            environment=rig.environ(), led=20, params_file=file) as launch:
        ear.wait_for(ear.listen('frame_info'), 10)
        assert rig.box.led > 0
        for process in launch.programs('scope_node'):
            process.kill()
        status, output = launch.wait()
        assert status != 0
        assert 'The light of the Miniscope_V4 is dark.' in output, output
        assert 'scope_node has failed, exit code -9' in output
        assert rig.box.led == 0


@needs_launch
def test_a_dds_profile_of_the_user_stays() -> None:
    own = {name: value for name, value in os.environ.items() if name not in PROFILES}
    own[PROFILES[0]] = '/users/own.xml'
    with launched(environment=own, **SIMULATED) as launch, Listener() as ear:
        assert ear.state
        profiles = [
            process.environ() for process in launch.programs('scope_node')][0]
        assert profiles[PROFILES[0]] == '/users/own.xml'
        assert profiles[PROFILES[1]].endswith('config/fastdds.xml')
        assert Path(profiles[PROFILES[1]]).is_file()
