# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""scope.launch.py: what it starts, what it hands over, and how all of it ends."""
from collections.abc import Iterator
import contextlib
import os
from pathlib import Path
import shutil
import signal
import time

from launched import LAUNCH_FILE, Launched, launched, needs_launch
from listening import Listener
from miniscope_ros.recordings import certificate
from miniscope_ros.recordings.bag.contents import read_contents
from miniscope_ros.recordings.bag.reader import Bag
from node_process import PATIENCE
import psutil
import pytest
from slowness import slowness
from virtual_daq import VirtualDaq
import yaml

ARGUMENTS = {
    'name', 'namespace', 'source', 'device', 'device_type', 'frame_rate', 'led', 'max_led', 'gain',
    'focus', 'display_mode', 'replay_path', 'params_file', 'record', 'record_display',
    'record_also', 'storage_config', 'split_minutes', 'duration_minutes', 'respawn', 'required',
    'viewer', 'panel', 'log_level'}
LOUD = 'THE LIGHT MAY STILL BE ON'
SIMULATED = {'source': 'simulated', 'led': 20}
PROFILES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
BACK = 10.0  # [s] from the death of a node until it is active again


def write_parameters(file: Path, node: str, **values: object) -> Path:
    """Write a parameter file for a node."""
    file.write_text(yaml.safe_dump({node: {'ros__parameters': values}}))
    return file


def write_launch_file(folder: Path, *scopes: dict[str, object], below: str = '') -> Path:
    """Write a launch file that includes ours with each of these arguments, below a namespace."""
    file = folder / 'rig.launch.py'
    given = [{name: str(value) for name, value in scope.items()} for scope in scopes]
    push = f'PushRosNamespace({below!r}), ' if below else ''
    file.write_text(f"""
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace

def ours(arguments):
    return GroupAction([{push}IncludeLaunchDescription(
        PythonLaunchDescriptionSource({str(LAUNCH_FILE)!r}),
        launch_arguments=list(arguments.items()))])

def generate_launch_description():
    return LaunchDescription([ours(arguments) for arguments in {given!r}])
""")
    return file


@needs_launch
def test_arguments_reach_the_parameters(tmp_path: Path) -> None:
    parameters = write_parameters(
        tmp_path / 'b.yaml', '/lab/b', **{'led': 33.0, 'gain': 2.0, 'display.mode': 'raw',
                                          'display.maximum': 200})
    file = write_launch_file(
        tmp_path, {'name': 'a', 'source': 'simulated'},
        {**SIMULATED, 'name': 'b', 'namespace': 'lab', 'params_file': parameters,
         'frame_rate': 20, 'device': 'seed=5', 'device_type': 'Miniscope_V3', 'max_led': 100,
         'display_mode': 'background_difference'})
    with launched(file) as launch, Listener('/a') as a, Listener('/lab/b') as b:
        frames = a.listen('image_raw')
        a.wait_for(frames, 10)
        assert (frames[-1].width, frames[-1].height) == (608, 608)
        assert a.get('led') == 0.0 and a.get('device_type') == 'Miniscope_V4_BNO'
        frames, rows = b.listen('image_raw'), b.listen('image_raw/metadata')
        b.wait_for(frames, 10)
        b.wait_for(rows)
        assert (frames[-1].width, frames[-1].height) == (752, 480)
        assert rows[-1].framerate == 20.0
        # config/scope.yaml, then the file, then the arguments
        assert b.get('display.color_map') == 'none'
        assert b.get('display.maximum') == 200 and b.get('gain') == 2.0
        assert b.get('led') == 20.0 and b.get('frame_rate') == 20.0
        assert b.get('device') == 'seed=5' and b.get('max_led') == 100.0
        assert b.get('display.mode') == 'background_difference'
        launch.press_ctrl_c()
        status, output = launch.wait()
        assert status == 0, output
        assert output.count('process has finished cleanly') == 2, output


@needs_launch
def test_a_number_is_a_device_name() -> None:
    with launched(device=0, source='camera', name='camera'), Listener('/camera') as ear:
        assert ear.get('device') == '0'


@needs_launch
def test_every_argument_is_described() -> None:
    from launch import LaunchContext
    from launch.launch_description_sources import PythonLaunchDescriptionSource
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
    ({'name': 'my scope'}, 'name:=my scope cannot be used: it has to be made of the letters'),
    ({'namespace': 'lab/größe'}, 'namespace:=größe cannot be used: it has to be made of the'),
    ({'focus': 1.5}, 'focus:=1.5 is not a whole number'),
    ({'params_file': '/nowhere.yaml'}, '/nowhere.yaml cannot be read: No such file'),
])
def test_bad_arguments_are_refused_with_the_reason(
        arguments: dict[str, object], reason: str) -> None:
    with launched(**{**SIMULATED, **arguments}) as launch:
        status, output = launch.wait()
        assert status != 0
        assert reason in output and 'Traceback' not in output, output
        assert LOUD not in output, 'nothing was opened'
        assert '.c:' not in output, 'nobody knows the files of rcl'
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


