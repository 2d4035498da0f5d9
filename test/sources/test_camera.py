# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The camera source through the real OpenCV, on video files and on the virtual DAQ box."""
from collections.abc import Iterator
from dataclasses import replace
import errno
import logging
from pathlib import Path
from threading import Event
import time

from box_client import turn_into_webcam
from capturing import Ear
import cv2
from miniscope_ros.acquisition.capture import CaptureEngine
from miniscope_ros.acquisition.orientation import OrientationValidator
from miniscope_ros.errors import (
    ConfigurationError,
    DeviceAbsent,
    DeviceError,
    DeviceLost,
    EndOfData,
    Interrupted,
)
from miniscope_ros.model import RawFrame, Reason, StampSource
from miniscope_ros.sources.camera import CameraSource
import numpy as np
from numpy.typing import NDArray
import pytest
from virtual_daq import BoxConfig, Fault, Status, VirtualDaq

LEVELS = np.arange(0, 200, 10, np.uint8)
TIMEOUT = 5.0


@pytest.fixture
def video(tmp_path: Path) -> str:
    """Make a lossless colour video whose frames tell their number."""
    path = tmp_path / 'video.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'FFV1'), 100, (64, 48))
    assert writer.isOpened()
    for level in LEVELS:
        writer.write(picture(level))
    writer.release()
    return str(path)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[VirtualDaq]:
    """Plug in a box whose size OpenCV chooses by itself, with other bytes in each frame."""
    bank = np.random.default_rng(1).integers(0, 256, (5, 480, 2 * 752), np.uint8)
    config = BoxConfig('Miniscope_V3', image=bank, rate=100)
    with VirtualDaq(tmp_path, [config]) as plugged_in:
        yield plugged_in


def picture(level: int) -> NDArray[np.uint8]:
    """Return an image whose three channels and halves differ."""
    image = np.full((48, 64, 3), level, np.uint8)
    image[:24] += np.array([1, 20, 40], np.uint8)
    return image


def read(source: CameraSource) -> RawFrame:
    """Return the next frame, which must come."""
    sample = source.read(TIMEOUT)
    assert sample is not None
    return sample


def test_file_plays_all_its_frames_then_ends(video: str) -> None:
    source = CameraSource(Event(), video)
    info = source.open(Reason.START)
    assert (info.width, info.height, info.encoding) == (64, 48, 'bgr8')
    assert info.frame_rate == 100 and info.path == video and not info.warnings
    source.activate(Reason.START)
    started_ns = time.monotonic_ns()
    stamps = []
    for level in LEVELS:
        sample = read(source)
        # FFV1 keeps YUV, from which the colours come back rounded.
        difference = np.abs(sample.image.astype(int) - picture(level))
        assert difference.max() <= 3
        assert sample.stamp_source is StampSource.ARRIVAL
        assert not sample.damaged and sample.sequence is None
        stamps.append(sample.stamp_ns)
    assert stamps == sorted(set(stamps))
    # At its own rate: 20 frames of 10 ms span at least 19 of them.
    assert stamps[-1] - started_ns >= 190_000_000
    with pytest.raises(EndOfData, match=video):
        source.read(TIMEOUT)
    source.close()
    source.close()


def test_file_starts_again_at_each_activation(video: str) -> None:
    source = CameraSource(Event(), video)
    source.open(Reason.START)
    first = []
    for _ in range(2):
        source.activate(Reason.START)
        first.append(read(source).image.copy())
        read(source)
        source.deactivate()
    source.close()
    assert np.array_equal(*first)


def test_reading_gives_up_when_the_program_ends(video: str) -> None:
    stop = Event()
    source = CameraSource(stop, video)
    source.open(Reason.START)
    read(source)
    stop.set()
    with pytest.raises(Interrupted):
        while True:
            source.read(TIMEOUT)
    source.close()


def test_reading_returns_at_the_timeout_before_the_next_frame_is_due(tmp_path: Path) -> None:
    path = tmp_path / 'slow.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 0.01, (64, 48))
    for level in LEVELS:
        writer.write(picture(level))
    writer.release()
    source = CameraSource(Event(), str(path))
    source.open(Reason.START)
    read(source)
    assert source.read(0.01) is None
    source.close()


