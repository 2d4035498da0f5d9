# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the node makes of what it is given at start, good and bad."""
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
import importlib.util
from pathlib import Path
import re
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from listening import Listener
from miniscope_ros.errors import DeviceError
from miniscope_ros.node.camera_info import load_camera_info
from node_process import NodeProcess, scope_node
import pytest
from recording_folders import scenes, write_miniscope_daq

WITH_CHOICES = [  # parameters beside source, the value and the choices that the line names
    ({'source': 'abc'}, 'source cannot be abc: it is one of daq, camera, simulated, replay'),
    ({'device_type': 'Miniscope_V9'}, 'device_type cannot be Miniscope_V9: it is one of '),
    ({'device_type': 'Miniscope_V9'}, 'Miniscope_V4_BNO'),
    ({'sorce': 'replay'}, 'unknown parameter sorce; with this source and device type there are: '),
    ({'led2': 5.0}, 'unknown parameter led2'),
    ({'source': 'replay', 'led': 5.0}, 'unknown parameter led'),
    ({'source': 'replay', 'led': 5.0}, 'replay.path'),
    ({'source': 'replay', 'led': 5.0},
     'led is a parameter of source daq, source simulated; with this source'),
    ({'led2': 5.0}, 'led2 is a parameter of device_type Miniscope_V4_2C_Manual'),
    ({'replay.path': '/data'}, 'replay.path is a parameter of source replay'),
    ({'source': 'camera', 'transport': 'usb'}, 'transport is a parameter of source daq'),
    ({'source': 'daq', 'transport': 'pigeon'}, 'it is one of auto, v4l2, usb'),
    ({'led': 'abc'}, "led cannot be 'abc': it is a number"),
    ({'led': 200}, 'led cannot be 200: it is 0 to 100'),
    ({'led': -0.5}, 'led cannot be -0.5: it is 0 to 100'),
    ({'frame_rate': 31}, 'frame_rate cannot be 31: it is one of 2, 5, 10, 15, 20, 25, 30'),
    ({'focus': 1.5}, 'focus cannot be 1.5: it is a whole number'),
    ({'gain': True}, 'gain cannot be True: it is a number'),
    ({'device': 1.5}, 'device cannot be 1.5: it is a text'),
    ({'table_header': ['a', 'b', 'c', 'd']}, 'it is 5 names'),
    ({'display.color_map': 'jet'}, 'it is one of none, green, red, inferno'),
    ({'display.minimum': 200, 'display.maximum': 100},
     'display.minimum 200 has to be below display.maximum 100'),
    ({'led': 60, 'max_led': 50}, 'led 60 is above max_led 50'),
    ({'source': 'replay', 'replay.rate': 0}, 'replay.rate cannot be 0: it is 0.01 to 100'),
    ({'source': 'replay', 'replay.stamps': 'old'}, 'it is one of now, original'),
    ({'device_catalog': '/nowhere/types.yaml'}, '/nowhere/types.yaml'),
]


@pytest.fixture(scope='module')
def refused() -> list[NodeProcess]:
    """Start a node with each, some at a time, and return when they have ended."""
    def run(case: tuple[dict[str, Any], str]) -> NodeProcess:
        node = NodeProcess({'source': 'simulated', **case[0]})
        node.wait()
        return node

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(run, WITH_CHOICES))


@pytest.mark.parametrize('case', range(len(WITH_CHOICES)), ids=[text for _, text in WITH_CHOICES])
def test_what_cannot_be_mended_is_one_line(refused: list[NodeProcess], case: int) -> None:
    node, (_, text) = refused[case], WITH_CHOICES[case]
    assert node.wait() == 1
    line, = node.lines
    assert line.startswith('scope_node: ')
    assert text in line


@pytest.mark.parametrize(('arguments', 'answer'), [
    (['--source', 'simulated'], '--ros-args -p source:=simulated'),
    (['source:=simulated', 'led:=20'], '--ros-args -p source:=simulated -p led:=20'),
    (['--source=simulated'], '--ros-args -p source:=simulated'),
    (['-p', 'source:=simulated'], '--ros-args -p source:=simulated'),
    (['replay.path:=/a b'], "--ros-args -p 'replay.path:=/a b'"),
    (['simulated'], '--help'), (['--simulated'], '--help'), (['-x'], '--help')])
