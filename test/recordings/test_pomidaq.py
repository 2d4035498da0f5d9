# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Recordings of PoMiDAQ are read as they are."""
from pathlib import Path

from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.formats import open_recording
import pytest
from recording_folders import scenes, START_MS, TURN, write_pomidaq, write_pomidaq_rows

MS = 1_000_000  # [ns]


def test_pomidaq_frames_are_exact(tmp_path: Path) -> None:
    images = scenes(5)
    times = [0, 50, 100, 151, 200]
    write_pomidaq(tmp_path / 'data', 'mouse', images, times)
    write_pomidaq_rows(tmp_path / 'data', 'mouse', [[0, *TURN], [151, 1, 0, 0, 0]])
    for path in (tmp_path / 'data', tmp_path / 'data' / 'mouse.mkv'):
        recording = open_recording(str(path))
        frames = list(recording.frames())
        assert [frame.time_ns for frame in frames] == [stamp * MS for stamp in times]
        assert [frame.orientation for frame in frames] == [
            TURN, None, None, (1.0, 0.0, 0.0, 0.0), None]
        for frame, image in zip(frames, images, strict=True):
            assert frame.image.tobytes() == image.tobytes()
        assert recording.warnings == []
        assert (recording.format_name, recording.start_epoch_ns) == ('PoMiDAQ', None)
        assert (recording.frame_rate, recording.device_type) == (20.0, '')


def test_pomidaq_times_since_1970_tell_the_start(tmp_path: Path) -> None:
    write_pomidaq(tmp_path, 'mouse', scenes(3), [START_MS, START_MS + 50, START_MS + 99])
    write_pomidaq_rows(tmp_path, 'mouse', [[START_MS + 50, *TURN]])
    recording = open_recording(str(tmp_path))
    assert recording.start_epoch_ns == START_MS * MS
    assert [(frame.time_ns, frame.orientation) for frame in recording.frames()] == [
        (0, None), (50 * MS, TURN), (99 * MS, None)]


def test_pomidaq_slices_are_one_recording(tmp_path: Path) -> None:
    images = scenes(24)
    for number in range(1, 13):  # a tenth slice comes after the ninth, not after the first
        first = 2 * (number - 1)
        write_pomidaq(tmp_path, f'mouse_{number}', images[first:first + 2],
                      [50 * first, 50 * first + 50])
    write_pomidaq_rows(tmp_path, 'mouse', [[100, *TURN]])
    recording = open_recording(str(tmp_path))
    frames = list(recording.frames())
    assert [frame.time_ns for frame in frames] == [50 * MS * number for number in range(24)]
    assert [n for n, frame in enumerate(frames) if frame.orientation] == [2]
    for frame, image in zip(frames, images, strict=True):
        assert frame.image.tobytes() == image.tobytes()


def test_pomidaq_folder_of_several_recordings_is_refused(tmp_path: Path) -> None:
    for name in ('mouse', 'rat'):
        write_pomidaq(tmp_path, name, scenes(2), [0, 50])
    with pytest.raises(DeviceError, match='several recordings.*mouse.mkv, .*rat.mkv'):
        open_recording(str(tmp_path))
    assert open_recording(str(tmp_path / 'rat.mkv')).frame_count == 2
