# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
What a node publishes goes into a bag, from there into a folder, and back through the node.

The node runs in its own process; its messages are written into the bag as they came over DDS.
"""
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
import math
from pathlib import Path
import re
import tempfile
import time
from typing import Any
import zlib

import av
from diagnostic_msgs.msg import DiagnosticArray
from listening import Heard, is_dark, KEPT, LATCHED, Listener, RELIABLE, stamp_ns, STREAMS
from miniscope_msgs.msg import FrameInfo
from miniscope_ros.commands.export_bag import DONE, main
from miniscope_ros.recordings.export.exit_status import ExitStatus
from miniscope_ros.session.topics import ORIENTATION_TOPICS, TOPICS
from node_process import NodeProcess, scope_node, Value
import pytest
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from real_recording import blink1
from recorded_bag import MCAP, our_types
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Writer

SECONDS = 8.0  # of the simulated scope; the measured rate is told after 5
REAL_FRAMES = 1287
FASTER = 10.0
PER_FRAME = ('image_raw', 'camera_info', 'frame_info')
PER_READING = ('imu/data', 'orientation_rows')
METADATA = ('image_raw/metadata', 'imu/metadata', 'orientation_rows/metadata')
TYPES = {**STREAMS, **KEPT, '/diagnostics': DiagnosticArray}
DEPTH = 2000  # no frame may be missing because this computer is busy
DEEP = {f'qos_overrides./miniscope/{topic}.publisher.depth': DEPTH
        for topic in (*PER_FRAME, *PER_READING)}

Take = Callable[[str, bytes], None]


@dataclass
class Picture:
    """What is kept of an image."""

    stamp_ns: int
    digest: int
    layout: tuple[int, int, str, int]  # width, height, encoding, step


@dataclass
class Stream:
    """All that a node published of one acquisition, and what it said of it at its end."""

    heard: Mapping[str, Heard]
    captured: int
    published: int
    lost: int

    def __getitem__(self, topic: str) -> Heard:
        return self.heard[topic]

    @property
    def oriented(self) -> bool:
        """Whether there is a sensor of orientation."""
        return 'orientation_rows' in self.heard

    def column(self, field: str, topic: str = 'frame_info') -> list[Any]:
        """Return a field of all messages of a topic; of a topic that is not there, nothing."""
        return [getattr(message, field) for message in self.heard.get(topic, ())]


@dataclass
class Trip:
    """A stream, the bag of it, and the folder that was exported from the bag."""

    live: Stream
    bag: Path
    out: Path


def listen_to(parameters: Mapping[str, Value], oriented: bool, seconds: float = math.inf,
              take: Take = lambda topic, message: None) -> Stream:
    """
    Run a node and return its stream, which ends by itself or after so many seconds of frames.

    oriented tells whether its source has the sensor; take is given every message as it was
    serialized.
    """
    topics = (*TOPICS, *(ORIENTATION_TOPICS if oriented else ()), '/diagnostics')
    with scope_node({**parameters, **DEEP, 'auto_start': False}) as node, Listener() as ear:
        assert ear.change_state('configure')
        heard = {topic: ear.listen(
            topic, TYPES[topic], qos(topic), partial(keep, take, topic), raw=True)
            for topic in topics}
        ear.wait_for_match(*heard.values())
        assert ear.change_state('activate')
        if seconds < math.inf:
            frames = heard['frame_info']
            ear.wait_until(lambda: frames and frames[-1].time_ms >= seconds * 1e3,
                           f'{seconds} s of frames came')
            assert ear.change_state('deactivate')
            ear.wait_until(lambda: is_dark(heard['control_changes']), 'the light went out')
        stream = Stream(heard, *account(node))
        for topic in PER_FRAME:
            ear.wait_for(heard[topic], stream.published)
        readings = stream.column('orientation').count(FrameInfo.ORIENTATION_PUBLISHED)
        for topic in heard.keys() & PER_READING:
            ear.wait_for(heard[topic], readings)
        return stream


def qos(topic: str) -> QoSProfile:
    """Return a profile that fits a topic and loses nothing."""
    profile = LATCHED if topic in KEPT else RELIABLE
    return QoSProfile(
        depth=DEPTH, reliability=profile.reliability, durability=profile.durability)


def keep(take: Take, topic: str, message: bytes) -> Any:
    """Hand a serialized message on; return it decoded, or the digest of an image."""
    take(topic, message)
    decoded = deserialize_message(message, TYPES[topic])
    if topic != 'image_raw':
        return decoded
    return Picture(stamp_ns(decoded), zlib.crc32(decoded.data),
                   (decoded.width, decoded.height, decoded.encoding, decoded.step))


def account(node: NodeProcess) -> tuple[int, int, int]:
    """Return how many frames were captured, published and lost, as the node says at the end."""
    line = node.wait_for_output('acquisition ended')
    found = re.search(r'(\d+) frames captured = (\d+) published \+ (\d+) lost', line)
    assert found, line
    return int(found[1]), int(found[2]), int(found[3])


def record(
    bag: Path, parameters: Mapping[str, Value], oriented: bool, seconds: float = math.inf,
) -> Stream:
    """Run a node with a bag as its audience."""
    types = our_types()
    with Writer(bag, version=9, storage_plugin=MCAP) as writer:
        connections = {
            topic: writer.add_connection(
                topic if topic.startswith('/') else f'/miniscope/{topic}',
                f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}', typestore=types)
            for topic, kind in TYPES.items() if not topic.startswith('image_display')}
        return listen_to(parameters, oriented, seconds, lambda topic, message: writer.write(
            connections[topic], time.time_ns(), message))


def replay(path: Path) -> dict[str, Value]:
    """Return the parameters of a node that plays a recording."""
    return {'source': 'replay', 'replay.path': str(path), 'replay.rate': FASTER,
            'replay.stamps': 'original'}


@pytest.fixture(scope='module', params=['simulated', 'real'])
def trip(request: pytest.FixtureRequest) -> Iterator[Trip]:
    """Record and export; half a gigabyte is not left behind as a test's own folder would be."""
    with tempfile.TemporaryDirectory() as folder:
        bag, out = Path(folder, 'bag'), Path(folder, 'out')
        if request.param == 'simulated':  # with this seed the animal rests for a while
            live = record(bag, {
                'source': 'simulated', 'frame_rate': 30, 'led': 20,
                'device': 'seed=5,loss_on_the_way=0.02,loss_at_the_source=0.02'}, True, SECONDS)
        else:
            live = record(bag, replay(blink1()), False)
        assert main([str(bag), str(out)]) == DONE
        yield Trip(live, bag, out)


