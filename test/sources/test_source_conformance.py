# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What every source must do. Another source is one more line in SOURCES."""
from __future__ import annotations

from collections.abc import Iterator
import contextlib
from dataclasses import FrozenInstanceError
from pathlib import Path
from threading import Event
import time

import cv2
from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.errors import ConfigurationError, DeviceError, EndOfData, MiniscopeError
from miniscope_ros.model import (
    ControlEvent,
    Light,
    RawFrame,
    Reason,
    StampSource,
)
from miniscope_ros.simulation.box import SimulatedTransport
from miniscope_ros.sources.camera import CameraSource
from miniscope_ros.sources.miniscope import MiniscopeSource
from miniscope_ros.sources.registry import make_daq
from miniscope_ros.sources.replay import ReplaySource
from miniscope_ros.sources.source import Source
import numpy as np
import pytest
from recording_folders import scenes, write_miniscope_daq
from uvc_camera import uvc_camera
from virtual_daq import BoxConfig, Offer, VirtualDaq

V4 = load_catalogue()['Miniscope_V4_BNO']
VALUES = {name: control.start for name, control in V4.controls.items()} | {'led': 50.0}
PATIENCE = 20.0  # [s], far more than anything here takes


@contextlib.contextmanager
def miniscope(folder: Path, transport: str) -> Iterator[Source]:
    with VirtualDaq(folder, [BoxConfig(rate=60.0)]) as rig:
        yield make_daq(rig.box.by_path, V4, Event(), VALUES, transport=transport)
        assert rig.box.led == 0.0
        assert not rig.box.busy


@contextlib.contextmanager
def simulated(folder: Path) -> Iterator[Source]:
    box = SimulatedTransport(V4, loss_rate=0.0)
    yield MiniscopeSource(V4, lambda port: box, Event(), values=VALUES, pauses=False)
    assert box.values['led'] == 0.0


@contextlib.contextmanager
def camera(folder: Path, pixel_format: str) -> Iterator[Source]:
    offers = [Offer(pixel_format, 320, 240)]
    with VirtualDaq(folder, [uvc_camera(offers=offers, rate=60.0)]) as rig:
        yield CameraSource(Event(), rig.box.path)
        assert not rig.box.busy


@contextlib.contextmanager
def video(folder: Path) -> Iterator[Source]:
    path = str(folder / 'video.avi')
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*'FFV1'), 100, (64, 48))
    for level in range(200):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    yield CameraSource(Event(), path)


@contextlib.contextmanager
def replay(folder: Path) -> Iterator[Source]:
    recording = write_miniscope_daq(
        folder / 'scope', scenes(20), [50 * number for number in range(20)])
    yield ReplaySource(str(recording), rate=4.0, loop=True, stamps='now')