def test_unknown_arguments_are_refused(arguments: Sequence[str], answer: str) -> None:
    node = NodeProcess(arguments=arguments)
    assert node.wait() == 2
    line, = node.lines
    assert line.startswith('scope_node: unknown argument ') and answer in line


@pytest.mark.parametrize('option', ['--help', '-h'])
def test_help(option: str) -> None:
    node = NodeProcess({'source': 'daq'}, arguments=[option])
    assert node.wait() == 0
    assert node.lines[0].startswith('usage: scope_node') and not node.errors
    assert node.said(r'--ros-args -p source:=simulated -p led:=20\.0')
    for name in ('device', 'led', 'transport', 'image_width', 'replay.path'):
        assert node.said(rf'^  {name} +')


def test_all_rules_that_are_broken_are_told() -> None:
    node = NodeProcess({
        'source': 'simulated', 'led': 60, 'max_led': 50, 'display.minimum': 200,
        'display.maximum': 100})
    assert node.wait() == 1
    assert 'display.minimum 200' in node.output and 'led 60 is above' in node.output


@pytest.mark.parametrize(('arguments', 'text'), [
    (['-p', 'led'], "'-p led'"),
    (['-p', 'led:='], '-p led:='),
    (['--params-file', '/nowhere/scope.yaml'], '/nowhere/scope.yaml'),
    (['-r', '__node:=1st'], '__node:=1st'),
    (['-p', 'use_sim_time:=abc'], "use_sim_time cannot be 'abc': it is true or false")])
def test_what_ros_itself_refuses_is_no_traceback(arguments: Sequence[str], text: str) -> None:
    node = NodeProcess(arguments=['--ros-args', '-p', 'source:=simulated', *arguments])
    assert node.wait() == 1
    line, = node.said('^scope_node: ')  # ROS logs lines of its own before it
    assert text in line
    assert 'Traceback' not in node.output


def test_a_broken_catalogue_is_told_with_the_place(tmp_path: Path) -> None:
    catalogue = tmp_path / 'types.yaml'
    catalogue.write_text('Mine: {width: 10}\n')
    node = NodeProcess({'source': 'simulated', 'device_catalog': str(catalogue)})
    assert node.wait() == 1
    line, = node.lines
    assert line.startswith('scope_node: ') and str(catalogue) in line and 'Mine' in line


def test_whole_numbers_and_numbers_for_texts_are_taken() -> None:
    given = {'source': 'simulated', 'auto_start': False, 'led': 20, 'frame_rate': 20,
             'device': '0', 'diagnostics_period': 2, 'gain': 2, 'max_led': 50}
    with scope_node(given), Listener() as ear:
        for name, value in given.items():
            assert ear.get(name) == value
        assert [type(ear.get(name)) for name in ('led', 'frame_rate', 'device')] == [
            float, float, str]


def test_a_parameter_file_and_a_namespace_are_heeded(tmp_path: Path) -> None:
    file = tmp_path / 'scope.yaml'
    file.write_text(
        '/**:\n  ros__parameters:\n    source: simulated\n    auto_start: false\n    led: 7\n'
        '    table_header: [t, a, b, c, d]\n    display: {mode: delta_f_over_f}\n')
    remap = {'__ns': '/lab/left', '__node': 'scope'}
    with (scope_node(remap=remap, arguments=['--ros-args', '--params-file', str(file)]),
          Listener('/lab/left/scope') as ear):
        assert ear.get('led') == 7.0
        assert ear.get('table_header') == ['t', 'a', 'b', 'c', 'd']
        assert ear.get('display.mode') == 'delta_f_over_f'
        assert ear.get('frame_id') == 'lab_left_scope_optical_frame'
        assert ear.get('imu_frame_id') == 'lab_left_scope_imu_link'