def test_the_stream_is_worth_the_trip(trip: Trip, request: pytest.FixtureRequest) -> None:
    evidence = set(trip.live.column('loss_evidence'))
    if 'simulated' in request.node.name:
        assert evidence == {
            FrameInfo.EVIDENCE_NONE, FrameInfo.EVIDENCE_SEQUENCE, FrameInfo.EVIDENCE_TIME}
        assert {FrameInfo.ORIENTATION_PUBLISHED, FrameInfo.ORIENTATION_REPEATED} <= set(
            trip.live.column('orientation'))
    else:
        video, = blink1().glob('videos/miniscope/*.mkv')
        with av.open(str(video)) as container:
            decoded = [zlib.crc32(frame.to_ndarray(format='gray'))
                       for frame in container.decode(video=0)]
        assert len(decoded) == REAL_FRAMES
        assert trip.live.column('digest', 'image_raw') == decoded


def test_the_bag_holds_all_that_was_published(trip: Trip) -> None:
    digests, infos = [], []
    with AnyReader([trip.bag]) as reader:
        for connection, _, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            if connection.topic == '/miniscope/image_raw':
                digests.append(zlib.crc32(message.data))
            elif connection.topic == '/miniscope/frame_info':
                infos.append(message.frame_index)
    assert digests == trip.live.column('digest', 'image_raw')
    assert infos == list(range(trip.live.published))