SOURCES = {
    'miniscope on v4l2': lambda folder: miniscope(folder, 'v4l2'),
    'miniscope on usb': lambda folder: miniscope(folder, 'usb'),
    'simulated': simulated,
    'camera in YUYV': lambda folder: camera(folder, 'YUYV'),
    'camera in MJPG': lambda folder: camera(folder, 'MJPG'),
    'camera in GREY': lambda folder: camera(folder, 'GREY'),
    'camera through OpenCV': lambda folder: camera(folder, 'UYVY'),
    'video file': video,
    'replay': replay,
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    """Make the source that a test is about; it opens nothing."""
    with SOURCES[request.param](tmp_path) as made:
        yield made
        made.close()


@pytest.fixture
def active(source: Source) -> Source:
    """Return one that is open and active."""
    source.open(Reason.START)
    source.activate(Reason.START)
    return source


def read(source: Source) -> RawFrame:
    """Return the next good frame, which must come."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        frame = source.read(0.5)
        assert frame is None or isinstance(frame, RawFrame)
        if frame is not None and not frame.damaged:
            return frame
    raise AssertionError('no frame')


def lights(source: Source) -> list[str]:
    """Return which of its controls are lights."""
    return [name for name in source.controls if name.startswith('led')]


def test_frames_are_as_they_were_announced(source: Source) -> None:
    info = source.open(Reason.START)
    source.activate(Reason.START)
    assert info.encoding in ('mono8', 'bgr8') and info.device_type and info.transport
    colour = (3,) if info.encoding == 'bgr8' else ()
    frames = []
    for _ in range(5):
        frame = read(source)
        assert frame.image.shape == (info.height, info.width, *colour)
        assert frame.image.dtype == np.uint8
        frames.append(frame)
    stamps = [frame.stamp_ns for frame in frames]
    assert stamps == sorted(set(stamps)) and stamps[0] > 0
    now_ns = time.monotonic_ns()
    for frame in frames:
        assert frame.receive_ns <= now_ns
        assert frame.stamp_source in (
            (StampSource.BUFFER, StampSource.ARRIVAL) if source.is_live
            else (StampSource.RECORDED,))
        assert source.ros_time_ns(frame, lambda monotonic_ns: monotonic_ns) > 0
        assert frame.wire_stamp_ns is None
    if info.has_orientation and frames[-1].orientation is not None:
        assert len(frames[-1].orientation) == 4


def test_frames_do_not_change_under_way(active: Source) -> None:
    frame = read(active)
    with pytest.raises(FrozenInstanceError):
        frame.stamp_ns = 0  # type: ignore[misc]


def test_waiting_is_answered_at_any_time(source: Source) -> None:
    assert source.waiting() is False
    source.open(Reason.START)
    source.activate(Reason.START)
    read(source)
    assert source.waiting() in (True, False)
    source.close()
    assert source.waiting() is False


def test_events_are_frames_and_values_and_come_once(active: Source) -> None:
    read(active)
    events = active.take_events()
    assert all(isinstance(event, (RawFrame, ControlEvent)) for event in events)
    assert list(active.take_events()) == []
    sent = {event.control for event in events if isinstance(event, ControlEvent)}
    assert sent == set(active.controls)


def test_values_are_sent_and_reported(active: Source) -> None:
    active.take_events()
    for name, control in active.controls.items():
        value = max(control.choices) if control.choices else control.maximum
        assert value is not None
        active.set_value(name, value)
        for _ in range(2):
            read(active)
        told = [event for event in active.take_events() if isinstance(event, ControlEvent)]
        assert [(event.control, event.value, event.reason) for event in told] == [
            (name, value, Reason.USER)]
    if not active.controls:
        with pytest.raises(ConfigurationError):
            active.set_value('led', 1.0)


def test_its_light_is_known(source: Source) -> None:
    assert source.light is Light.DARK
    source.open(Reason.START)
    assert source.light is Light.DARK
    for end in (source.deactivate, source.close):
        source.activate(Reason.START)
        assert source.light is (Light.LIT if lights(source) else Light.DARK)
        read(source)
        source.take_events()
        end()
        assert source.light is Light.DARK
        told = [event for event in source.take_events() if isinstance(event, ControlEvent)]
        assert [(event.control, event.value) for event in told] == [
            (name, 0.0) for name in lights(source)]


def test_dimming_comes_before_the_end(active: Source) -> None:
    read(active)
    active.take_events()
    active.dim()
    told = [event for event in active.take_events() if isinstance(event, ControlEvent)]
    assert [(event.control, event.value) for event in told] == [
        (name, 0.0) for name in lights(active)]
    active.set_sync(False)
    active.deactivate()
    assert active.light is Light.DARK
    # It is not reported twice.
    assert not [event for event in active.take_events() if isinstance(event, ControlEvent)]
    active.activate(Reason.START)
    read(active)


def test_the_sync_output_can_be_asked_for(active: Source) -> None:
    for on in (True, False):
        active.set_sync(on)
        read(active)


def test_the_head_stage_can_be_set_up_again(active: Source) -> None:
    active.reinitialise_head_stage()
    read(active)


def test_activation_begins_anew(active: Source) -> None:
    for _ in range(2):
        read(active)
        active.deactivate()
        active.activate(Reason.START)
    read(active)


def test_it_can_be_closed_twice_and_opened_again(active: Source) -> None:
    read(active)
    for _ in range(2):
        active.close()
        active.close()
        active.open(Reason.START)
        active.activate(Reason.START)
        read(active)


def test_closed_it_gives_no_frames(active: Source) -> None:
    active.close()
    with contextlib.suppress(DeviceError):
        assert active.read(0.0) is None


def test_closed_it_can_be_made_dark(active: Source) -> None:
    active.close()
    active.make_dark()
    assert active.light is Light.DARK
    active.open(Reason.START)
    active.activate(Reason.START)
    read(active)


def test_a_hard_reset_says_what_was_done_or_why_not(active: Source) -> None:
    read(active)
    try:
        assert active.hard_reset()
    except DeviceError as error:
        assert 'only a DAQ box' in str(error)
        read(active)
        return
    # It is lost, and comes back.
    deadline = time.monotonic() + PATIENCE
    active.close()
    while True:
        try:
            active.open(Reason.RESUME)
            break
        except MiniscopeError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    active.activate(Reason.RESUME)
    read(active)


@pytest.mark.parametrize('source', ['video file'], indirect=True)
def test_its_end_is_the_end_of_data_if_it_has_one(source: Source) -> None:
    source.open(Reason.START)
    source.activate(Reason.START)
    with pytest.raises(EndOfData):
        while True:
            read(source)
