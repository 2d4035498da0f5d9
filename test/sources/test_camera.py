# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The camera source through the real OpenCV, on video files."""
import logging
from pathlib import Path
from threading import Event
import time

from capturing import Ear
import cv2
from miniscope_ros.acquisition.capture import CaptureEngine
from miniscope_ros.acquisition.orientation import OrientationValidator
from miniscope_ros.errors import (
    ConfigurationError,
    DeviceError,
    DeviceLost,
    EndOfData,
    Interrupted,
)
from miniscope_ros.model import RawFrame, Reason, StampSource
from miniscope_ros.sources.camera import CameraSource
from miniscope_ros.transports.camera_choice import CameraRequest
import numpy as np
from numpy.typing import NDArray
import pytest

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
    source = CameraSource(Event(), video, CameraRequest(frame_rate=30))
    (warning,) = source.open(Reason.START).warnings
    source.close()
    assert '30 frames/s' in warning and '100' in warning


@pytest.mark.parametrize('request_', [
    CameraRequest(width=640), CameraRequest(height=640), CameraRequest(pixel_format='MJPG'),
    CameraRequest(exposure=5.0)])
def test_what_a_file_cannot_be_asked_for_is_refused(request_: CameraRequest, video: str) -> None:
    with pytest.raises(ConfigurationError, match=video):
        CameraSource(Event(), video, request_).open(Reason.START)


@pytest.mark.parametrize('device', [
    'no_such_camera', '/no/such/file.avi', 'http://127.0.0.1:9/stream'])
def test_what_opencv_cannot_open_is_named(device: str) -> None:
    source = CameraSource(Event(), device)
    with pytest.raises(DeviceError, match=device):
        source.open(Reason.START)


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
