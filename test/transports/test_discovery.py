# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Finding boxes among virtual ones, and the command that lists them."""
import errno
import json
import re
import subprocess

from box_client import MakeRig, turn_into_webcam
from miniscope_ros.commands import list_devices
from miniscope_ros.errors import DeviceAbsent, DeviceError
from miniscope_ros.transports import discovery
from miniscope_ros.transports.discovery import VideoNode
import pytest
from virtual_daq import BoxConfig

LINK = 'pci-0000:00:99.0-usb-0:{}:1.0-video-index0'


def box_at(number: int, port: str) -> VideoNode:
    """Return what is to be found of a box."""
    return VideoNode(
        path=f'/dev/video{number}', usb_port=f'1-{port}', name='MINISCOPE: MINISCOPE',
        by_path=f'/dev/v4l/by-path/{LINK.format(port)}', vendor='04b4', product='00f9')


def test_no_box_says_what_to_check(make_rig: MakeRig) -> None:
    make_rig([])
    assert discovery.scan() == []
    for device in ('', '0', '/dev/video0'):
        with pytest.raises(DeviceError, match='cable and power.*lsusb.*modprobe uvcvideo'):
            discovery.find_box(device)


def test_only_box_is_found_without_a_name(make_rig: MakeRig) -> None:
    make_rig([BoxConfig()])
    assert discovery.boxes() == [box_at(0, '1')]  # not its metadata node
    assert discovery.find_box('').video == box_at(0, '1')


@pytest.mark.parametrize('device', [
    '4', '/dev/video4', LINK.format('1.3'), '/dev/v4l/by-path/' + LINK.format('1.3')])
def test_one_of_two_is_found_by_each_of_its_names(make_rig: MakeRig, device: str) -> None:
    make_rig([BoxConfig(port='1-2', number=0), BoxConfig(port='1-1.3', number=4)])
    assert discovery.find_box(device).video == box_at(4, '1.3')


def test_two_boxes_need_a_choice_and_the_error_lists_them(make_rig: MakeRig) -> None:
    make_rig([BoxConfig(port='1-2', number=12), BoxConfig(port='1-1.3', number=4)])
    with pytest.raises(DeviceError, match='more than one DAQ box: set device') as error:
        discovery.find_box('')
    first, second = str(error.value).split('; ')
    assert '/dev/video4 at USB port 1-1.3, "MINISCOPE: MINISCOPE"' in first
    assert '/dev/video12 at USB port 1-2' in second and LINK.format('2') in second


@pytest.mark.parametrize('device', ['1', '/dev/video9', 'pci-nothing', '/dev/null'])
def test_what_is_no_box_is_named_with_what_there_is(make_rig: MakeRig, device: str) -> None:
    make_rig([BoxConfig()])
    with pytest.raises(DeviceError, match=f'{device} is no DAQ box .*there is /dev/video0 at'):
        discovery.find_box(device)


def test_box_is_found_again_at_its_port(make_rig: MakeRig) -> None:
    rig = make_rig([BoxConfig(port='1-2'), BoxConfig(port='1-3')])
    assert discovery.find_port('1-3') == box_at(2, '3')
    rig.boxes[1].unplug()
    assert discovery.find_port('1-3') is None
    rig.boxes[1].plug(number=8)
    assert discovery.find_port('1-3') == box_at(8, '3')
    rig.boxes[0].unplug()
    rig.boxes[1].plug(number=0)  # the other one's number
    assert discovery.find_port('1-3') == box_at(0, '3')
    assert discovery.find_port('1-2') is None


def test_other_cameras_are_no_boxes(make_rig: MakeRig) -> None:
    rig = make_rig([BoxConfig(port='1-2'), BoxConfig(port='1-3')])
    turn_into_webcam(rig, '1-2')
    assert discovery.boxes() == [discovery.find_box('').video] == [box_at(2, '3')]
    assert [found.vendor for found in discovery.scan()] == ['046d', '04b4']
    assert discovery.find_camera('0').vendor == '046d'
    assert discovery.find_port('1-2') is None
    with pytest.raises(DeviceError, match='/dev/video0 is no DAQ box'):
        discovery.find_box('/dev/video0')
    assert discovery.find_camera('').vendor == '046d'
    assert discovery.find_camera('2').vendor == '04b4', 'if it is named'
    turn_into_webcam(rig, '1-3')
    with pytest.raises(DeviceError, match='more than one camera'):
        discovery.find_camera('')


def test_a_box_alone_is_no_camera(make_rig: MakeRig) -> None:
    make_rig([BoxConfig()])
    with pytest.raises(DeviceAbsent, match='no camera found: .* is opened with source:=daq'):
        discovery.find_camera('')


