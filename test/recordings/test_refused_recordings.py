# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What cannot be played is refused with its path and the reason."""
from collections.abc import Callable
from pathlib import Path
import subprocess
import sys

from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.formats import open_recording
import pytest
from recording_folders import scenes, write_miniscope_daq, write_pomidaq, write_syntalos


def nothing(path: Path) -> None:
    path.mkdir()


def strangers(path: Path) -> None:
    path.mkdir()
    (path / 'notes.txt').write_text('no recording')


def video_alone(path: Path) -> None:
    write_miniscope_daq(path, scenes(2), [0, 50])
    (path / 'timeStamps.csv').unlink()


def stamps_alone(path: Path) -> None:
    write_miniscope_daq(path, scenes(2), [0, 50])
    (path / '0.avi').unlink()


def no_time_column(path: Path) -> None:
    write_miniscope_daq(path, scenes(2), [0, 50])
    (path / 'timeStamps.csv').write_text('Frame Number,Buffer Index\n0,0\n1,0\n')


def empty_stamps(path: Path) -> None:
    write_miniscope_daq(path, scenes(2), [0, 50])
    (path / 'timeStamps.csv').write_text('')


def header_alone(path: Path) -> None:
    write_miniscope_daq(path, scenes(2), [])


def words_for_times(path: Path) -> None:
    write_miniscope_daq(path, scenes(2), [float('nan'), float('inf')])


def stamps_are_a_folder(path: Path) -> None:
    write_miniscope_daq(path, scenes(2), [0, 50])
    (path / 'timeStamps.csv').unlink()
    (path / 'timeStamps.csv').mkdir()


def video_of_zeros(path: Path) -> None:
    write_miniscope_daq(path, scenes(2), [0, 50])
    (path / '0.avi').write_bytes(bytes(4096))


def pomidaq_without_video(path: Path) -> None:
    write_pomidaq(path, 'mouse', scenes(2), [0, 50])
    (path / 'mouse.mkv').unlink()


def pomidaq_without_time_column(path: Path) -> None:
    write_pomidaq(path, 'mouse', scenes(2), [0, 50])
    (path / 'mouse_timestamps.csv').write_text('frame\n1\n2\n')


def broken_manifest(path: Path) -> None:
    pytest.importorskip('edlio')
    path.mkdir()
    (path / 'manifest.toml').write_text('type = [')


def no_video_in_tree(path: Path) -> None:
    pytest.importorskip('edlio')
    path.mkdir()
    (path / 'manifest.toml').write_text("type = 'collection'\n")


def two_videos_renamed(path: Path) -> None:
    write_syntalos(path, [scenes(2), scenes(2)], [[0, 1], [2, 3]])
    (path / 'videos' / 'miniscope' / 'scope_1.mkv').unlink()


@pytest.mark.parametrize(('fault', 'text'), [
    (nothing, 'empty folder; expected .*Syntalos.*Miniscope-DAQ.*PoMiDAQ.*rosbag2'),
    (strangers, 'no known recording; expected .*Syntalos.*Miniscope-DAQ.*PoMiDAQ'),
    (video_alone, 'timeStamps.csv is missing'),
    (stamps_alone, 'no video'),
    (no_time_column, 'no column "Time Stamp .ms.*; the columns are: Frame Number, Buffer Index'),
    (empty_stamps, 'timeStamps.csv is empty'),
    (header_alone, 'no frame has a time stamp'),
    (words_for_times, 'no frame has a time stamp'),
    (stamps_are_a_folder, 'timeStamps.csv cannot be read: .*directory'),
    (video_of_zeros, 'no frame can be decoded from 0.avi'),
    (pomidaq_without_video, 'mouse.mkv is missing'),
    (pomidaq_without_time_column, 'no column "timestamp"; the columns are: frame'),
    (broken_manifest, 'not a readable Syntalos recording'),
    (no_video_in_tree, 'no video in this Syntalos recording'),
    (two_videos_renamed, 'missing: scope_1.mkv'),
])
def test_what_cannot_be_played_is_refused_with_its_path(
    tmp_path: Path, fault: Callable[[Path], None], text: str,
) -> None:
    fault(tmp_path / 'run')
    with pytest.raises(DeviceError, match=text) as caught:
        open_recording(str(tmp_path / 'run'))
    assert str(tmp_path / 'run') in str(caught.value)


@pytest.mark.parametrize('path', ['', '/nowhere/at/all'])
def test_no_path_is_refused_with_what_was_expected(path: str) -> None:
    with pytest.raises(DeviceError, match=f'{path}.*expected .*Syntalos'):
        open_recording(path)


@pytest.mark.parametrize(('missing', 'file', 'way'), [
    ('edlio', 'manifest.toml', 'pip install edlio av'),
    ('av', 'manifest.toml', 'pip install edlio av'),
    ('rosbags', 'metadata.yaml', 'pip install rosbags'),
])
def test_missing_library_is_named_with_the_way_to_install_it(
    missing: str, file: str, way: str, tmp_path: Path,
) -> None:
    pytest.importorskip('edlio')
    (tmp_path / file).write_text('')
    program = (f'import sys; sys.modules[{missing!r}] = None; '
               'from miniscope_ros.recordings.formats import open_recording; '
               f'open_recording({str(tmp_path)!r})')
    result = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True,
                            timeout=60)
    assert f'package {missing}' in result.stderr
    assert way in result.stderr.splitlines()[-1]