@contextlib.contextmanager
def launched_on_a_box(
        folder: Path, **arguments: object) -> Iterator[tuple[VirtualDaq, Launched, Listener]]:
    """Launch a node on a box and return when it is lit."""
    with VirtualDaq(folder) as rig, Listener() as ear, launched(
            environment=rig.environ(), led=20, **arguments) as launch:
        ear.wait_for(ear.listen('frame_info'), 10)
        assert rig.box.led > 0
        yield rig, launch, ear


def kill_node(launch: Launched) -> None:
    """Kill the scope node, and it alone."""
    for process in launch.programs('lib/miniscope_ros/scope_node'):
        process.kill()


@needs_launch
def test_the_light_goes_out_when_the_node_is_killed(tmp_path: Path) -> None:
    # Which type it was, only the file says.
    file = write_parameters(tmp_path / 'scope.yaml', '/**', device_type='Miniscope_V4')
    with launched_on_a_box(tmp_path, params_file=file) as (rig, launch, _):
        kill_node(launch)
        status, output = launch.wait()
        assert status != 0
        assert output.count('The light of the Miniscope_V4 is dark.') == 1, output
        assert 'scope_node has failed, exit code -9' in output
        assert LOUD not in output
        assert rig.box.led == 0


@needs_launch
def test_ctrl_c_does_not_stop_the_light_from_going_out(tmp_path: Path) -> None:
    with launched_on_a_box(tmp_path) as (rig, launch, _):
        kill_node(launch)
        launch.wait_for_program('lights_off')
        lit = rig.box.led > 0
        while lit and rig.box.led > 0:
            launch.press_ctrl_c()
            rig.box.wait_frames(2)
        status, output = launch.wait()
        assert lit, 'lights_off was over too soon for this test'
        assert status != 0
        assert rig.box.led == 0
        assert 'The light of the Miniscope_V4_BNO is dark.' in output, output
        assert not launch.programs()


@needs_launch
def test_further_ctrl_c_are_ignored(tmp_path: Path) -> None:
    with launched_on_a_box(tmp_path) as (rig, launch, _):
        launch.press_ctrl_c()
        while launch.programs('lib/miniscope_ros/scope_node'):
            launch.press_ctrl_c()
            time.sleep(0.02)  # as fast as a hand never is
        status, output = launch.wait()
        assert status == 0, output
        assert rig.box.led == 0
        assert 'Traceback' not in output and LOUD not in output, output
        assert 'lights_off' not in output


@needs_launch
def test_a_killed_node_is_started_again(tmp_path: Path) -> None:
    with launched_on_a_box(tmp_path, respawn='true', gain=2) as (rig, launch, ear):
        names = ['Time', 'a', 'b', 'c', 'd']
        assert all(result.successful for result in ear.set_each(
            led=30.0, display__maximum=180, table_header=names))
        began, toggles = time.monotonic(), rig.box.sync_toggles
        kill_node(launch)
        rig.box.wait(lambda: rig.box.led == 0.0, BACK * slowness())
        rig.box.wait(lambda: rig.box.led > 0, BACK * slowness())
        rig.box.wait(lambda: rig.box.sync_toggles > toggles + 3, BACK * slowness())
        assert time.monotonic() - began < BACK * slowness()
        ear.wait_for_state('active')
        assert ear.get('led') == 30.0 and ear.get('gain') == 2.0, 'as the user has set it'
        assert ear.get('display.maximum') == 180 and list(ear.get('table_header')) == names
        launch.press_ctrl_c()
        status, output = launch.wait()
        assert status == 0, output
        assert '/miniscope has ended, exit code -9: it is started again' in output
        assert rig.box.led == 0.0


@needs_launch
def test_a_recording_goes_on_with_a_node_that_is_started_again(tmp_path: Path) -> None:
    bag = tmp_path / 'bag'
    with launched_on_a_box(tmp_path, respawn='true', record=bag) as (rig, launch, ear):
        assert ear.set_each(led=30.0)[0].successful
        frames = ear.listen('frame_info')
        ear.wait_for(frames, 90)  # more than the next node publishes unheard
        toggles, heard = rig.box.sync_toggles, len(frames)
        kill_node(launch)
        rig.box.wait(lambda: rig.box.led == 0.0, BACK * slowness())
        rig.box.wait(lambda: rig.box.sync_toggles > toggles + 3, BACK * slowness())
        # Discovery is repeated every 3 s where a message of it was lost.
        ear.wait_for(frames, heard + 200)
        assert ear.get('led') == 30.0
        launch.press_ctrl_c()
        status, output = launch.wait()
        assert status == 0, output
    assert rig.box.led == 0.0
    runs = certificate.read(bag)['topics']['/miniscope/frame_info']['runs']
    assert len(runs) == 2 and runs[0][0] == 0, runs
    assert all(last - first + 1 == count for first, last, count in runs), runs
    problem, = certificate.verify(bag)
    assert '/miniscope HAS ENDED during the recording, and was started again' in problem
    both = list(read_contents(Bag(bag), lambda progress: None))
    for one, (_, _, count) in zip(both, runs, strict=True):
        # The recorder meets one topic of the new node after the other.
        assert len(one.frames) == count and abs(len(one.images) - count) < 60
    assert [round(one.controls['led']) for one in both] == [20, 30]
    assert 'after the last frame of miniscope' in ' '.join(both[1].remarks)


