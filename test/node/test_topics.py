# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Every topic of a streaming node: what it carries, how often, and whether it is the truth."""
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
import math
import time
from typing import Any
import zlib

import cv2
from listening import BEST_EFFORT, Heard, KEPT, Listener, stamp_ns, STREAMS
from miniscope_msgs.msg import ControlChange, FrameInfo
from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.daq.packets import encode
from miniscope_ros.simulation.box import SimulatedTransport
from miniscope_ros.simulation.frame_clock import Fate, Frame
from miniscope_ros.transports import v4l2_controls as controls
from node_process import NodeProcess, PATIENCE, scope_node
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

SECONDS = 10.0
SEED = 26  # its head rests within SECONDS
LOSS = 0.02  # of the frames, on the way and as many at the source
LED = 20.0
PERIOD_MS = 1000 / 30
SURE_FRAMES = 12  # from there on two frames that show a loss are enough
V4 = load_catalogue()['Miniscope_V4_BNO']


@dataclass
class Picture:
    """What is kept of an image."""

    stamp: int
    digest: int
    shape: tuple[int, int]
    encoding: str
    step: int
    frame_id: str
    pixels: np.ndarray


@dataclass
class Stream:
    """All that was heard of an acquisition, from its first frame to the darkness after it."""

    node: NodeProcess
    ear: Listener
    heard: dict[str, Heard] = field(default_factory=dict)
    late: dict[str, Heard] = field(default_factory=dict)
    best_effort: Heard = field(default_factory=Heard)

    def __getitem__(self, topic: str) -> Heard:
        return self.heard[topic]


def keep_picture(image: Image) -> Picture:
    """Keep a digest of an image, and every fourth of its rows and columns."""
    pixels = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width)
    return Picture(
        stamp_ns(image), zlib.crc32(image.data), (image.width, image.height), image.encoding,
        image.step, image.header.frame_id, pixels[::4, ::4].copy())


@pytest.fixture(scope='module')
def stream() -> Iterator[Stream]:
    """Listen to a node for SECONDS of frames, then to it at rest, then as one who comes late."""
    given = {
        'source': 'simulated', 'led': LED, 'auto_start': False,
        'device': f'seed={SEED},loss_on_the_way={LOSS},loss_at_the_source={LOSS},'
        'bleaching=0'}
    with scope_node(given) as node, Listener() as ear:
        stream = Stream(node, ear)
        assert ear.change_state('configure')
        for topic in (*STREAMS, *KEPT):
            keep = keep_picture if STREAMS.get(topic) is Image else lambda message: message
            stream.heard[topic] = ear.listen(topic, keep=keep)
        stream.best_effort = ear.listen('image_raw', Image, BEST_EFFORT, keep_picture)
        ear.wait_for_match(*stream.heard.values(), stream.best_effort)
        assert ear.change_state('activate')
        frames = stream['frame_info']
        ear.wait_until(
            lambda: frames and frames[-1].time_ms >= SECONDS * 1e3, f'{SECONDS} s of frames came')
        assert ear.change_state('deactivate')
        node.wait_for_output('acquisition ended')
        for topic in ('image_raw', 'camera_info', 'frame_info'):
            ear.wait_for(stream[topic], published(node))
        with Listener() as latecomer:
            stream.late = {topic: latecomer.listen(topic) for topic in KEPT}
            for heard in stream.late.values():
                latecomer.wait_for(heard)
            latecomer.wait_for(
                stream.late['control_changes'], len(stream['control_changes']))
        yield stream


def published(node: NodeProcess) -> int:
    """Return how many frames the node says it has published."""
    words = node.wait_for_output('acquisition ended').split()
    return int(words[words.index('published') - 1])


