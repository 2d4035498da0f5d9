# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What is there of a recording is played, and what is missing is reported."""
from itertools import chain
from pathlib import Path

from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.formats import open_recording
import pytest
from recording_folders import (
    scenes,
    TURN,
    write_avi,
    write_miniscope_daq,
    write_mkv,
    write_pomidaq,
    write_syntalos,
    write_tsync,
)

MS = 1_000_000  # [ns]


def played(path: Path) -> tuple[list[int], list[str]]:
    """Return the times [ms] of the frames and the warnings after they were played."""
    recording = open_recording(str(path))
    times = [frame.time_ns // MS for frame in recording.frames()]
    return times, recording.warnings


def test_more_stamps_than_frames(tmp_path: Path) -> None:
    write_miniscope_daq(tmp_path / 'a', scenes(3), [0, 50, 100, 150, 200])
    times, warnings = played(tmp_path / 'a')
    assert times == [0, 50, 100]
    assert '5 time stamps for 3 frames' in warnings[0]
    write_pomidaq(tmp_path / 'b', 'mouse', scenes(3), [0, 50, 100, 150, 200])
    times, warnings = played(tmp_path / 'b')
    assert times == [0, 50, 100]
    assert '3 frames can be decoded, 2 less' in warnings[0]


def test_fewer_stamps_than_frames(tmp_path: Path) -> None:
    write_miniscope_daq(tmp_path / 'a', scenes(5), [0, 50, 100], per_file=2)
    times, warnings = played(tmp_path / 'a')
    assert times == [0, 50, 100]
    assert '3 time stamps for 5 frames' in warnings[0]
    write_syntalos(tmp_path / 'run', [scenes(4)], [[0, 50_000, 100_000]])
    times, warnings = played(tmp_path / 'run')
    assert times == [0, 50, 100]
    assert 'more frames than the 3 time stamps' in warnings[0]


def test_cut_video_loses_its_own_frames_only(tmp_path: Path) -> None:
    stamps = list(range(0, 1500, 50))
    images = scenes(30)
    folder = write_miniscope_daq(tmp_path / 'scope', images, stamps, per_file=10)
    video = folder / '1.avi'
    video.write_bytes(video.read_bytes()[:video.stat().st_size // 2])
    recording = open_recording(str(folder))
    frames = list(recording.frames())
    kept = [frame.time_ns // (50 * MS) for frame in frames]
    assert kept[:10] == list(range(10)) and kept[-10:] == list(range(20, 30))
    assert 22 < len(kept) < 28
    for frame, number in zip(frames, kept, strict=True):
        intact = number not in (kept[-11], kept[-11] - 1)  # the last of a cut file may be damaged
        assert not intact or frame.image.tobytes() == images[number].tobytes()
    assert any('1.avi' in warning and 'less than there are time stamps' in warning
               for warning in recording.warnings)


def test_missing_video_in_the_middle_does_not_shift_the_rest(tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(6), [0, 50, 100, 150, 200, 250],
                                 per_file=2)
    (folder / '1.avi').unlink()
    times, warnings = played(folder)
    assert times == [0, 50, 200, 250]
    assert any('1.avi' in warning for warning in warnings)


def cut(video: Path) -> None:
    video.write_bytes(video.read_bytes()[:video.stat().st_size * 2 // 3])


def test_cut_mkv(tmp_path: Path) -> None:
    stamps = list(range(0, 2000, 50))
    write_pomidaq(tmp_path / 'a', 'mouse', scenes(40), stamps)
    cut(tmp_path / 'a' / 'mouse.mkv')
    write_syntalos(tmp_path / 'b', [scenes(40)], [[1000 * stamp for stamp in stamps]])
    cut(tmp_path / 'b' / 'videos' / 'miniscope' / 'scope_0.mkv')
    for folder in ('a', 'b'):
        times, warnings = played(tmp_path / folder)
        assert 10 < len(times) < 40 and times == stamps[:len(times)]
        assert 'less than there are time stamps' in warnings[0]


def test_line_without_a_number_costs_one_frame(tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(5), [0, 50, 100, 150, 200])
    table = folder / 'timeStamps.csv'
    table.write_text(table.read_text().replace('2,100,0', '2,1o0,0')[:-6])  # and the end is cut
    times, warnings = played(folder)
    assert times == [0, 50, 150]
    assert '"1o0" in column "Time Stamp (ms)"' in warnings[0]
    assert 'line 4' in warnings[0] and '2 such lines' in warnings[0]


def test_times_rise_in_any_case(tmp_path: Path) -> None:
    rows = [[stamp, *TURN] for stamp in (0, 50, 50, 40)]
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(5), [0, 50, 50, 40, 150], rows=rows)
    recording = open_recording(str(folder))
    frames = list(recording.frames())
    assert [frame.time_ns for frame in frames] == [
        0, 50_000_000, 50_001_000, 50_002_000, 150_000_000]
    assert [frame.orientation for frame in frames] == [TURN] * 4 + [None]
    assert '2 are moved up, by at most 10.002 ms' in recording.warnings[0]


def test_orientation_without_a_column_is_left_out(tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(2), [0, 50])
    (folder / 'headOrientation.csv').write_text('Time Stamp (ms),qw,qx,qy\n0,1,0,0\n')
    recording = open_recording(str(folder))
    assert not recording.has_orientation
    assert 'no column "qz"' in recording.warnings[0]
    assert [frame.orientation for frame in recording.frames()] == [None, None]


def test_orientation_rows_far_from_any_frame_are_left_out(tmp_path: Path) -> None:
    rows = [[0, *TURN], [74, *TURN], [126, *TURN], [400, *TURN]]
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(4), [0, 50, 150, 200], rows=rows)
    recording = open_recording(str(folder))
    assert [frame.orientation for frame in recording.frames()] == [TURN, TURN, TURN, None]
    assert '1 orientation rows belong to no frame' in recording.warnings[0]


def test_another_image_size_in_a_later_file_is_an_error(tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(4), [0, 50, 100, 150], per_file=2)
    write_avi(folder / '1.avi', scenes(2, 32, 32), 'FFV1')
    with pytest.raises(DeviceError, match='1.avi: image size'):
        list(open_recording(str(folder)).frames())


def test_recordings_are_not_changed_by_reading(tmp_path: Path) -> None:
    write_miniscope_daq(tmp_path / 'a' / 'scope', scenes(3), [0, 50, 100])
    write_pomidaq(tmp_path / 'b', 'mouse', scenes(3), [0, 50, 100])
    write_syntalos(tmp_path / 'c', [scenes(3)], [[0, 50_000, 100_000]])
    write_tsync(tmp_path / 'c' / 'unrelated.tsync', [1])
    write_mkv(tmp_path / 'c' / 'unrelated.mkv', scenes(1))

    def state() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns
                for path in chain([tmp_path], tmp_path.rglob('*'))}
    before = state()
    for name in 'abc':
        assert len(list(open_recording(str(tmp_path / name)).frames())) == 3
    assert state() == before
