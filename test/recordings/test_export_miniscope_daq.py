# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Bags become Miniscope-DAQ folders, every frame equal, and other programs read them."""
from collections.abc import Callable, Iterator
import csv
from functools import cached_property
import json
from pathlib import Path
from typing import Any

import cv2
from miniscope_ros.commands.export_bag import DONE, FAILED, main, PARTLY
import numpy as np
import pytest
from real_recording import blink1
from recorded_bag import EPOCH_NS, MCAP, Scope, SQLITE, write_bag
from rosbags.rosbag2 import CompressionMode
from rosbags.typesys.store import Typestore

V4 = (608, 608)


def rows(file: Path) -> list[list[float]]:
    return [[float(cell) for cell in row] for row in list(csv.reader(file.open()))[1:]]


def videos(folder: Path) -> list[Path]:
    return sorted(folder.glob('*.avi'), key=lambda file: int(file.stem))


def frames_read_by_opencv(folder: Path) -> list[np.ndarray[Any, Any]]:
    frames = []
    for file in videos(folder):
        video = cv2.VideoCapture(str(file))
        while True:
            read, frame = video.read()
            if not read:
                break
            frames.append(frame)
        video.release()
    return frames


def assert_equal_frames(folder: Path, scope: Scope) -> None:
    frames = frames_read_by_opencv(folder)
    assert len(frames) == scope.frames
    for number, frame in enumerate(frames):
        if scope.encoding == 'mono8':
            assert (frame[:, :, 0] == frame[:, :, 2]).all()
            frame = frame[:, :, 0]
        assert np.array_equal(frame, scope.image(number)), f'frame {number}'


@pytest.mark.parametrize('storage, compression, files', [
    (MCAP, CompressionMode.NONE, 1), (MCAP, CompressionMode.STORAGE, 1),
    (MCAP, CompressionMode.MESSAGE, 2), (MCAP, CompressionMode.FILE, 3),
    (SQLITE, CompressionMode.NONE, 1), (SQLITE, CompressionMode.NONE, 12),
    (SQLITE, CompressionMode.MESSAGE, 1), (SQLITE, CompressionMode.FILE, 2)])
def test_every_frame_time_and_row_arrives(
        tmp_path: Path, storage: Any, compression: Any, files: int) -> None:
    scope = Scope(lost={7: 1, 20: 3}, frames=50)
    bag = write_bag(tmp_path / 'bag', scope, storage=storage, compression=compression,
                    files=files)
    assert main([str(bag), str(tmp_path / 'out')]) == DONE
    folder = tmp_path / 'out' / 'miniscope'
    assert_equal_frames(folder, scope)
    numbers = range(scope.frames)
    assert rows(folder / 'timeStamps.csv') == [
        [number, round(scope.time_ms(number)), 0, scope.device_count(number)]
        for number in numbers]
    assert rows(folder / 'headOrientation.csv') == [
        [round(scope.time_ms(number)), *scope.quaternion(number)] for number in numbers]


@pytest.mark.parametrize('codec', ['ffv1', 'grey'])
def test_v4_frames_are_equal_across_files(tmp_path: Path, codec: str) -> None:
    scope = Scope(size=V4, frames=45)
    bag = write_bag(tmp_path / 'bag', scope)
    assert main([str(bag), str(tmp_path / 'out'), '--codec', codec,
                 '--frames-per-file', '20']) == DONE
    folder = tmp_path / 'out' / 'miniscope'
    assert [file.name for file in videos(folder)] == ['0.avi', '1.avi', '2.avi']
    assert_equal_frames(folder, scope)


def test_a_file_holds_1000_frames(tmp_path: Path) -> None:
    scope = Scope(size=(16, 16), frames=2001)
    assert main([str(write_bag(tmp_path / 'bag', scope)), str(tmp_path / 'out')]) == DONE
    folder = tmp_path / 'out' / 'miniscope'
    assert [int(cv2.VideoCapture(str(file)).get(cv2.CAP_PROP_FRAME_COUNT))
            for file in videos(folder)] == [1000, 1000, 1]
    assert_equal_frames(folder, scope)


def test_mjpg_is_small_and_similar(tmp_path: Path) -> None:
    scope = Scope(size=V4, frames=5)
    bag = write_bag(tmp_path / 'bag', scope)
    assert main([str(bag), str(tmp_path / 'out'), '--codec', 'mjpg']) == DONE
    folder = tmp_path / 'out' / 'miniscope'
    assert json.loads((folder / 'metaData.json').read_text())['compression'] == 'MJPG'
    for number, frame in enumerate(frames_read_by_opencv(folder)):
        assert np.corrcoef(frame[:, :, 0].ravel(), scope.image(number).ravel())[0, 1] > 0.9