@dataclass
class Truth:
    """What the simulated box with that seed does, frame by frame from its first."""

    box: SimulatedTransport
    frames: list[Frame]

    def picture(self, number: int) -> np.ndarray:
        """Return a frame as it looks under the controls, every fourth row and column."""
        yuyv = np.zeros((V4.height, V4.width, 2), np.uint8)
        self.box.scene.render(self.time_s(number), self.frames[-1].exposure, yuyv)
        return yuyv[::4, ::4, 0]

    def time_s(self, number: int) -> float:
        """Return the scene's time at a frame of the box that runs at the set rate."""
        begun = next(index for index, frame in enumerate(self.frames)
                     if frame.number == number and frame.fate is not Fate.LOST_AT_THE_SOURCE)
        return begun * round(PERIOD_MS * 1e6) / 1e9


@pytest.fixture(scope='module')
def truth() -> Truth:
    """Let another box with that seed run its first minute in less than one second."""
    box = SimulatedTransport(V4, seed=SEED, loss_rate=(LOSS, LOSS), true_rate=100.0)
    box.open(V4.width, V4.height)
    for packet in V4.controls['led'].packets(LED):
        words = zip((controls.CONTRAST, controls.GAMMA, controls.SHARPNESS), encode(packet),
                    strict=True)
        for control, word in words:
            box.write_control(control, word)
    box.start(8)
    deadline = time.monotonic() + PATIENCE
    while len(box.frames) < 1800:
        assert time.monotonic() < deadline
        box.waiting()
    frames = list(box.frames)
    box.close()
    return Truth(box, frames)


def test_types_and_qos_are_those_of_the_interface(stream: Stream) -> None:
    types = dict(stream.ear.node.get_topic_names_and_types())
    for topic, kind in {**STREAMS, **KEPT}.items():
        name = stream.ear.topic(topic)
        assert types[name] == [kind.__module__.split('.')[0] + f'/msg/{kind.__name__}']
        infos = stream.ear.node.get_publishers_info_by_topic(name)
        assert len(infos) == 1
        assert infos[0].qos_profile.reliability == ReliabilityPolicy.RELIABLE
        assert infos[0].qos_profile.durability == (
            DurabilityPolicy.TRANSIENT_LOCAL if topic in KEPT else DurabilityPolicy.VOLATILE)


def test_each_frame_is_on_each_topic_once(stream: Stream) -> None:
    frames = stream['frame_info']
    assert [frame.frame_index for frame in frames] == list(range(published(stream.node)))
    assert len(stream['image_raw']) == len(stream['camera_info']) == len(frames)
    readings = [f for f in frames if f.orientation == FrameInfo.ORIENTATION_PUBLISHED]
    assert len(stream['imu/data']) == len(stream['orientation_rows']) == len(readings)
    # The display is skipped while another frame waits, and that is said.
    words = stream.node.wait_for_output('acquisition ended').split()
    skipped = int(words[words.index('skipped') + 1].rstrip(';'))
    assert len(stream['image_display']) + skipped == len(frames)
    assert len(stream['image_display/compressed']) + skipped == len(frames)


def true_index(frame: FrameInfo) -> int:
    """
    Return the capture index with the losses that are shown and not reported yet.

    A loss of one frame that time alone shows is reported one frame later. The stamps here are
    exact, so that the uncertainty is the number of such losses and nothing else.
    """
    return int(frame.capture_index + frame.lost_uncertainty)


def test_frames_come_at_the_set_rate(stream: Stream) -> None:
    for earlier, later in pairwise(stream['frame_info']):
        periods = true_index(later) - true_index(earlier)
        assert later.time_ms - earlier.time_ms == pytest.approx(periods * PERIOD_MS, abs=0.001)


def test_one_frame_has_one_stamp_and_stamps_rise(stream: Stream) -> None:
    stamps = [stamp_ns(frame) for frame in stream['frame_info']]
    assert all(earlier < later for earlier, later in pairwise(stamps))
    assert [picture.stamp for picture in stream['image_raw']] == stamps
    assert [stamp_ns(info) for info in stream['camera_info']] == stamps
    of_readings = [
        stamp_ns(frame) for frame in stream['frame_info']
        if frame.orientation == FrameInfo.ORIENTATION_PUBLISHED]
    assert [stamp_ns(imu) for imu in stream['imu/data']] == of_readings
    assert [stamp_ns(row) for row in stream['orientation_rows']] == of_readings
    shown = [picture.stamp for picture in stream['image_display']]
    assert shown == [stamp_ns(jpeg) for jpeg in stream['image_display/compressed']]
    assert set(shown) <= set(stamps) and shown == sorted(shown)


