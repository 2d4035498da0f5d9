# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Recordings of Miniscope-DAQ are read as they are."""
import math
from pathlib import Path

import cv2
from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.formats import open_recording
import numpy as np
import pytest
from recording_folders import scenes, START_MS, write_miniscope_daq

MS = 1_000_000  # [ns]


@pytest.mark.parametrize('codec', ['GREY', 'FFV1'])
def test_lossless_miniscope_daq_frames_are_exact(tmp_path: Path, codec: str) -> None:
    images = scenes(7)
    times = [0, 50, 101, 151, 303, 352, 403]
    counts = [5, 6, -1, 8, 11, 12, 13]
    rows = [[stamp, 0.8, 0, 0.6, n / 100] for n, stamp in enumerate(times) if n != 1]
    write_miniscope_daq(tmp_path / 'scope', images, times, codec, 3, counts, rows)
    recording = open_recording(str(tmp_path / 'scope'))
    for _ in range(2):
        frames = list(recording.frames())
        assert [frame.time_ns for frame in frames] == [stamp * MS for stamp in times]
        assert [frame.device_count for frame in frames] == [5, 6, None, 8, 11, 12, 13]
        for frame, image in zip(frames, images, strict=True):
            assert frame.image.tobytes() == image.tobytes()
        assert frames[1].orientation is None
        assert [frame.orientation for frame in frames if frame.orientation] == [
            tuple(row[1:]) for row in rows]
    assert recording.warnings == []
    assert recording.format_name == 'Miniscope-DAQ'
    assert recording.format == (64, 48, 'mono8')
    assert recording.device_type == 'Miniscope_V4_BNO'
    assert (recording.frame_rate, recording.interval_ns) == (20.0, 50_500_000)
    assert recording.start_epoch_ns == START_MS * MS
    assert recording.has_orientation
    assert recording.controls == {'led0': '12', 'ewl': '-3', 'gain': 'Low', 'frameRate': '20FPS'}


@pytest.mark.parametrize('codec', ['MJPG', 'XVID'])
def test_lossy_miniscope_daq_frames_are_what_opencv_decodes(tmp_path: Path, codec: str) -> None:
    images = scenes(4)
    folder = write_miniscope_daq(tmp_path / 'scope', images, [0, 50, 100, 150], codec)
    capture = cv2.VideoCapture(str(folder / '0.avi'))
    frames = list(open_recording(str(folder)).frames())
    assert len(frames) == 4
    for frame, image in zip(frames, images, strict=True):
        assert frame.image.tobytes() == capture.read()[1][..., 0].tobytes()
        assert np.abs(frame.image.astype(int) - image).mean() < 8
    capture.release()


def test_colour_stays_colour(tmp_path: Path) -> None:
    images = [cv2.applyColorMap(image, cv2.COLORMAP_JET) for image in scenes(3)]
    folder = write_miniscope_daq(tmp_path / 'camera', images, [0, 50, 100])
    recording = open_recording(str(folder))
    assert recording.format.encoding == 'bgr8'
    for frame, image in zip(recording.frames(), images, strict=True):
        assert frame.image.tobytes() == image.tobytes()


@pytest.mark.parametrize('dark', [{0}, {0, 1, 2}, set(range(39)), set(range(40)) - {17}])
@pytest.mark.parametrize('codec', ['FFV1', 'MJPG'])
def test_a_colour_recording_that_begins_black_is_played_in_colour(
        tmp_path: Path, dark: set[int], codec: str) -> None:
    images = [cv2.applyColorMap(image, cv2.COLORMAP_JET) for image in scenes(40)]
    for number in dark:
        images[number][:] = 0
    folder = write_miniscope_daq(
        tmp_path / 'camera', images, range(0, 2000, 50), codec, per_file=8)
    assert open_recording(str(folder)).format.encoding == 'bgr8'


def test_a_grey_recording_is_grey_whatever_it_begins_with(tmp_path: Path) -> None:
    images = scenes(6)
    images[0][:] = 0
    folder = write_miniscope_daq(tmp_path / 'scope', images, range(0, 300, 50), 'MJPG')
    assert open_recording(str(folder)).format.encoding == 'mono8'


def test_folder_above_stands_for_its_one_device(tmp_path: Path) -> None:
    write_miniscope_daq(tmp_path / 'a', scenes(2), [0, 50])
    assert open_recording(str(tmp_path)).path == str(tmp_path / 'a')
    write_miniscope_daq(tmp_path / 'b', scenes(2), [0, 50])
    with pytest.raises(DeviceError, match=f'several devices.*{tmp_path}/a, {tmp_path}/b'):
        open_recording(str(tmp_path))


def test_header_may_have_spaces_other_columns_and_another_order(tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(2), [0, 50])
    (folder / 'timeStamps.csv').write_text(
        '\ufefftime stamp (ms), DAQ frame number , Note\n 20, 7, x\n70, 8,\n',
        encoding='utf-8')
    frames = list(open_recording(str(folder)).frames())
    assert [(frame.time_ns, frame.device_count) for frame in frames] == [
        (20 * MS, 7), (70 * MS, 8)]


def test_files_are_played_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    images = scenes(24)
    folder = write_miniscope_daq(tmp_path / 'scope', images, range(24), per_file=2)
    (folder / 'metaData.json').write_text('{"framesPerFile": 1000}')  # the files know better
    recording = open_recording(str(folder))
    frames = list(recording.frames())
    assert [frame.time_ns // MS for frame in frames] == list(range(24))
    assert [frame.image.tobytes() for frame in frames] == [image.tobytes() for image in images]
    assert recording.warnings == []


def test_counter_without_a_number_is_unknown(tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(3), [0, 50, 100],
                                 counts=[5, math.inf, 7])
    recording = open_recording(str(folder))
    assert [frame.device_count for frame in recording.frames()] == [5, None, 7]
    assert '"inf" in column "DAQ Frame Number"' in recording.warnings[0]


def test_counter_width_is_told_by_its_values(tmp_path: Path) -> None:
    narrow = write_miniscope_daq(tmp_path / 'a' / 'a', scenes(3), [0, 50, 100],
                                 counts=[65534, 65535, -2])
    recording = open_recording(str(narrow))
    assert recording.device_count_bits == 16
    assert [frame.device_count for frame in recording.frames()] == [65534, 65535, 65534]
    wide = write_miniscope_daq(tmp_path / 'b' / 'b', scenes(2), [0, 50], counts=[65535, 65536])
    recording = open_recording(str(wide))
    assert recording.device_count_bits == 32
    assert [frame.device_count for frame in recording.frames()] == [65535, 65536]


def test_recording_without_metadata_is_played(tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(3), [0, 40, 80])
    (folder / 'metaData.json').unlink()
    (tmp_path / 'metaData.json').write_text('{"recordingStartTime":')
    recording = open_recording(str(folder))
    assert (recording.device_type, recording.start_epoch_ns) == ('', None)
    assert recording.frame_rate == 25.0
    assert len(recording.warnings) == 1 and 'metaData.json' in recording.warnings[0]
    assert len(list(recording.frames())) == 3