@pytest.mark.parametrize('encoding', ['mono8', 'bgr8'])
def test_padded_rows_and_colour(tmp_path: Path, encoding: str) -> None:
    scope = Scope(encoding=encoding, padding=5, size=(70, 40))
    assert main([str(write_bag(tmp_path / 'bag', scope)), str(tmp_path / 'out')]) == DONE
    assert_equal_frames(tmp_path / 'out' / 'miniscope', scope)


def test_colour_does_not_fit_into_grey(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(encoding='bgr8'), Scope(node='/grey'))
    assert main([str(bag), str(tmp_path / 'out'), '--codec', 'grey']) == PARTLY
    assert 'miniscope: not exported: GREY holds no colour; use --codec ffv1' in (
        capsys.readouterr().err)
    assert not (tmp_path / 'out' / 'miniscope').exists()
    assert_equal_frames(tmp_path / 'out' / 'grey', Scope(node='/grey'))


def test_metadata(tmp_path: Path) -> None:
    scope = Scope(size=V4, frames=12, led_change=(5, 40.0))
    bag = write_bag(tmp_path / 'bag', scope)
    assert main([str(bag), str(tmp_path / 'out'), '--animal', 'mouse 12']) == DONE
    assert json.loads((tmp_path / 'out' / 'miniscope' / 'metaData.json').read_text()) == {
        'deviceName': 'miniscope', 'deviceType': 'Miniscope_V4_BNO', 'deviceID': 0,
        'framesPerFile': 1000, 'compression': 'FFV1',
        'ROI': {'leftEdge': 0, 'topEdge': 0, 'width': 608, 'height': 608},
        'frameRate': '20FPS', 'gain': 'Medium', 'led0': 12, 'ewl': -5}
    session = json.loads((tmp_path / 'out' / 'metaData.json').read_text())
    assert session['animalName'] == 'mouse 12' and session['miniscopes'] == ['miniscope']
    assert session['recordingStartTime']['msecSinceEpoch'] == EPOCH_NS // 10**6
    assert session['recordingStartTime']['msec'] == EPOCH_NS // 10**6 % 1000


def test_scopes_get_folders_and_one_time(tmp_path: Path) -> None:
    first = Scope(node='/rat1/miniscope', seed=1)
    later = Scope(node='/rat2/miniscope', seed=2, size=(64, 20), start_ns=EPOCH_NS + 700_000_000)
    bag = write_bag(tmp_path / 'bag', later, first)
    assert main([str(bag), str(tmp_path / 'out')]) == DONE
    for scope, name, delay in ((first, 'rat1_miniscope', 0), (later, 'rat2_miniscope', 700)):
        folder = tmp_path / 'out' / name
        assert_equal_frames(folder, scope)
        assert [row[1] for row in rows(folder / 'timeStamps.csv')] == [
            round(scope.time_ms(number) + delay) for number in range(scope.frames)]


def test_each_acquisition_gets_a_folder(tmp_path: Path) -> None:
    runs = [Scope(seed=run, frames=20 + run, start_ns=EPOCH_NS + run * 60_000_000_000)
            for run in range(3)]
    bag = write_bag(tmp_path / 'bag', *runs, storage=SQLITE)
    assert main([str(bag), str(tmp_path / 'out')]) == DONE
    # Of several acquisitions each is a session of its own, with times from 0.
    folders = sorted(path.parent for path in (tmp_path / 'out').rglob('timeStamps.csv'))
    for folder, scope in zip(folders, runs, strict=True):
        assert_equal_frames(folder, scope)
        assert rows(folder / 'timeStamps.csv')[0][1] == 0
        assert len(rows(folder / 'headOrientation.csv')) == scope.frames


def test_recording_begun_in_mid_stream_keeps_the_scopes_time(tmp_path: Path) -> None:
    scope = Scope(first=500)
    assert main([str(write_bag(tmp_path / 'bag', scope)), str(tmp_path / 'out')]) == DONE
    folder = tmp_path / 'out' / 'miniscope'
    assert_equal_frames(folder, scope)
    assert rows(folder / 'timeStamps.csv')[0] == [0, round(scope.time_ms(0)), 0, 66_000]
    session = json.loads((tmp_path / 'out' / 'metaData.json').read_text())
    assert session['recordingStartTime']['msecSinceEpoch'] == EPOCH_NS // 10**6


class Camera(Scope):
    """A camera that is no scope."""

    def messages(self, types: Typestore) -> Iterator[tuple[str, int, Any]]:
        return (entry for entry in super().messages(types) if entry[0] == 'image_raw')


def test_images_of_other_cameras_are_left_out(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(), Camera(node='/behaviour'))
    assert main([str(bag), str(tmp_path / 'out')]) == DONE
    assert [path.name for path in (tmp_path / 'out').iterdir() if path.is_dir()] == ['miniscope']


