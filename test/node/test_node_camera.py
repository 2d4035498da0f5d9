# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""`source: camera` through the whole node over DDS, on a plain UVC camera."""
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from listening import diagnosis, Listener, stamp_ns
from miniscope_msgs.msg import FrameInfo
from node_process import scope_node
import numpy as np
import pytest
from uvc_camera import HEIGHT, shown, uvc_camera, WIDTH
from virtual_daq import Box, Fault, VirtualDaq

RATE = 40.0
MJPG = 2  # the number of the offer that is asked for below


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with VirtualDaq(tmp_path, [uvc_camera(rate=RATE)]) as rig:
        yield rig.box


def befall(fault: Fault, box: Box, ear: Listener, infos: list[FrameInfo]) -> int:
    """Have a fault befall a frame; return the frame's number once a later one was published."""
    box.next_frame(fault)
    box.wait(lambda: (box.frames['faults'] & fault).any())
    record = next(record for record in box.frames if record['faults'] & fault)
    end_ns = int(record['reported_ns'] + 0.5e9 / RATE) + time.time_ns() - time.monotonic_ns()
    ear.wait_until(lambda: stamp_ns(infos[-1]) > end_ns, 'a later frame came')
    return int(record['frame'])


def test_a_camera_streams_in_colour_and_survives_a_replug(box: Box) -> None:
    given = {'source': 'camera', 'device': box.by_path, 'auto_start': False,
             'diagnostics_period': 0.2, 'pixel_format': 'MJPG', 'image_width': WIDTH,
             'exposure': 100.0}
    with scope_node(given) as node, Listener() as ear:
        said = ear.listen('/diagnostics', DiagnosticArray)
        assert ear.change_state('configure')
        node.wait_for_output('offers YUYV 320x240 at 30, 15 frames/s; YUYV 640x480')
        node.wait_for_output('gives MJPG 320x240 at 30 frames/s, exposure 100')
        images = ear.listen('image_raw', keep=lambda image: (
            stamp_ns(image), image.encoding, np.frombuffer(image.data, np.uint8).reshape(
                image.height, image.width, 3)))
        infos, calibration = ear.listen('frame_info'), ear.listen('camera_info')
        metadata = ear.listen('image_raw/metadata')
        ear.wait_for_match(images, infos, calibration)
        assert ear.change_state('activate')
        ear.wait_for(infos, 60)
        lost, short = befall(Fault.LOST, box, ear, infos), befall(Fault.SHORT, box, ear, infos)
        box.unplug()
        node.wait_for_output('the device is lost')
        before = len(infos)
        box.plug(number=4)
        node.wait_for_output('the device is back at /dev/video4')
        ear.wait_until(lambda: len(infos) > before + 10, 'frames come again')
        device = diagnosis(ear, said)['device']
        assert (device.level, device.message) == (DiagnosticStatus.OK, 'active')
        assert ear.change_state('deactivate')

        count = infos[-1].frame_index + 1
        for heard in (images, infos, calibration):
            ear.wait_for(heard, count)
        stamps = [stamp for stamp, _, _ in images]
        assert stamps == [stamp_ns(info) for info in infos] == [
            stamp_ns(one) for one in calibration]
        assert all(earlier < later for earlier, later in pairwise(stamps))
        assert {(one.width, one.height) for one in calibration} == {(WIDTH, HEIGHT)}
        assert {info.stamp_source for info in infos} == {FrameInfo.STAMP_BUFFER}
        assert [info.frame_index for info in infos] == list(range(count))
        told = metadata[-1]
        assert (told.has_color, told.encoding, told.width, told.height, told.device_type) == (
            True, 'bgr8', WIDTH, HEIGHT, 'camera')

        # Which frame of the box each one is, its stamp tells; and all is known of that.
        records = box.frames
        monotonic = np.array(stamps) - (time.time_ns() - time.monotonic_ns())
        found = [records[np.argmin(np.abs(records['reported_ns'] - stamp))]
                 for stamp in monotonic]
        pictures = shown(box.config, MJPG)
        for record, stamp, (_, encoding, image) in zip(found, monotonic, images, strict=True):
            assert abs(int(record['reported_ns']) - stamp) < 2_000_000
            assert encoding == 'bgr8'
            assert np.array_equal(image, pictures[record['frame'] % len(pictures)])
        again = next(n for n in range(1, count) if found[n]['stream'] != found[0]['stream'])
        for first, last in ((0, again), (again, count)):
            for record, info in zip(found[first + 1:last], infos[first + 1:last], strict=True):
                assert record['frame'] - found[first]['frame'] == (
                    info.capture_index - infos[first].capture_index)
        for earlier, later in pairwise(infos):
            assert later.capture_index - earlier.capture_index == 1 + later.lost_before
            assert (later.loss_evidence == FrameInfo.EVIDENCE_NONE) == (later.lost_before == 0)
        away = int(found[again]['reported_ns'] - found[again - 1]['reported_ns']) * 1e-9
        assert infos[again].lost_before == pytest.approx(away * RATE - 1, abs=1)
        assert infos[again].loss_evidence == FrameInfo.EVIDENCE_TIME
        numbers = [int(record['frame']) for record in found]
        assert not {lost, short} & set(numbers)
        evidence = {number: info.loss_evidence
                    for number, info in zip(numbers, infos, strict=True) if info.lost_before}
        # A lost frame has a number of the driver; a picture that does not decode is known itself.
        for fault, expected in (
                (lost, FrameInfo.EVIDENCE_SEQUENCE), (short, FrameInfo.EVIDENCE_DAMAGED)):
            assert evidence[min(number for number in evidence if number > fault)] == expected
