# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The camera source on a plain UVC camera: V4L2's frames, numbers, flags, stamps and settings."""
from collections.abc import Iterator
import contextlib
from dataclasses import replace
import errno
import logging
import math
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
    Interrupted,
)
from miniscope_ros.model import RawFrame, Reason, StampSource
from miniscope_ros.sources.camera import CameraSource
from miniscope_ros.sources.camera_pictures import PictureDecoder
from miniscope_ros.transports import v4l2_controls as controls
from miniscope_ros.transports.camera_choice import CameraRequest, choose_format
from miniscope_ros.transports.v4l2_formats import CameraFormat
import numpy as np
import pytest
from uvc_camera import HEIGHT, shown, uvc_camera, WIDTH
from virtual_daq import BoxConfig, Fault, Offer, Status, VirtualDaq

PATIENCE = 20.0  # [s], far more than anything here takes
FAST = 100.0  # frames/s


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[VirtualDaq]:
    """Plug a camera in that offers everything."""
    with VirtualDaq(tmp_path, [uvc_camera(rate=FAST)]) as plugged_in:
        yield plugged_in


def only(pixel_format: str) -> BoxConfig:
    """Return a camera that offers one pixel format; UYVY is one that OpenCV has to read."""
    return uvc_camera(offers=[Offer(pixel_format, WIDTH, HEIGHT)], rate=FAST)


@contextlib.contextmanager
def opened(
    device: str = '', stop: Event | None = None, **request: object,
) -> Iterator[CameraSource]:
    """Open and activate a camera."""
    source = CameraSource(stop or Event(), device, CameraRequest(**request))  # type: ignore
    try:
        source.open(Reason.START)
        source.activate(Reason.START)
        yield source
    finally:
        source.close()