class Real(Scope):
    """The frames of a real recording."""

    @cached_property
    def pictures(self) -> list[np.ndarray[Any, Any]]:
        av = pytest.importorskip('av')
        video, = (blink1() / 'videos' / 'miniscope').glob('*.mkv')
        with av.open(str(video)) as container:
            return [frame.to_ndarray(format='gray') for frame in container.decode(video=0)]

    def image(self, number: int) -> np.ndarray[Any, Any]:
        return self.pictures[number]


def test_a_real_recording_keeps_all_its_frames(tmp_path: Path) -> None:
    scope = Real(size=V4, frames=1287)
    assert len(scope.pictures) == scope.frames
    assert main([str(write_bag(tmp_path / 'bag', scope)), str(tmp_path / 'out')]) == DONE
    assert len(videos(tmp_path / 'out' / 'miniscope')) == 2
    assert_equal_frames(tmp_path / 'out' / 'miniscope', scope)


@pytest.fixture(name='exported')
def fixture_exported(tmp_path: Path) -> Callable[[Scope], Path]:
    def export(scope: Scope) -> Path:
        out = tmp_path / 'animal' / '12_00_00'
        assert main([str(write_bag(tmp_path / 'bag', scope)), str(out),
                     '--frames-per-file', '30']) == DONE
        return out
    return export


def test_ndx_miniscope_reads_it(exported: Callable[[Scope], Path]) -> None:
    readers = pytest.importorskip('ndx_miniscope.utils')
    pynwb = pytest.importorskip('pynwb')
    scope = Scope(node='/Miniscope')
    out = exported(scope)
    times = readers.get_timestamps(folder_path=str(out.parent))
    assert times.tolist() == [round(scope.time_ms(number)) / 1000
                              for number in range(scope.frames)]
    assert readers.get_starting_frames(str(out.parent), '*/Miniscope/*.avi') == [0, 30]
    start, = readers.get_recording_start_times(str(out.parent))
    assert start.replace(microsecond=0).timestamp() == EPOCH_NS // 10**9
    config = readers.read_miniscope_config(str(out / 'Miniscope'))
    del config['ewl']  # its device type has no field for the lens
    file = pynwb.NWBFile('test', 'test', start.astimezone())
    readers.add_miniscope_device(file, config)
    device = file.devices['Miniscope']
    assert device.frameRate == '20FPS' and device.gain == 'Medium' and device.led0 == 12


def test_neuroconv_reads_it(exported: Callable[[Scope], Path]) -> None:
    pytest.importorskip('roiextractors')
    interfaces = pytest.importorskip('neuroconv.datainterfaces')
    scope = Scope(size=V4)
    out = exported(scope)
    imaging = interfaces.MiniscopeImagingInterface(folder_path=str(out / 'miniscope'))
    extractor = imaging.imaging_extractor
    assert extractor.get_num_samples() == scope.frames
    assert extractor.get_sampling_frequency() == pytest.approx(1000 / scope.period_ms, rel=0.01)
    series = extractor.get_series()
    assert all(np.array_equal(series[number], scope.image(number))
               for number in range(scope.frames))
    assert imaging.get_original_timestamps().tolist() == [
        round(scope.time_ms(number)) / 1000 for number in range(scope.frames)]
    start = imaging.get_metadata()['NWBFile']['session_start_time']
    assert start.timestamp() == EPOCH_NS // 10**6 / 1000
    head = interfaces.MiniscopeHeadOrientationInterface(
        file_path=str(out / 'miniscope' / 'headOrientation.csv'))
    assert head._quaternion_data.tolist() == [
        list(scope.quaternion(number)) for number in range(scope.frames)]


@pytest.mark.parametrize('codec', ['ffv1', 'grey', 'mjpg'])
@pytest.mark.parametrize('size', [(63, 47), (64, 47), (63, 48)])
def test_odd_sizes_are_refused_not_cropped(
        tmp_path: Path, codec: str, size: tuple[int, int],
        capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(size=size, frames=3))
    assert main([str(bag), str(tmp_path / 'out'), '--codec', codec]) == FAILED
    errors = capsys.readouterr().err
    assert f'{size[0]}x{size[1]} have an odd size' in errors and '--format nwb' in errors
    assert not (tmp_path / 'out').exists()


def test_odd_sizes_are_exported_whole_to_nwb(tmp_path: Path) -> None:
    pynwb = pytest.importorskip('pynwb')
    pytest.importorskip('ndx_miniscope')
    scope = Scope(size=(63, 47), frames=3)
    bag = write_bag(tmp_path / 'bag', scope)
    assert main([str(bag), str(tmp_path / 'out'), '--format', 'nwb']) == DONE
    with pynwb.NWBHDF5IO(tmp_path / 'out' / 'miniscope.nwb', 'r') as file:
        data = file.read().acquisition['OnePhotonSeries'].data
        assert all((scope.image(n) == data[n].T).all() for n in range(3))