def test_rate_that_the_camera_does_not_take_is_a_warning(video: str) -> None:
    source = CameraSource(Event(), video, frame_rate=30)
    (warning,) = source.open(Reason.START).warnings
    source.close()
    assert '30 frames/s' in warning and '100' in warning


@pytest.mark.parametrize('device', [
    'no_such_camera', '/no/such/file.avi', 'http://127.0.0.1:9/stream'])
def test_what_opencv_cannot_open_is_named(device: str) -> None:
    source = CameraSource(Event(), device)
    with pytest.raises(DeviceError, match=device):
        source.open(Reason.START)


def test_missing_node_is_named() -> None:
    with pytest.raises(DeviceError, match='/dev/video99 .*list_devices'):
        CameraSource(Event(), '99').open(Reason.START)


def test_grey_video_stays_grey(tmp_path: Path) -> None:
    path = tmp_path / 'grey.avi'
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*'FFV1'), 100, (64, 48), isColor=False)
    grey = np.arange(48 * 64, dtype=np.uint32).reshape(48, 64).astype(np.uint8)
    for level in LEVELS:
        writer.write(grey + level)
    writer.release()
    source = CameraSource(Event(), str(path))
    assert source.open(Reason.START).encoding == 'mono8'
    source.activate(Reason.START)
    for level in LEVELS:
        assert np.array_equal(read(source).image, grey + level)
    source.close()


def test_a_camera_has_no_controls() -> None:
    source = CameraSource(Event(), '')
    with pytest.raises(ConfigurationError, match='led'):
        source.set_value('led', 5)


def test_a_closed_camera_is_lost() -> None:
    with pytest.raises(DeviceLost):
        CameraSource(Event(), '').read(TIMEOUT)


def read_until_lost(source: CameraSource) -> None:
    """Read frames until the camera is lost."""
    with pytest.raises(DeviceLost):
        while True:
            source.read(TIMEOUT)


@pytest.mark.parametrize('device', ['', '0', '/dev/video0', 'by_path', 'by_path_name'])
def test_camera_is_found_by_each_of_its_names(rig: VirtualDaq, device: str) -> None:
    names = {'by_path': rig.box.by_path, 'by_path_name': Path(rig.box.by_path).name}
    if not device:
        turn_into_webcam(rig, '1-1')  # a box is not taken for one by itself
    source = CameraSource(Event(), names.get(device, device))
    info = source.open(Reason.START)
    assert (info.width, info.height, info.encoding) == (752, 480, 'bgr8')
    assert (info.path, info.location, info.card) == ('/dev/video0', '1-1', 'MINISCOPE')
    assert info.frame_rate == 30 and info.transport == 'OpenCV V4L2'
    read(source)
    source.close()