def test_times_of_a_frame_agree(stream: Stream) -> None:
    frames = stream['frame_info']
    begin = stamp_ns(frames[0])
    for frame in frames:
        assert frame.time_ms == pytest.approx((stamp_ns(frame) - begin) / 1e6, abs=1e-6)
        receive = frame.receive_time.sec * 1_000_000_000 + frame.receive_time.nanosec
        assert receive > stamp_ns(frame)
        assert frame.stamp_source == FrameInfo.STAMP_BUFFER
    assert frames[0].time_ms == 0.0 and frames[0].sync_edge == 0


def test_best_effort_and_reliable_subscribers_get_every_image(stream: Stream) -> None:
    sent = [stamp_ns(frame) for frame in stream['frame_info']]
    assert sent[-1] - sent[0] >= SECONDS * 1e9
    assert [picture.stamp for picture in stream.best_effort] == sent
    assert [picture.digest for picture in stream.best_effort] == [
        picture.digest for picture in stream['image_raw']]


def is_going_dark(stream: Stream, picture: Picture) -> bool:
    """Return whether a frame was not wholly under the light; at most half of it was."""
    return bool(picture.pixels.mean() < 0.75 * stream['image_raw'][0].pixels.mean())


def numbers_of(stream: Stream, truth: Truth) -> list[int]:
    """
    Return the box's number of each published frame, recognised by its pixels.

    A busy computer takes some more while it goes dark. These are known by their edges.
    """
    numbers: list[int] = []
    edge = 0
    for picture, frame in zip(stream['image_raw'], stream['frame_info'], strict=True):
        if is_going_dark(stream, picture):
            number = numbers[-1] + frame.sync_edge - edge
        else:
            number = next(
                number for number in range(numbers[-1] + 1 if numbers else 1, len(truth.frames))
                if np.array_equal(truth.picture(number), picture.pixels))
        numbers.append(number)
        edge = frame.sync_edge
    return numbers


@pytest.fixture(scope='module')
def numbers(stream: Stream, truth: Truth) -> list[int]:
    """Recognise the published frames."""
    return numbers_of(stream, truth)


def test_device_count_is_the_number_or_unknown(stream: Stream, numbers: list[int]) -> None:
    frames = stream['frame_info']
    for frame, number in zip(frames, numbers, strict=True):
        assert frame.device_frame_count in (-1, number)
    assert any(frame.device_frame_count >= 0 for frame in frames)


def test_images_are_those_the_box_sent(stream: Stream, numbers: list[int]) -> None:
    assert all(earlier < later for earlier, later in pairwise(numbers))
    for picture in stream['image_raw']:
        assert picture.shape == (608, 608)
        assert (picture.encoding, picture.step) == ('mono8', 608)
        assert picture.frame_id == 'miniscope_optical_frame'
    assert stream['image_raw'][0].pixels.mean() > 20  # lit


