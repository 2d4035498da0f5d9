# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Bags of this driver are played as they were recorded."""
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.formats import open_recording
import pytest


def test_bag_is_played_as_it_was_recorded(tmp_path: Path) -> None:
    bags = pytest.importorskip('recorded_bag', reason='rosbags is not installed')
    scope = bags.Scope(frames=20, lost={4: 2}, first=3)
    for storage in (bags.MCAP, bags.SQLITE):
        path = bags.write_bag(tmp_path / storage.name, scope, storage=storage, files=2)
        recording = open_recording(str(path))
        frames = list(recording.frames())
        assert len(frames) == recording.frame_count == 20
        for number, frame in enumerate(frames):
            assert frame.image.tobytes() == scope.image(number).tobytes()
            assert frame.time_ns == round(scope.time_ms(number) * 1e6)
            assert frame.device_count == scope.device_count(number)
            assert frame.number == scope.index(number) + scope.lost_until(number)
            assert frame.orientation == scope.quaternion(number)
        assert recording.format_name == 'rosbag2'
        assert recording.format == (*scope.size, 'mono8')
        assert (recording.device_type, recording.frame_rate) == ('Miniscope_V4_BNO', 20.0)
        assert recording.controls == {'led': '12.5', 'focus': '-5', 'gain': '2',
                                      'frame_rate': '20'}
        assert recording.start_epoch_ns == bags.EPOCH_NS
        assert recording.device_count_bits == 32


def test_bag_keeps_unknown_counters_and_repeated_readings(tmp_path: Path) -> None:
    bags = pytest.importorskip('recorded_bag', reason='rosbags is not installed')

    class Resting(bags.Scope):  # type: ignore[misc]
        """Repeats every second reading, which has no row then."""

        def messages(self, types: Any) -> Iterator[tuple[str, int, Any]]:
            odd = {self.stamp(number) for number in range(1, self.frames, 2)}
            for topic, stamp, message in super().messages(types):
                if topic == 'frame_info' and stamp in odd:
                    message.orientation = 2
                if topic != 'orientation_rows' or stamp not in odd:
                    yield topic, stamp, message

    scope = Resting(frames=6, counter=-1)
    frames = list(open_recording(str(bags.write_bag(tmp_path / 'bag', scope))).frames())
    assert [frame.device_count for frame in frames] == [None] * 6
    assert [frame.orientation for frame in frames] == [
        scope.quaternion(number - number % 2) for number in range(6)]


def test_bag_of_several_acquisitions_is_played_one_by_one(tmp_path: Path) -> None:
    bags = pytest.importorskip('recorded_bag', reason='rosbags is not installed')
    second = bags.EPOCH_NS + 60_000_000_000
    scopes = [bags.Scope('/rat', 5, seed=1), bags.Scope('/mouse', 6, seed=2),
              bags.Scope('/rat', 7, seed=3, encoding='bgr8', orientation=False, padding=5,
                         start_ns=second)]
    path = bags.write_bag(tmp_path / 'bag', *scopes)
    names = [f'{path}/{name}' for name in ('rat', 'mouse', 'rat_2')]
    for wrong in (path, path / 'cat'):
        with pytest.raises(DeviceError, match='3 acquisitions; name one of: .*rat') as caught:
            open_recording(str(wrong))
        assert all(name in str(caught.value) for name in names)
    for name, scope in zip(names, scopes, strict=True):
        recording = open_recording(name)
        frames = list(recording.frames())
        assert [frame.image.tobytes() for frame in frames] == [
            scope.image(number).tobytes() for number in range(scope.frames)]
        assert recording.format.encoding == scope.encoding
        assert recording.has_orientation == scope.orientation
        assert recording.start_epoch_ns == scope.start_ns


def test_bag_cut_off_by_a_crash_is_played_as_far_as_it_goes(tmp_path: Path) -> None:
    bags = pytest.importorskip('recorded_bag', reason='rosbags is not installed')
    scope = bags.Scope(frames=40)
    path = bags.write_bag(tmp_path / 'bag', scope)
    file = next(path.glob('*.mcap'))
    file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])
    (path / 'metadata.yaml').unlink()
    recording = open_recording(str(path))
    frames = list(recording.frames())
    assert 5 < len(frames) < 40
    assert [frame.time_ns for frame in frames] == [
        round(scope.time_ms(number) * 1e6) for number in range(len(frames))]
    assert any('metadata.yaml is missing' in warning for warning in recording.warnings)


def test_bag_of_another_robot_is_refused(tmp_path: Path) -> None:
    bags = pytest.importorskip('recorded_bag', reason='rosbags is not installed')
    path = bags.write_bag(tmp_path / 'bag', bags.Scope(frames=3), without=('image_raw',))
    with pytest.raises(DeviceError, match='no image of a Miniscope'):
        open_recording(str(path))