@needs_launch
def test_a_node_that_refuses_to_run_is_not_started_again() -> None:
    with launched(**{**SIMULATED, 'led': 101}, respawn='true') as launch:
        status, output = launch.wait()
        assert status != 0
        assert 'is started again' not in output


@needs_launch
def test_shutdown_ends_the_launch() -> None:
    with launched(**SIMULATED) as launch, Listener() as ear:
        ear.wait_for(ear.listen('frame_info'), 10)
        assert ear.shut_down()
        status, output = launch.wait()
        assert status == 0, output


@needs_launch
def test_what_has_no_effect_is_warned_of(tmp_path: Path) -> None:
    folder = tmp_path / 'Größe 1 µm'
    folder.mkdir()
    other = write_parameters(folder / 'other scope.yaml', '/lab/other', led=30.0)
    with launched(**SIMULATED, params_file=other, frame_rat=20, colour='red') as launch, \
            Listener() as ear:
        ear.wait_for(ear.listen('frame_info'), 3)
        launch.press_ctrl_c()
        status, output = launch.wait()
        assert status == 0, output
        assert f'{other} has parameters for /lab/other, but this node is /miniscope' in output
        assert ('there is no argument frame_rat, so frame_rat:=20 has no effect; frame_rate was '
                'meant?') in output
        assert 'there is no argument colour, so colour:=red has no effect' in output


@needs_launch
def test_a_parameter_file_may_nest_namespaces(tmp_path: Path) -> None:
    file = tmp_path / 'die Größe.yaml'
    file.write_text(yaml.safe_dump({'lab': {'left': {'b': {'ros__parameters': {'gain': 2.0}}}}}))
    with launched(**SIMULATED, name='b', namespace='lab/left', params_file=file) as launch, \
            Listener('/lab/left/b') as ear:
        assert ear.get('gain') == 2.0
        launch.press_ctrl_c()
        status, output = launch.wait()
        assert status == 0, output
        assert 'warning' not in output


@needs_launch
def test_of_two_scopes_one_outlives_the_other(tmp_path: Path) -> None:
    file = write_launch_file(
        tmp_path, {'name': 'a', 'source': 'simulated'}, {'name': 'b', **SIMULATED}, below='rig')
    with launched(file) as launch, Listener('/rig/a') as a, Listener('/rig/b') as b:
        b_frames = b.listen('frame_info')
        a.wait_for(a.listen('frame_info'), 3)
        b.wait_for(b_frames, 3)
        victim, = launch.programs('__node:=a')
        victim.kill()
        victim.wait(PATIENCE)
        launch.wait_for_output('/rig/a has failed, exit code -9')
        b.wait_for(b_frames, len(b_frames) + 20)
        launch.press_ctrl_c()
        status, output = launch.wait()
        assert status == 0, output


@needs_launch
def test_a_required_scope_ends_the_others(tmp_path: Path) -> None:
    file = write_launch_file(
        tmp_path, {'name': 'a', 'source': 'simulated', 'required': 'true'},
        {'name': 'b', 'source': 'simulated'}, below='rig')
    with launched(file) as launch, Listener('/rig/a') as a, Listener('/rig/b') as b:
        a.wait_for(a.listen('frame_info'), 3)
        b.wait_for(b.listen('frame_info'), 3)
        victim, = launch.programs('__node:=a')
        victim.kill()
        status, output = launch.wait()
        assert status != 0
        assert 'scope_node has failed, exit code -9' in output


@needs_launch
def test_pushed_namespaces_reach_the_recorder(tmp_path: Path) -> None:
    file = write_launch_file(
        tmp_path, {'namespace': 'lab', 'source': 'simulated', 'record': tmp_path / 'a bag'},
        below='rig')
    with launched(file) as launch:
        recorder, = launch.wait_for_program('record_scope')
        assert '/rig/lab/miniscope' in recorder.cmdline()
        assert str(tmp_path / 'a bag') in recorder.cmdline()


@needs_launch
def test_a_dds_profile_of_the_user_stays() -> None:
    own = {name: value for name, value in os.environ.items() if name not in PROFILES}
    for given, expected in (
            ({PROFILES[0]: '/users/own.xml'}, '/users/own.xml'), ({}, 'config/fastdds.xml')):
        environment = {**own, **given, 'ROS_DISTRO': 'jazzy'}
        with launched(environment=environment, **SIMULATED) as launch, Listener() as ear:
            assert ear.state
            profiles = [
                process.environ() for process in launch.programs('scope_node')][0]
            assert profiles[PROFILES[0]].endswith(expected)
            # Newer ones would warn of a variable that they do not read any more.
            assert PROFILES[1] not in profiles
            launch.press_ctrl_c()
            launch.wait()