def test_check_says_what_the_node_said(
        trip: Trip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    status = main(['--check', str(trip.bag)])
    live, said = trip.live, capsys.readouterr().out
    good = said.splitlines()[0].endswith(': good')
    assert status == (ExitStatus.DONE if good else ExitStatus.NOT_GOOD)
    assert re.search(fr'frames +{live.published}\n', said)
    assert re.search(fr'lost +{live.lost} of {live.captured} ', said)
    assert re.search(fr'orientation +{len(live.column("qw", "orientation_rows"))} rows', said)
    assert (tmp_path / 'bag_report.png').stat().st_size > 10_000


def test_the_folder_plays_as_it_was_recorded(trip: Trip) -> None:
    played = listen_to(replay(trip.out), trip.live.oriented)
    # The rate is the inverse of an interval, which is a whole number of milliseconds.
    check_same(trip.live, played, 0.5, filled(trip.live))
    # Times alone show a loss some frames later where a stamp before it was late.
    before = trip.live.column('capture_index')[0]
    for then, now in zip(trip.live['frame_info'], played['frame_info'], strict=True):
        assert abs(now.capture_index + before - then.capture_index) <= \
            now.lost_uncertainty + then.lost_uncertainty
    for topic in ('frame_info', 'orientation_rows'):
        assert played.column('time_ms', topic) == [
            float(round(time_ms)) for time_ms in trip.live.column('time_ms', topic)]
    # A reading that was not valid has no row.
    valid = (FrameInfo.ORIENTATION_PUBLISHED, FrameInfo.ORIENTATION_REPEATED)
    assert played.column('orientation') == [
        status if status in valid else FrameInfo.ORIENTATION_NONE
        for status in trip.live.column('orientation')]
    # Whole milliseconds, of the start as of each frame since.
    assert max(map(abs, shifts(trip.live, played))) <= 1_500_000


def test_the_bag_plays_as_it_was_recorded(trip: Trip) -> None:
    played = listen_to(replay(trip.bag), trip.live.oriented)
    # The times of the real recording are whole milliseconds, and the rate is the median of the
    # intervals: one of these or the next, as a gap with losses is counted among them or not.
    whole = all(time_ms == round(time_ms) for time_ms in trip.live.column('time_ms'))
    check_same(trip.live, played, 0.5 if whole else 1e-3,
               trip.live.column('device_frame_count'))
    # A bag tells of every loss.
    before = trip.live.column('capture_index')[0]
    assert played.lost == trip.live.lost - before
    assert played.column('lost_before')[1:] == trip.live.column('lost_before')[1:]
    assert played.column('capture_index') == [
        index - before for index in trip.live.column('capture_index')]
    for topic in ('frame_info', 'orientation_rows'):
        assert played.column('time_ms', topic) == pytest.approx(
            trip.live.column('time_ms', topic), abs=1e-5)
    assert played.column('orientation') == trip.live.column('orientation')
    assert max(map(abs, shifts(trip.live, played))) <= 10


def filled(live: Stream) -> list[int]:
    """
    Return the device's counts as an export has them.

    One that was not read, which happens on a busy computer, is filled in from the frame before or
    after, if none was lost between the two.
    """
    infos = live['frame_info']
    counts = [info.device_frame_count for info in infos]
    for order in (range(1, len(infos)), range(len(infos) - 2, -1, -1)):
        for n in order:
            other = n - order.step
            later = infos[max(n, other)]
            if counts[n] < 0 <= counts[other] and not (
                    later.lost_before or later.lost_uncertainty):
                counts[n] = counts[other] + order.step
    return counts


def shifts(live: Stream, played: Stream) -> list[int]:
    """Return by how much the stamp of each image differs [ns]."""
    return [now.stamp_ns - then.stamp_ns
            for then, now in zip(live['image_raw'], played['image_raw'], strict=True)]


def check_same(live: Stream, played: Stream, interval_ms: float, counts: list[int]) -> None:
    """
    Hold what was played against what was recorded, but for the times of single frames.

    counts are the device's own counts that are to be played.
    """
    for field in ('digest', 'layout'):
        assert played.column(field, 'image_raw') == live.column(field, 'image_raw')
    assert played.column('frame_index') == live.column('frame_index')
    # What was lost before the first frame of all is in no recording.
    before = live.column('capture_index')[0]
    assert played.published == live.published
    # A single loss that only times show is told with a later frame; there may be none.
    doubt = played['frame_info'][-1].lost_uncertainty
    missing = live.lost - before - played.lost
    assert missing == live.captured - before - played.captured and 0 <= missing <= doubt, (
        missing, doubt)
    # A counter is trusted once it has risen three times.
    assert played.column('device_frame_count')[3:] == counts[3:]
    assert {info.stamp_source for info in played['frame_info']} == {FrameInfo.STAMP_RECORDED}
    for field in ('frame_index', 'qw', 'qx', 'qy', 'qz'):
        assert played.column(field, 'orientation_rows') == live.column(field, 'orientation_rows')
    assert played.column('orientation', 'imu/data') == live.column('orientation', 'imu/data')
    assert played.heard.keys() == live.heard.keys()
    for topic in live.heard.keys() & METADATA:
        then, now = live[topic][-1], played[topic][-1]
        now.header.stamp = then.header.stamp
        if topic == 'image_raw/metadata':
            assert 1e3 / now.sensor_framerate == pytest.approx(
                1e3 / then.sensor_framerate, abs=interval_ms)
            now.sensor_framerate = then.sensor_framerate
        assert now == then
    assert {(info.width, info.height) for info in played['camera_info']} == {
        picture.layout[:2] for picture in live['image_raw']}