def test_every_loss_is_told(stream: Stream, truth: Truth, numbers: list[int]) -> None:
    fates = [frame.fate for frame in truth.frames]
    places = {  # of the frames that the box finished
        frame.number: place for place, frame in enumerate(truth.frames)
        if frame.fate is not Fate.LOST_AT_THE_SOURCE}
    on_the_way = at_the_source = before_that = 0
    frames = stream['frame_info']
    for (earlier, later), (before, after) in zip(
            pairwise(frames), pairwise(numbers), strict=True):
        between = fates[places[before] + 1:places[after]]
        unfinished = between.count(Fate.LOST_AT_THE_SOURCE)
        by_sequence = len(between) - unfinished
        assert true_index(later) - true_index(earlier) == 1 + len(between)
        assert later.capture_index - earlier.capture_index == 1 + later.lost_before
        assert later.sync_edge - earlier.sync_edge == after - before
        # What only time shows waits for one more frame, for two among the first ones.
        waiting = unfinished + (before_that if later.frame_index < SURE_FRAMES else 0)
        assert later.lost_uncertainty <= waiting
        by_time = later.lost_before - by_sequence
        assert by_time >= 0
        evidence = (FrameInfo.EVIDENCE_TIME if by_time else FrameInfo.EVIDENCE_SEQUENCE
                    if by_sequence else FrameInfo.EVIDENCE_NONE)
        assert (later.loss_evidence, later.damaged_before) == (evidence, 0)
        before_that = unfinished
        at_the_source += by_time
        on_the_way += by_sequence
    assert frames[0].lost_before == frames[0].capture_index == 0
    assert on_the_way > 0 and at_the_source > 0


def test_device_time_is_that_of_the_scene(
        stream: Stream, truth: Truth, numbers: list[int]) -> None:
    for frame, number in zip(stream['frame_info'], numbers, strict=True):
        assert frame.device_time_ms == pytest.approx(1e3 * truth.time_s(number), abs=1e-6)


def test_orientation_is_the_truth_at_that_frame(
        stream: Stream, truth: Truth, numbers: list[int]) -> None:
    frames = stream['frame_info']
    for row, imu in zip(stream['orientation_rows'], stream['imu/data'], strict=True):
        frame = frames[row.frame_index]
        raw = truth.box.head.raw(truth.time_s(numbers[row.frame_index]))
        assert (row.qw, row.qx, row.qy, row.qz) == tuple(part / 16384 for part in raw)
        turn = imu.orientation
        norm = math.hypot(row.qw, row.qx, row.qy, row.qz)
        assert (turn.w, turn.x, turn.y, turn.z) == pytest.approx(
            [part / norm for part in (row.qw, row.qx, row.qy, row.qz)], abs=1e-12)
        assert row.time_ms == frame.time_ms
        assert stamp_ns(row) == stamp_ns(frame)


def test_what_became_of_each_reading_is_told(
        stream: Stream, truth: Truth, numbers: list[int]) -> None:
    # Where the host was late there is no reading.
    frames = stream['frame_info']
    told = [(frame.orientation, truth.box.head.raw(truth.time_s(number)))
            for frame, number in zip(frames, numbers, strict=True)
            if frame.orientation != FrameInfo.ORIENTATION_NONE]
    for (_, before), (outcome, reading) in pairwise(told):
        assert outcome == (
            FrameInfo.ORIENTATION_REPEATED if reading == before
            else FrameInfo.ORIENTATION_PUBLISHED)
    outcomes = {outcome for outcome, _ in told}
    assert outcomes == {FrameInfo.ORIENTATION_PUBLISHED, FrameInfo.ORIENTATION_REPEATED}


def test_imu_marks_what_it_does_not_report(stream: Stream) -> None:
    for imu in stream['imu/data']:
        assert imu.angular_velocity_covariance[0] == -1.0
        assert imu.linear_acceleration_covariance[0] == -1.0
        assert not imu.orientation_covariance.any()
        assert imu.header.frame_id == 'miniscope_imu_link'


def test_camera_info_is_uncalibrated_but_has_the_size(stream: Stream) -> None:
    info: CameraInfo = stream['camera_info'][-1]
    assert (info.width, info.height, info.k[0]) == (608, 608, 0.0)
    assert info.header.frame_id == 'miniscope_optical_frame'


def test_display_shows_the_frame(stream: Stream) -> None:
    raw = {picture.stamp: picture for picture in stream['image_raw']}
    for shown in stream['image_display']:
        assert (shown.encoding, shown.step, shown.shape) == ('mono8', 608, (608, 608))
        # Apart from the indicators, which cover little.
        same = shown.pixels == raw[shown.stamp].pixels
        assert same.mean() > 0.9