def test_list_for_people(make_rig: MakeRig, capsys: pytest.CaptureFixture[str]) -> None:
    make_rig([BoxConfig(port='1-2'), BoxConfig(port='1-1.3', number=12)])
    assert list_devices.main([]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ['DEVICE', 'USB', 'PORT', 'NAME', 'BY', 'PATH']
    for line, number, port in zip(lines, (0, 12), ('2', '1.3'), strict=True):
        box = box_at(number, port)
        assert line.split() == [box.path, box.usb_port, *box.name.split(), box.by_path]
        assert line.index(box.usb_port) == heading.index('USB PORT')


def test_list_for_programs(make_rig: MakeRig) -> None:
    rig = make_rig([BoxConfig(port='1-2')])
    listed = json.loads(rig.run('-m', 'miniscope_ros.commands.list_devices', '--json'))
    assert listed == [{
        'path': '/dev/video0', 'usb_port': '1-2', 'name': 'MINISCOPE: MINISCOPE',
        'by_path': f'/dev/v4l/by-path/{LINK.format("2")}', 'vendor': '04b4',
        'product': '00f9'}]


def test_empty_list(make_rig: MakeRig, capsys: pytest.CaptureFixture[str]) -> None:
    rig = make_rig([])
    assert list_devices.main(['--json']) == 0
    assert json.loads(capsys.readouterr().out) == []
    with pytest.raises(subprocess.CalledProcessError) as error:
        rig.run('-m', 'miniscope_ros.commands.list_devices')
    assert error.value.returncode == 1
    assert error.value.stdout == '' and 'lsusb' in error.value.stderr


@pytest.mark.parametrize(('product', 'text'), [
    ('00f8', 'USB port 1-2 runs at USB 2 speed (04b4:00f8), where it has 640x480 only'),
    ('00f3', 'USB port 1-2 is in its boot loader (04b4:00f3)')])
def test_unusable_box_is_named_with_the_remedy(
        make_rig: MakeRig, capsys: pytest.CaptureFixture[str], product: str, text: str) -> None:
    make_rig([BoxConfig(port='1-2', product_id=product, speed='480')])
    with pytest.raises(DeviceError, match=re.escape(text)):
        discovery.find_box('')
    assert discovery.find_box_at('1-2') is None
    assert list_devices.main([]) == 1
    told = capsys.readouterr()
    assert text in told.err and told.out == ''


def test_unusable_box_beside_a_good_one_is_named_and_no_obstacle(
        make_rig: MakeRig, capsys: pytest.CaptureFixture[str]) -> None:
    make_rig([BoxConfig(port='1-2', product_id='00f8'), BoxConfig(port='1-3')])
    assert discovery.find_box('').video == box_at(2, '3')
    assert list_devices.main([]) == 0
    assert 'USB 2 speed' in capsys.readouterr().err


def test_box_is_found_by_its_usb_port(make_rig: MakeRig) -> None:
    make_rig([BoxConfig(port='1-2'), BoxConfig(port='1-1.3')])
    assert discovery.find_box('1-1.3').video == box_at(2, '1.3')


def test_other_cameras_are_listed_with_their_formats(
        make_rig: MakeRig, capsys: pytest.CaptureFixture[str]) -> None:
    rig = make_rig([BoxConfig(port='1-2'), BoxConfig(port='1-3')])
    turn_into_webcam(rig, '1-3')
    assert list_devices.main([]) == 0
    told = capsys.readouterr().out
    assert 'Other cameras (source: camera):\n/dev/video2  MINISCOPE' in told
    assert '    YUYV 752x480 at 30 frames/s\n' in told
    assert list_devices.main(['--json', '--cameras']) == 0
    box, camera = json.loads(capsys.readouterr().out)
    assert (box['path'], camera['path']) == ('/dev/video0', '/dev/video2')
    assert {'pixel_format': 'YUYV', 'width': 1800, 'height': 1800,
            'frame_rates': [30.0]} in camera['formats']


def test_camera_that_cannot_be_opened_is_listed_with_the_reason(
        make_rig: MakeRig, capsys: pytest.CaptureFixture[str]) -> None:
    rig = make_rig([BoxConfig(port='1-2')])
    turn_into_webcam(rig, '1-2')
    rig.box.refuse('open', errno.EACCES)
    assert list_devices.main(['--json', '--cameras']) == 0
    camera, = json.loads(capsys.readouterr().out)
    assert camera['formats'] == [] and 'no permission' in camera['problem']
