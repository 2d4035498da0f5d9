# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Recordings of Syntalos are read as they are."""
from pathlib import Path

from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.formats import open_recording
import pytest
from recording_folders import scenes, START_MS, TURN, write_syntalos

MS = 1_000_000  # [ns]
ROWS_HEADER = 'Time [ms];qw;qx;qy;qz\n'


def test_syntalos_parts_are_one_recording(tmp_path: Path) -> None:
    images = scenes(9)
    times = [40_001, 90_000, 140_000, 190_000, 240_000, 290_000, 340_000, 390_000, 440_000]
    rows = ROWS_HEADER + f'40;{";".join(map(str, TURN))}\n240;1;0;0;0\n'
    log = 'Time;ID;Display Value;Device Value;\n0;led0;5;12;\n900;led0;7;17;\n'
    root = write_syntalos(tmp_path / 'run', [images[:5], images[5:]], [times[:5], times[5:]],
                          tables={'bno': rows, 'miniscope': log, 'events': 'Time;Tag\n3;x\n'})
    recording = open_recording(str(root))
    frames = list(recording.frames())
    assert [frame.time_ns for frame in frames] == [stamp * 1000 for stamp in times]
    assert [frame.orientation for frame in frames] == [
        TURN, None, None, None, (1.0, 0.0, 0.0, 0.0), None, None, None, None]
    for frame, image in zip(frames, images, strict=True):
        assert frame.image.tobytes() == image.tobytes()
    assert recording.warnings == []
    assert recording.controls == {'led0': '5'}
    assert recording.start_epoch_ns == START_MS // 1000 * 1000 * MS - 40_001_000


def test_syntalos_rows_in_microseconds_are_noticed(tmp_path: Path) -> None:
    times = [40_000, 90_000, 140_000]
    rows = ROWS_HEADER + f'90000;{";".join(map(str, TURN))}\n'
    root = write_syntalos(tmp_path / 'run', [scenes(3)], [times], tables={'bno': rows})
    recording = open_recording(str(root))
    assert [frame.orientation for frame in recording.frames()] == [None, TURN, None]
    assert len(recording.warnings) == 1 and 'microseconds' in recording.warnings[0]


def test_syntalos_without_time_map_has_the_times_of_the_video(tmp_path: Path) -> None:
    root = write_syntalos(tmp_path / 'run', [scenes(4)], [[0, 1, 2, 3]])
    manifest = root / 'videos' / 'miniscope' / 'manifest.toml'
    manifest.write_text(manifest.read_text().split('[data_aux]')[0])
    recording = open_recording(str(root))
    assert [frame.time_ns for frame in recording.frames()] == [0, 50 * MS, 100 * MS, 150 * MS]
    assert recording.start_epoch_ns is None
    assert len(recording.warnings) == 1 and 'time map' in recording.warnings[0]


def test_syntalos_miniscope_is_told_from_other_videos_by_its_name(tmp_path: Path) -> None:
    root = write_syntalos(tmp_path / 'run', [scenes(3)], [[0, 50_000, 100_000]])
    write_syntalos(tmp_path / 'other', [scenes(2)], [[0, 50_000]], video='behaviour')
    (tmp_path / 'other' / 'videos' / 'behaviour').rename(root / 'videos' / 'behaviour')
    write_syntalos(tmp_path / 'more', [scenes(2)], [[0, 50_000]], video='miniscope_display')
    display = Path('videos', 'miniscope_display')
    (tmp_path / 'more' / display).rename(root / display)
    assert open_recording(str(root)).frame_count == 3
    assert open_recording(str(root / 'videos' / 'behaviour')).frame_count == 2
    (root / 'videos' / 'miniscope').rename(root / 'videos' / 'brain')
    with pytest.raises(DeviceError, match='several videos.*behaviour, .*brain, .*display'):
        open_recording(str(root))


def test_syntalos_video_under_another_name_is_played(tmp_path: Path) -> None:
    root = write_syntalos(tmp_path / 'run', [scenes(3)], [[0, 50_000, 100_000]])
    (root / 'videos' / 'miniscope' / 'scope_0.mkv').rename(
        root / 'videos' / 'miniscope' / 'small.mkv')
    recording = open_recording(str(root))
    times = [frame.time_ns // MS for frame in recording.frames()]
    assert times == [0, 50, 100]
    assert 'scope_0.mkv is missing; small.mkv' in recording.warnings[0]
