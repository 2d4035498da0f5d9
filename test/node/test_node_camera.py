# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""`source: camera` through the whole node over DDS; a box is what any program sees as a camera."""
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
import time

import cv2
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from listening import diagnosis, Listener, stamp_ns
from miniscope_msgs.msg import FrameInfo
from node_process import scope_node
import numpy as np
import pytest
from virtual_daq import Box, BoxConfig, Fault, VirtualDaq

HEIGHT, WIDTH = 480, 752  # which OpenCV gets without asking for a size
BANK = np.random.default_rng(3).integers(0, 256, (5, HEIGHT, 2 * WIDTH), np.uint8)
RATE = 40.0


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with VirtualDaq(tmp_path, [BoxConfig('Miniscope_V3', image=BANK, rate=RATE)]) as rig:
        yield rig.box


def test_a_camera_streams_in_colour_and_survives_a_replug(box: Box) -> None:
    given = {'source': 'camera', 'device': box.by_path, 'auto_start': False,
             'diagnostics_period': 0.2}
    with scope_node(given) as node, Listener() as ear:
        said = ear.listen('/diagnostics', DiagnosticArray)
        assert ear.change_state('configure')
        images = ear.listen('image_raw', keep=lambda image: (
            stamp_ns(image), image.encoding, np.frombuffer(image.data, np.uint8).reshape(
                image.height, image.width, 3)))
        infos, calibration = ear.listen('frame_info'), ear.listen('camera_info')
        metadata = ear.listen('image_raw/metadata')
        ear.wait_for_match(images, infos, calibration)
        assert ear.change_state('activate')
        ear.wait_for(infos, 60)
        lost = box.frame + 5
        box.plan({lost: Fault.LOST})
        ear.wait_until(lambda: any(info.lost_before for info in infos), 'the loss is told')
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
        pictures = [cv2.cvtColor(raw.reshape(HEIGHT, WIDTH, 2), cv2.COLOR_YUV2BGR_YUYV)
                    for raw in BANK]
        for record, stamp, (_, encoding, image) in zip(found, monotonic, images, strict=True):
            assert abs(int(record['reported_ns']) - stamp) < 2_000_000
            assert encoding == 'bgr8'
            assert np.array_equal(image, pictures[record['frame'] % len(pictures)])
        again = next(n for n in range(1, count) if found[n]['stream'] != found[0]['stream'])
        for first, last in ((0, again), (again, count)):
            for record, info in zip(found[first + 1:last], infos[first + 1:last], strict=True):
                taken = int(record['frame'] - found[first]['frame'])
                told = info.capture_index - infos[first].capture_index
                # A loss that only time shows is told later, and until then it is in doubt.
                assert 0 <= taken - told <= info.lost_uncertainty
        for earlier, later in pairwise(infos):
            assert later.capture_index - earlier.capture_index == 1 + later.lost_before
            assert later.loss_evidence == (
                FrameInfo.EVIDENCE_TIME if later.lost_before else FrameInfo.EVIDENCE_NONE)
        away = int(found[again]['reported_ns'] - found[again - 1]['reported_ns']) * 1e-9
        assert infos[again].lost_before == pytest.approx(away * RATE - 1, abs=1)
        assert lost not in [record['frame'] for record in found]