def read(source: CameraSource) -> RawFrame:
    """Return the next frame, which must come; its image is its own."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        frame = source.read(0.5)
        if frame is not None:
            return replace(frame, image=frame.image.copy())
    raise AssertionError('no frame')


def read_until_lost(source: CameraSource) -> None:
    """Read frames until the camera is lost."""
    with pytest.raises(DeviceLost):
        while True:
            source.read(0.5)


@pytest.mark.parametrize('pixel_format, offer', [('YUYV', 0), ('MJPG', 2), ('GREY', 4)])
def test_each_frame_has_the_buffers_number_stamp_and_picture(
        pixel_format: str, offer: int, rig: VirtualDaq) -> None:
    with opened(pixel_format=pixel_format) as source:
        frames = [read(source) for _ in range(50)]
    images = shown(rig.box.config, offer)
    records = {int(record['reported_ns']) // 1000: record for record in rig.box.frames}
    for frame in frames:
        assert frame.stamp_source is StampSource.BUFFER and not frame.damaged
        assert frame.stamp_ns < frame.receive_ns
        record = records[frame.stamp_ns // 1000]
        assert record['status'] == Status.DELIVERED and record['sequence'] == frame.sequence
        assert np.array_equal(frame.image, images[record['frame'] % len(images)])


def test_the_number_shows_a_lost_frame(rig: VirtualDaq) -> None:
    with opened() as source:
        before = read(source).sequence
        rig.box.next_frame(Fault.LOST)
        steps = []
        while not steps or steps[-1] == 1:
            after = read(source).sequence
            steps.append(after - before)
            before = after
    assert steps[-1] >= 2


def test_silence_of_a_camera_is_no_restart_of_a_head_stage(
        rig: VirtualDaq, caplog: pytest.LogCaptureFixture) -> None:
    ear = Ear()
    engine = CaptureEngine(CameraSource(Event(), ''), ear, OrientationValidator())
    engine.open()
    engine.activate()
    ear.wait(lambda: len(ear.frames) > 60, 'frames come')
    gap = rig.box.frame + 5
    rig.box.plan({gap + n: Fault.UNFINISHED for n in range(70)})
    rig.box.wait(lambda: rig.box.frame > gap + 70, PATIENCE)
    seen = len(ear.frames)
    ear.wait(lambda: len(ear.frames) > seen + 30, 'frames come again')
    engine.close()
    assert 'head stage' not in caplog.text


def damaged_by(fault: Fault, rig: VirtualDaq, source: CameraSource) -> RawFrame:
    """Return the frame that a fault befalls; frames before and after are good."""
    read(source)
    rig.box.next_frame(fault)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        frame = read(source)
        if frame.damaged:
            assert not read(source).damaged
            return frame
    raise AssertionError('no frame is damaged')


@pytest.mark.parametrize('fault', [Fault.ERROR_FLAG, Fault.SHORT, Fault.EMPTY])
@pytest.mark.parametrize('pixel_format', ['YUYV', 'MJPG', 'GREY'])
def test_a_damaged_frame_says_so_and_has_its_number(
        pixel_format: str, fault: Fault, rig: VirtualDaq) -> None:
    with opened(pixel_format=pixel_format) as source:
        frame = damaged_by(fault, rig, source)
    record, = (record for record in rig.box.frames if record['faults'] & fault)
    assert frame.sequence == record['sequence']


def test_a_jpeg_that_does_not_decode_is_refused_and_the_last_image_stays() -> None:
    decoder = PictureDecoder('MJPG', WIDTH, HEIGHT, 0)
    picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    picture[:100] = 200
    good = cv2.imencode('.jpg', picture)[1].ravel()
    assert decoder.decode(good)
    assert decoder.decode(np.append(good, np.zeros(500, np.uint8)))  # as many cameras fill it up
    last = decoder.image.copy()
    smaller = cv2.imencode('.jpg', picture[:64, :64])[1].ravel()
    for bad in (good[:-40], good[:4], good[:0], np.zeros(900, np.uint8), smaller,
                np.append(good[:2], good[-2:])):
        assert not decoder.decode(bad)
        assert np.array_equal(decoder.image, last)


def test_rows_that_are_padded_are_read() -> None:
    for pixel_format, bytes_per_pixel in (('GREY', 1), ('YUYV', 2)):
        row = bytes_per_pixel * WIDTH
        padded = np.full((HEIGHT, row + 32), 77, np.uint8)
        padded[:, :row] = np.random.default_rng(1).integers(0, 256, (HEIGHT, row))
        tight, wide = (PictureDecoder(pixel_format, WIDTH, HEIGHT, width)
                       for width in (row, row + 32))
        assert tight.decode(np.ascontiguousarray(padded[:, :row]).ravel())
        assert wide.decode(padded.ravel())
        assert np.array_equal(tight.image, wide.image)
        assert not wide.decode(padded.ravel()[:-1])


def test_what_is_offered_and_what_was_got_is_said(
        rig: VirtualDaq, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, 'miniscope_ros')
    source = CameraSource(Event(), '', CameraRequest(
        width=640, height=480, pixel_format='MJPG', frame_rate=30.0, exposure=200))
    info = source.open(Reason.START)
    source.close()
    assert (info.width, info.height, info.frame_rate) == (640, 480, 30.0)
    assert info.transport == 'V4L2 MJPG' and not info.warnings
    assert ('offers YUYV 320x240 at 30, 15 frames/s; YUYV 640x480 at 10 frames/s; MJPG '
            in caplog.text)
    assert 'gives MJPG 640x480 at 30 frames/s, exposure 200' in caplog.text
    assert [(write['control'], write['value']) for write in rig.box.writes] == [
        (controls.EXPOSURE_AUTO, 1), (controls.EXPOSURE_ABSOLUTE, 200)]


@pytest.mark.parametrize('request_, said', [
    ({'width': 333}, 'does not offer 333 x any height; it offers YUYV 320x240'),
    ({'pixel_format': 'H264'}, 'does not offer H264 any width'),
    ({'pixel_format': 'GREY', 'width': 640}, 'it offers YUYV 320x240'),
    ({'exposure': 3000}, 'exposure cannot be 3000: .* takes 3 to 2047')])
def test_what_the_camera_does_not_offer_is_refused_with_what_it_does(
        request_: dict[str, object], said: str, rig: VirtualDaq) -> None:
    with pytest.raises(ConfigurationError, match=said), opened(**request_):
        pass
    assert not rig.box.busy


def test_an_exposure_is_refused_where_there_is_no_such_control(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [uvc_camera('YUYV', fixed_exposure=True)]) as rig:
        with pytest.raises(ConfigurationError, match='has no such control; set exposure to 0'), \
                opened(exposure=100):
            pass
        assert not rig.box.busy


def test_a_rate_that_the_camera_does_not_have_is_a_warning(rig: VirtualDaq) -> None:
    source = CameraSource(Event(), '', CameraRequest(pixel_format='YUYV', frame_rate=25.0))
    info = source.open(Reason.START)
    source.close()
    warning, = info.warnings
    assert info.frame_rate == 30.0
    assert 'was asked for 25 frames/s and answers 30' in warning and '30, 15' in warning


OFFERED = [
    CameraFormat('YUYV', 640, 480, (30.0,)), CameraFormat('YUYV', 1280, 720, (10.0,)),
    CameraFormat('MJPG', 1280, 720, (30.0,)), CameraFormat('H264', 640, 480, (60.0,))]


@pytest.mark.parametrize('own, request_, chosen', [
    (0, CameraRequest(), 0),
    (1, CameraRequest(), 1),
    (0, CameraRequest(frame_rate=60.0), 0),  # H264 is not read
    (1, CameraRequest(frame_rate=29.97), 2),  # the camera's size, in the format that is as fast
    (0, CameraRequest(width=1280, frame_rate=30.0), 2),
    (0, CameraRequest(width=1280, frame_rate=10.0), 1),
    (3, CameraRequest(), 0),
    (0, CameraRequest(pixel_format='MJPG'), 2),
])
def test_what_is_not_asked_for_stays_where_it_can(
        own: int, request_: CameraRequest, chosen: int) -> None:
    assert choose_format(OFFERED, OFFERED[own], request_) == OFFERED[chosen]


def test_a_camera_of_another_pixel_format_is_left_to_opencv(tmp_path: Path) -> None:
    config = only('UYVY')
    with VirtualDaq(tmp_path, [config]) as rig:
        with opened(width=WIDTH) as source:
            frames = [read(source) for _ in range(50)]
        images = shown(config, 0)
        records = {int(record['reported_ns']) // 1000: record for record in rig.box.frames}
        for frame in frames:
            assert frame.sequence is None and frame.stamp_source is StampSource.BUFFER
            assert frame.stamp_ns < frame.receive_ns
            record = records[frame.stamp_ns // 1000]
            assert record['status'] == Status.DELIVERED
            assert np.array_equal(frame.image, images[record['frame'] % len(images)])
        assert len({frame.stamp_ns for frame in frames}) == 50
        with pytest.raises(ConfigurationError, match='does not give 640 x any height, only'), \
                opened(width=640):
            pass
        assert not rig.box.busy


@pytest.mark.parametrize('device', ['', '0', '/dev/video0', 'by_path', 'by_path_name'])
def test_a_camera_is_found_by_each_of_its_names(rig: VirtualDaq, device: str) -> None:
    names = {'by_path': rig.box.by_path, 'by_path_name': Path(rig.box.by_path).name}
    source = CameraSource(Event(), names.get(device, device))
    info = source.open(Reason.START)
    assert (info.width, info.height, info.encoding) == (WIDTH, HEIGHT, 'bgr8')
    assert (info.path, info.location, info.card) == ('/dev/video0', '1-1', 'UVC Camera')
    assert info.frame_rate == 30 and info.transport == 'V4L2 YUYV'
    read(source)
    source.close()


def test_a_box_can_be_opened_as_a_camera_if_it_is_named(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(rate=FAST)]) as rig:
        with pytest.raises(DeviceAbsent, match='opened with source:=daq'), opened():
            pass
        with opened(rig.box.path) as source:
            assert not read(source).damaged
        turn_into_webcam(rig, '1-1')
        with opened() as source:
            read(source)


@pytest.mark.parametrize('pixel_format, fault', [
    ('YUYV', Fault.STAMP_ZERO), ('YUYV', Fault.STAMP_NONE), ('UYVY', Fault.STAMP_ZERO)])
def test_stamps_that_are_none_are_replaced_by_the_arrival(
        pixel_format: str, fault: Fault, tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [only(pixel_format)]) as rig:
        rig.box.always(fault)
        with opened() as source:
            frame = read(source)
    assert frame.stamp_source is StampSource.ARRIVAL
    assert frame.stamp_ns == frame.receive_ns


READ_UNTIL_LOST = """
import sys
from threading import Event
from miniscope_ros.errors import DeviceLost
from miniscope_ros.model import Reason
from miniscope_ros.sources.camera import CameraSource
source = CameraSource(Event(), sys.argv[1])
source.open(Reason.START)
print('open', flush=True)
try:
    while True:
        source.read(0.5)