def test_camera_frames_are_opencvs_with_the_buffers_stamps(rig: VirtualDaq) -> None:
    source = CameraSource(Event(), '0')
    source.open(Reason.START)
    source.activate(Reason.START)
    samples = []
    for _ in range(50):
        sample = read(source)
        samples.append(replace(sample, image=sample.image.copy()))
    source.close()
    records = {int(record['reported_ns']) // 1000: record for record in rig.box.frames}
    bank = rig.box.config.image
    for sample in samples:
        assert sample.stamp_source is StampSource.BUFFER
        assert sample.stamp_ns < sample.receive_ns
        record = records[sample.stamp_ns // 1000]
        assert record['status'] == Status.DELIVERED
        raw = bank[record['frame'] % len(bank)].reshape(480, 752, 2)
        assert np.array_equal(sample.image, cv2.cvtColor(raw, cv2.COLOR_YUV2BGR_YUYV))
    assert len({sample.stamp_ns for sample in samples}) == 50


def test_stamps_that_are_none_are_replaced_by_the_arrival(rig: VirtualDaq) -> None:
    rig.box.always(Fault.STAMP_ZERO)
    source = CameraSource(Event(), '0')
    source.open(Reason.START)
    sample = read(source)
    source.close()
    assert sample.stamp_source is StampSource.ARRIVAL
    assert sample.stamp_ns == sample.receive_ns


FREEZE = """
from threading import Event
import time
from miniscope_ros.errors import DeviceLost
from miniscope_ros.model import Reason
from miniscope_ros.sources.camera import CameraSource
source = CameraSource(Event(), '0')
source.open(Reason.START)
print('open', flush=True)
last = time.monotonic()
try:
    while True:
        if source.read(1.0) is not None:
            last = time.monotonic()
except DeviceLost:
    print(time.monotonic() - last)
source.close()
"""


def test_frozen_camera_is_lost_before_opencvs_own_ten_seconds(rig: VirtualDaq) -> None:
    # In a process of its own: OpenCV looks at its time-out once, before the first capture.
    with rig.popen('-c', FREEZE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'open\n'
        rig.box.freeze()
        waited = float(process.stdout.read())
    assert waited < 9
    assert not rig.box.busy


def test_unplugged_camera_is_found_again_at_its_port(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(), BoxConfig()]) as rig:
        source = CameraSource(Event(), '2')
        source.open(Reason.START)
        for number in (6, 2):
            read(source)
            rig.boxes[1].unplug()
            read_until_lost(source)
            with pytest.raises(DeviceError, match='USB port 1-2'):
                source.open(Reason.RESUME)
            rig.boxes[1].plug(number)
            assert source.open(Reason.RESUME).path == f'/dev/video{number}'
        read(source)
        source.close()


def test_of_a_camera_with_several_streams_the_same_one_comes_back(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(number=4)]) as rig:
        source = CameraSource(Event(), '4')
        source.open(Reason.START)
        rig.box.unplug()
        read_until_lost(source)
        with pytest.raises(DeviceAbsent, match='USB port 1-1'):  # it is looked for often
            source.open(Reason.RESUME)
        rig.box.plug(number=8)
        another_stream(rig, 2)
        assert source.open(Reason.RESUME).path == '/dev/video8'
        source.close()


def another_stream(rig: VirtualDaq, number: int) -> None:
    """Give the box's USB device another interface with a video node of its own."""
    device = rig.root / 'sys/devices/pci0000:00/0000:00:99.0/usb1/1-1'
    node = device / f'1-1:1.3/video4linux/video{number}'
    node.mkdir(parents=True)
    (node / 'index').write_text('0\n')
    (node / 'name').write_text('another stream\n')
    (node / 'device').symlink_to('../../../1-1:1.3')
    (rig.root / f'sys/class/video4linux/video{number}').symlink_to(
        f'../../{node.relative_to(rig.root / "sys")}')
    (rig.root / f'dev/video{number}').write_text('virtual_daq capture box0\n')
    (rig.root / 'dev/v4l/by-path/pci-0000:00:99.0-usb-0:1:1.3-video-index0').symlink_to(
        f'../../video{number}')


def test_the_end_of_a_file_is_said_once(
        video: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, 'miniscope_ros')
    ear = Ear(keep_frames=False)
    engine = CaptureEngine(CameraSource(Event(), video), ear, OrientationValidator())
    engine.open()
    for turn in (1, 2):
        engine.activate()
        ear.wait(lambda turn=turn: ear.stops == turn, 'it ended')
        assert engine.status().state == 'ended'
        engine.deactivate()
        engine.set_sync(False)  # the thread has gone on meanwhile
        assert caplog.text.count('has been played to its end') == turn
    engine.close()


def test_camera_without_permission_is_named(rig: VirtualDaq) -> None:
    rig.box.refuse('open', errno.EACCES)
    with pytest.raises(DeviceError, match='no permission to open /dev/video0.*group video'):
        CameraSource(Event(), '0').open(Reason.START)


def test_camera_in_use_is_refused(rig: VirtualDaq) -> None:
    first, second = CameraSource(Event(), '0'), CameraSource(Event(), '0')
    first.open(Reason.START)
    with pytest.raises(DeviceError, match='/dev/video0'):
        second.open(Reason.START)
    read(first)
    first.close()
    second.open(Reason.START)
    second.close()


def test_slow_start_is_waited_for(rig: VirtualDaq) -> None:
    rig.box.state['start_ns'] = 1_300_000_000
    source = CameraSource(Event(), '0')
    assert source.open(Reason.START).width == 752
    source.close()


def test_opening_gives_up_when_the_program_ends(rig: VirtualDaq) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Interrupted):
        CameraSource(stop, '0').open(Reason.START)
    assert not rig.box.busy


def test_camera_that_sends_nothing_is_refused(rig: VirtualDaq) -> None:
    rig.box.freeze()
    with pytest.raises(DeviceError, match='sends no frame'):
        CameraSource(Event(), '0').open(Reason.START)
    assert not rig.box.busy
