# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""~/save_image and ~/set_camera_info of a running node, and what the terminal says meanwhile."""
from collections.abc import Iterator
import math
import os
from pathlib import Path

from listening import Listener, stamp_ns
from node_process import NodeProcess, scope_node
import numpy as np
from PIL import Image as Picture
import pytest
from sensor_msgs.msg import CameraInfo, Image
from sensor_msgs.srv import SetCameraInfo

Scope = tuple[NodeProcess, Listener]


@pytest.fixture(scope='module')
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of the node's user."""
    return tmp_path_factory.mktemp('home')


@pytest.fixture(scope='module')
def scope(home: Path) -> Iterator[Scope]:
    """Run a node that is started anew by each test that needs it unconfigured."""
    given = {'source': 'simulated', 'led': 20.0, 'auto_start': False, 'device': 'seed=5'}
    environment = {'HOME': str(home), 'ROS_HOME': str(home / 'ros'),
                   'ROS_LOG_DIR': str(home / 'log')}
    with (scope_node(given, environment=environment, remap={'__ns': '/lab'}) as node,
          Listener('/lab/miniscope') as ear):
        yield node, ear


def test_nothing_can_be_saved_before_frames_come(scope: Scope) -> None:
    _, ear = scope
    answer = ear.trigger('save_image')
    assert not answer.success and answer.message == 'the node is not configured'
    assert ear.change_state('configure')
    answer = ear.trigger('save_image')
    assert not answer.success and 'activate the node first' in answer.message


def test_a_saved_image_is_the_raw_frame(scope: Scope, home: Path) -> None:
    node, ear = scope
    raw: dict[int, Image] = {}
    images = ear.listen('image_raw', keep=lambda image: raw.update({stamp_ns(image): image}))
    frames = ear.listen('frame_info')
    assert ear.change_state('activate')
    ear.wait_for(images, 5)
    answer = ear.trigger('save_image')
    assert answer.success, answer.message
    path = Path(answer.message)
    assert path.parent == home / 'miniscope_images' and path.name.startswith('lab_miniscope_')
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with Picture.open(path) as picture:
        pixels, text = np.array(picture), dict(picture.text)
    stamp = int(text['stamp_ns'])
    ear.wait_until(lambda: stamp in raw, 'the frame came on image_raw, too')
    assert pixels.tobytes() == bytes(raw[stamp].data) and pixels.shape == (608, 608)
    info = ear.wait_until(
        lambda: [frame for frame in frames if stamp_ns(frame) == stamp], 'its account came')[0]
    assert int(text['frame_index']) == info.frame_index
    assert int(text['capture_index']) == info.capture_index
    assert text['device_type'] == 'Miniscope_V4_BNO' and text['control.led'] == '20'
    assert text['node'] == '/lab/miniscope' and text['frame_rate'] == '30'
    node.wait_for_output(f'was saved as {path}')
    ear.hush(images, frames)


def test_a_folder_that_cannot_be_written_is_named(scope: Scope, home: Path) -> None:
    _, ear = scope
    folder = home / 'miniscope_images'
    folder.rename(home / 'before')
    folder.write_text('no folder')
    answer = ear.trigger('save_image')
    assert not answer.success and f'{folder}/' in answer.message
    folder.unlink()
    assert ear.trigger('save_image').success


def calibration(width: int, height: int) -> CameraInfo:
    """Return a calibration, as cameracalibrator sends it."""
    return CameraInfo(
        width=width, height=height, distortion_model='plumb_bob', d=[0.1, 0.2, 0.0, 0.0, 0.0],
        k=[700.0, 0.0, 304.0, 0.0, 700.0, 303.0, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[700.0, 0.0, 304.0, 0.0, 0.0, 700.0, 303.0, 0.0, 0.0, 0.0, 1.0, 0.0])


def set_camera_info(ear: Listener, message: CameraInfo) -> SetCameraInfo.Response:
    return ear.call(
        'set_camera_info', SetCameraInfo, SetCameraInfo.Request(camera_info=message))


def test_a_new_calibration_is_published_and_kept(scope: Scope, home: Path) -> None:
    _, ear = scope
    infos = ear.listen('camera_info')
    answer = set_camera_info(ear, calibration(608, 480))
    assert not answer.success and 'for 608x480, the images are 608x608' in answer.status_message
    file = home / 'ros' / 'camera_info' / 'lab_miniscope.yaml'
    for name, value, said in (
            ('k', [math.nan] * 9, 'no finite numbers'),
            ('d', [0.1, math.inf], 'no finite numbers'),
            ('d', [0.1] * 100_000, 'at most 100 are taken')):
        broken = calibration(608, 608)
        setattr(broken, name, value)
        answer = set_camera_info(ear, broken)
        assert not answer.success and said in answer.status_message
    assert not file.exists()
    wanted = calibration(608, 608)
    answer = set_camera_info(ear, wanted)
    assert answer.success and str(file) in answer.status_message
    ear.wait_until(lambda: infos and infos[-1].k[0] == 700.0, 'it is published')
    assert infos[-1].header.frame_id == 'lab_miniscope_optical_frame'
    assert ear.change_state('deactivate', 'cleanup')
    assert ear.set_together(camera_info_url=str(file)).successful
    del infos[:]
    assert ear.change_state('configure', 'activate')
    ear.wait_for(infos)
    for field in ('width', 'height', 'distortion_model', 'd', 'k', 'r', 'p'):
        told, sent = getattr(infos[-1], field), getattr(wanted, field)
        assert np.array_equal(told, sent), field


def test_the_terminal_tells_how_streaming_began(scope: Scope) -> None:
    node, _ = scope
    node.wait_for_output('INFO.*streaming began: 608x608 at 30 frames/s, led 20, orientation')


def test_the_terminal_tells_of_losses_and_saturation() -> None:
    given = {'source': 'simulated', 'device': 'loss_on_the_way=0.1,loss_at_the_source=0.05',
             'led': 100.0, 'gain': 3.5, 'diagnostics_period': 0.2}
    with scope_node(given) as node, Listener() as ear:
        lost = node.wait_for_output(r'WARN.*frames are being lost: \d+ more \(', 2)
        assert 'by sequence' in lost and 'by time' in lost
        node.wait_for_output('WARN.*of the pixels are saturated: lower led, gain')
        times = [float(line.split('[')[2].split(']')[0])
                 for line in node.said('frames are being lost')]
        assert times[1] - times[0] >= 9.9  # the log's clock and ours are not one
        assert ear.state == 'active'


def test_a_node_as_root_says_so(scope: Scope) -> None:
    node, _ = scope
    assert len(node.said('WARN.*runs as root: programs of other users get no images')) == (
        1 if os.geteuid() == 0 else 0)