except DeviceLost:
    print('lost')
source.close()
"""


@pytest.mark.parametrize('pixel_format', ['YUYV', 'UYVY'])
def test_a_frozen_camera_is_lost_before_opencvs_own_ten_seconds(
        pixel_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In processes of their own: OpenCV looks at its time-out once, before the first capture. The
    # camera of the patient one freezes first, and yet the other is lost while it still waits.
    # Another test may have opened a camera in this process, which sets it for what it starts.
    monkeypatch.delenv('OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT', raising=False)
    with VirtualDaq(tmp_path, [only('UYVY'), only(pixel_format)]) as rig:
        ours = rig.popen('-c', READ_UNTIL_LOST, '2')
        monkeypatch.setenv('OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT', '10')
        patient = rig.popen('-c', READ_UNTIL_LOST, '0')
        try:
            for process, box in zip((patient, ours), rig.boxes, strict=True):
                assert process.stdout is not None and process.stdout.readline() == 'open\n'
                box.freeze()
            assert ours.communicate(timeout=PATIENCE)[0] == 'lost\n' and ours.returncode == 0
            assert patient.poll() is None
        finally:
            for process in (ours, patient):
                process.kill()
                process.communicate()
        assert not rig.boxes[1].busy


def test_a_slow_camera_is_not_taken_for_lost(tmp_path: Path) -> None:
    slow = [Offer('YUYV', WIDTH, HEIGHT, (0.8,))]
    with VirtualDaq(tmp_path, [uvc_camera(offers=slow)]), opened(frame_rate=0.8) as source:
        assert read(source).sequence < read(source).sequence


def test_an_unplugged_camera_is_found_again_at_its_port(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [uvc_camera(), uvc_camera()]) as rig:
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
    with VirtualDaq(tmp_path, [uvc_camera(number=4)]) as rig:
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
    """Give the camera's USB device another interface with a video node of its own."""
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