def test_jpeg_decodes_to_the_display(stream: Stream) -> None:
    shown = {picture.stamp: picture for picture in stream['image_display']}
    for jpeg in stream['image_display/compressed'][::30]:
        assert jpeg.format == 'jpeg'
        decoded = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert decoded.shape == (608, 608)
        error = np.abs(decoded[::4, ::4].astype(float) - shown[stamp_ns(jpeg)].pixels)
        assert error.mean() < 5


def test_controls_tell_what_is_in_force(stream: Stream) -> None:
    in_force = [dict(zip(c.names, c.values, strict=True)) for c in stream['controls']]
    others = {'frame_rate': 30.0, 'gain': 1.0, 'focus': 0.0}
    lit = next(values for values in in_force if values['led'])
    assert lit == {'led': LED, **others}
    assert in_force[-1] == {'led': 0.0, **others}
    raw = dict(zip(stream['controls'][-1].names, stream['controls'][-1].raw_values, strict=True))
    assert raw == {
        name: control.raw(in_force[-1][name])[0] for name, control in V4.controls.items()}


def lights(changes: list[ControlChange]) -> list[tuple[float, int, int]]:
    """Return value, reason and first frame of each change of the LED."""
    return [(change.value, change.reason, change.first_capture_index)
            for change in changes if change.control == 'led']


def test_control_changes_tell_every_value_sent(stream: Stream) -> None:
    changes = stream['control_changes']
    *dark, lit, last = lights(changes)
    assert len(dark) > 1 and set(dark) == {(0.0, ControlChange.REASON_START, -1)}
    assert lit == (LED, ControlChange.REASON_START, 0)
    assert last == (0.0, ControlChange.REASON_STOP, -1)
    assert changes[0].control == changes[-1].control == 'led'
    assert {change.control for change in changes} == set(V4.controls)
    for change in changes:
        assert change.raw_value == V4.controls[change.control].raw(change.value)[0]
    stamps = [stamp_ns(change) for change in changes]
    assert stamps == sorted(stamps)
    # While it goes dark a busy computer may take some more, which show it.
    going_dark = [is_going_dark(stream, picture) for picture in stream['image_raw']]
    assert going_dark == sorted(going_dark)
    assert all(is_going_dark(stream, picture) for picture in stream['image_raw']
               if picture.stamp >= stamps[-1])


def test_a_late_joiner_gets_all_that_is_latched(stream: Stream) -> None:
    for topic in KEPT:
        if topic != 'control_changes':
            assert repr(stream.late[topic]) == repr(stream[topic][-1:])
    assert stream.late['control_changes'] == stream['control_changes']


def test_image_metadata(stream: Stream) -> None:
    for topic in ('image_raw/metadata', 'image_display/metadata'):
        first, last = stream[topic][0], stream[topic][-1]
        for told in (first, last):
            assert (told.framerate, told.encoding, told.has_color) == (30.0, 'mono8', False)
            assert (told.width, told.height) == (608, 608)
            assert told.device_type == 'Miniscope_V4_BNO'
        assert math.isnan(first.sensor_framerate)
        # Measured once the acquisition is 5 s old, and sent again once.
        assert last.sensor_framerate == pytest.approx(30.0, abs=0.01)
        assert len(stream[topic]) == 2


def test_signal_and_table_metadata(stream: Stream) -> None:
    assert len(stream['imu/metadata']) == len(stream['orientation_rows/metadata']) == 1
    signal: Any = stream['imu/metadata'][0]
    assert (signal.time_unit, signal.data_unit) == ('milliseconds', 'au')
    assert signal.signal_names == ['qw', 'qx', 'qy', 'qz']
    assert stream['orientation_rows/metadata'][0].table_header == [
        'Time [ms]', 'qw', 'qx', 'qy', 'qz']


def test_digital_inputs_are_told(stream: Stream) -> None:
    assert [message.levels for message in stream['digital_inputs']] == [0]
    assert 0 in [frame.digital_inputs for frame in stream['frame_info']]
    assert {frame.digital_inputs for frame in stream['frame_info']} <= {0, -1}