def failed_configuration(node: NodeProcess, ear: Listener) -> str:
    """Return the one line that tells why the node could not configure itself."""
    line = node.wait_for_output(r'\[ERROR\]')
    assert ear.state == 'unconfigured'
    assert not ear.change_state('configure')  # nothing has changed
    assert ear.state == 'unconfigured'
    again = node.wait_for_output(r'\[ERROR\]', 2)
    assert all(re.search(r'\[ERROR\]|the device is waited for', one) for one in node.lines), (
        node.output)
    assert line.split(']: ')[1] == again.split(']: ')[1]
    reports = ear.wait_for(ear.listen('/diagnostics', DiagnosticArray))
    status = next(s for s in reports[-1].status if s.name == 'miniscope: device')
    assert status.level == DiagnosticStatus.ERROR
    assert status.message in line
    return line


def test_no_box_can_be_mended() -> None:
    with scope_node({'source': 'daq', 'device': '/dev/video63'}) as node, Listener() as ear:
        assert re.search('no Miniscope DAQ box|/dev/video63', failed_configuration(node, ear))


@pytest.mark.parametrize('device', ['/dev/video63', '63', 'nothing'])
def test_no_camera_can_be_mended(device: str) -> None:
    with scope_node({'source': 'camera', 'device': device}) as node, Listener() as ear:
        line = failed_configuration(node, ear)
        assert device in line and 'cameras found: none' in line
        assert '04b4:00f9' not in line


def test_a_missing_recording_can_be_mended(tmp_path: Path) -> None:
    missing = tmp_path / 'recording'
    with scope_node({'source': 'replay', 'replay.path': str(missing)}) as node, (
            Listener()) as ear:
        assert f'replay.path {missing}: {missing} does not exist' in (
            failed_configuration(node, ear))
        write_miniscope_daq(missing, scenes(5), [0, 50, 100, 150, 200])
        assert ear.change_state('configure')
        assert ear.state == 'inactive'


def test_no_recording_at_all_can_be_mended(tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'recording', scenes(5), [0, 50, 100, 150, 200])
    with scope_node({'source': 'replay'}) as node, Listener() as ear:
        assert 'replay.path is empty' in failed_configuration(node, ear)
        assert ear.set_together(replay__path=str(folder)).successful
        assert ear.change_state('configure')


def test_a_wrong_simulation_can_be_mended() -> None:
    with scope_node({'source': 'simulated', 'device': 'seed=x'}) as node, Listener() as ear:
        line = failed_configuration(node, ear)
        assert "device 'seed=x'" in line and 'loss_on_the_way' in line
        wrong = ('seed=nan', 'seed=inf', 'seed=-1', 'seed=0.5', 'seed=1e30', 'seed', 'speed=1',
                 'loss_on_the_way=2', 'loss_at_the_source=nan', 'seed=1,loss_on_the_way=-0.1')
        for told, device in enumerate(wrong, 3):
            assert ear.set_together(device=device).successful
            assert not ear.change_state('configure')
            line = node.wait_for_output(r'\[ERROR\]', told)
            assert f"cannot configure: device '{device}'" in line
        assert ear.set_together(device='seed=1').successful
        assert ear.change_state('configure')


CALIBRATION = """\
image_width: 608
image_height: 608
camera_name: scope
camera_matrix: {rows: 3, cols: 3, data: [700.5, 0, 304, 0, 701.5, 303, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0, 0, 0.3]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [700, 0, 304, 0, 0, 700, 303, 0, 0, 0, 1, 0]}
"""
# A size of 9 to the power of 12 words, which none may write out.
LAUGHS = '0: &0 ha\n' + ''.join(
    f'{n}: &{n} [{", ".join(9 * [f"*{n - 1}"])}]\n' for n in range(1, 13)) + 'image_width: *12\n'