def test_a_missing_node_is_named() -> None:
    with pytest.raises(DeviceError, match='/dev/video99 .*list_devices'):
        CameraSource(Event(), '99').open(Reason.START)


def test_a_camera_without_permission_is_named(rig: VirtualDaq) -> None:
    rig.box.refuse('open', errno.EACCES)
    with pytest.raises(DeviceError, match='no permission to open /dev/video0.*group video'):
        CameraSource(Event(), '0').open(Reason.START)


def test_a_camera_in_use_is_refused(rig: VirtualDaq) -> None:
    first, second = CameraSource(Event(), '0'), CameraSource(Event(), '0')
    first.open(Reason.START)
    with pytest.raises(DeviceError, match='/dev/video0 is in use'):
        second.open(Reason.START)
    read(first)
    first.close()
    second.open(Reason.START)
    second.close()


def test_a_slow_start_is_waited_for(rig: VirtualDaq) -> None:
    rig.box.state['start_ns'] = 1_300_000_000
    with opened() as source:
        read(source)


def test_opening_gives_up_when_the_program_ends(rig: VirtualDaq) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Interrupted), opened('0', stop):
        pass
    assert not rig.box.busy


def test_a_camera_that_sends_nothing_is_refused(rig: VirtualDaq) -> None:
    rig.box.freeze()
    with pytest.raises(DeviceError, match='sends no frame'), opened('0'):
        pass
    assert not rig.box.busy


def test_a_camera_that_does_not_say_its_rate_is_used(rig: VirtualDaq) -> None:
    rig.box.state['offer_rate'][:] = 0.0
    rig.box.state['rate'] = 0.0
    source = CameraSource(Event(), '')
    assert math.isnan(source.open(Reason.START).frame_rate)
    read(source)
    source.close()
