# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Recordings are read as they are, and what is wrong with them is said."""
from collections.abc import Callable, Iterator
from itertools import chain
import math
from pathlib import Path
import subprocess
import sys
from typing import Any

import cv2
from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.formats import open_recording
import numpy as np
import pytest
from real_recording import blink1
from recording_folders import (
    scenes,
    START_MS,
    write_avi,
    write_miniscope_daq,
    write_mkv,
    write_pomidaq,
    write_pomidaq_rows,
    write_syntalos,
    write_tsync,
)

MS = 1_000_000
TURN = (0.8, 0.0, 0.6, 0.0)
ROWS_HEADER = 'Time [ms];qw;qx;qy;qz\n'


# The real recording

def test_real_recording_is_read_byte_for_byte_with_the_times_of_its_map() -> None:
    folder = blink1()
    av = pytest.importorskip('av')
    edlio = pytest.importorskip('edlio')
    dataset = edlio.load(str(folder)).group_by_name('videos').dataset_by_name('miniscope')
    times_ms = next(dataset.read_aux_data('tsync')).times[:, 1]
    recording = open_recording(str(folder))
    count = 0
    with av.open(str(folder / 'videos' / 'miniscope' / 'msslice_tiny2.mkv')) as container:
        for frame, decoded in zip(recording.frames(), container.decode(video=0), strict=True):
            assert frame.image.tobytes() == decoded.to_ndarray(format='gray').tobytes()
            assert frame.time_ns == times_ms[count] * MS
            assert frame.device_count is None and frame.orientation is None
            count += 1
    assert count == recording.frame_count == len(times_ms) == 1287


def test_real_recording_is_described() -> None:
    recording = open_recording(str(blink1()))
    assert (recording.width, recording.height, recording.encoding) == (608, 608, 'mono8')
    assert recording.format_name == 'Syntalos'
    assert recording.frame_rate == 20.0
    assert recording.interval_ns == 51 * MS
    assert not recording.has_orientation
    assert recording.controls == {'ewl': '0', 'frameRate': '20', 'gain': '2', 'led0': '0'}
    # 2021-02-08 17:17:31 UTC, when the first frame was written; 65 s before the folder's own time
    assert recording.start_epoch_ns == 1612804651 * 1000 * MS - 40 * MS
    assert len(recording.warnings) == 1 and 'msslice.mkv' in recording.warnings[0]


@pytest.mark.parametrize('below', ['videos', 'videos/miniscope'])
def test_real_recording_is_found_from_any_of_its_folders(below: str) -> None:
    recording = open_recording(str(blink1() / below))
    assert recording.frame_count == 1287 and recording.controls['frameRate'] == '20'


def test_real_colour_camera_beside_it_is_read_in_colour() -> None:
    recording = open_recording(str(blink1() / 'videos' / 'tis-camera'))
    assert recording.encoding == 'bgr8'
    assert next(recording.frames()).image.shape == (112, 128, 3)


# Miniscope-DAQ

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
    assert (recording.format_name, recording.encoding) == ('Miniscope-DAQ', 'mono8')
    assert (recording.width, recording.height) == (64, 48)
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
    assert recording.encoding == 'bgr8'
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
    assert open_recording(str(folder)).encoding == 'bgr8'


def test_a_grey_recording_is_grey_whatever_it_begins_with(tmp_path: Path) -> None:
    images = scenes(6)
    images[0][:] = 0
    folder = write_miniscope_daq(tmp_path / 'scope', images, range(0, 300, 50), 'MJPG')
    assert open_recording(str(folder)).encoding == 'mono8'


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


# PoMiDAQ

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


# Syntalos

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


# Bags of this driver

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
        assert (recording.format_name, recording.encoding) == ('rosbag2', 'mono8')
        assert (recording.width, recording.height) == scope.size
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
        assert recording.encoding == scope.encoding
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


# Faults: an error

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


# Faults: what is there is played, the rest is said

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


def test_syntalos_video_under_another_name_is_played(tmp_path: Path) -> None:
    root = write_syntalos(tmp_path / 'run', [scenes(3)], [[0, 50_000, 100_000]])
    (root / 'videos' / 'miniscope' / 'scope_0.mkv').rename(
        root / 'videos' / 'miniscope' / 'small.mkv')
    times, warnings = played(root)
    assert times == [0, 50, 100]
    assert 'scope_0.mkv is missing; small.mkv' in warnings[0]


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