def test_a_calibration_can_be_mended_and_is_published(tmp_path: Path) -> None:
    file = tmp_path / 'scope.yaml'
    given = {'source': 'simulated', 'camera_info_url': f'file://{file}'}
    with scope_node(given) as node, Listener() as ear:
        assert f'{file} cannot be read: No such file' in failed_configuration(node, ear)
        told = 2
        for text in (CALIBRATION.replace('608', str(2**40)), CALIBRATION.replace('608', '-1'),
                     CALIBRATION.replace('608', '!!int ""'), CALIBRATION.replace('700.5', '.nan'),
                     CALIBRATION.replace('0.1', '[1]'), 'x' * 2_000_000, '- 1\n', '7\n',
                     CALIBRATION.replace('plumb_bob', r'"\ud800"'), LAUGHS, '[' * 50_000,
                     CALIBRATION.replace('0.1', '0, ' * 200 + '0.1'),
                     'image_width: 608\n', 'not: [a', b'\xff\xfe\x00'.decode('latin-1'), '',
                     CALIBRATION.replace('303, 0, 0, 0, 1, 0]', '303]')):
            file.write_text(text)
            assert not ear.change_state('configure')
            told += 1
            line = node.wait_for_output(r'\[ERROR\]', told)
            assert 'is no calibration of camera_calibration' in line
        file.unlink()
        file.mkdir()
        assert not ear.change_state('configure')
        assert 'Is a directory' in node.wait_for_output(r'\[ERROR\]', told + 1)
        file.rmdir()
        file.write_text(CALIBRATION)
        assert ear.change_state('configure')
        infos = ear.listen('camera_info')
        assert ear.change_state('activate')
        info = ear.wait_for(infos)[0]
        assert (info.width, info.height, info.distortion_model) == (608, 608, 'plumb_bob')
        assert list(info.k) == [700.5, 0, 304, 0, 701.5, 303, 0, 0, 1]
        assert list(info.d) == [0.1, -0.2, 0, 0, 0.3]
        assert list(info.p) == [700, 0, 304, 0, 0, 700, 303, 0, 0, 0, 1, 0]


@pytest.mark.parametrize('text', ['not: [a', 'a: 2026-99-99', '[' * 20_000])
def test_a_calibration_that_is_no_yaml_is_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / 'scope.yaml'
    file.write_text(text)
    with pytest.raises(DeviceError, match='is no calibration') as caught:
        load_camera_info(str(file))
    assert '\n' not in str(caught.value)


def test_a_calibration_of_another_size_is_not_published(tmp_path: Path) -> None:
    file = tmp_path / 'scope.yaml'
    file.write_text(CALIBRATION.replace('image_width: 608', 'image_width: 752'))
    given = {'source': 'simulated', 'camera_info_url': str(file), 'auto_start': False}
    with scope_node(given) as node, Listener() as ear:
        assert ear.change_state('configure')
        node.wait_for_output(
            'WARN.*camera_info_url is for images of 752x608, these are 608x608: camera_info is '
            'published uncalibrated')
        infos = ear.listen('camera_info')
        assert ear.change_state('activate')
        info = ear.wait_for(infos)[0]
        assert (info.width, info.height, info.k[0], len(info.d)) == (608, 608, 0.0, 0)


@pytest.mark.parametrize('text', [
    '!!int ""', '!!float ""', '!!timestamp x', '!!bool 7', '!!binary 1', '? [a, b]\n: 1',
    'Mine: !!int ""'])
def test_a_catalogue_that_is_no_catalogue_is_one_line(tmp_path: Path, text: str) -> None:
    catalogue = tmp_path / 'types.yaml'
    catalogue.write_text(text)
    node = NodeProcess({'source': 'simulated', 'device_catalog': str(catalogue)})
    assert node.wait() == 1
    line, = node.lines
    assert line.startswith('scope_node: ') and str(catalogue) in line


@pytest.mark.skipif(
    importlib.util.find_spec('tf2_ros') is not None, reason='tf2_ros is installed')
def test_publish_tf_says_what_it_needs() -> None:
    with scope_node({'source': 'simulated', 'publish_tf': True}) as node, Listener() as ear:
        line = failed_configuration(node, ear)
        assert 'publish_tf needs tf2_ros' in line
        assert 'install it or set publish_tf to false' in line
        assert ear.set_together(publish_tf=False).successful
        assert ear.change_state('configure')
