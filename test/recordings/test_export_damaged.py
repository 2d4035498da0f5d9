# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Of a damaged or incomplete bag all that can be exported is, and the rest is said."""
import csv
from pathlib import Path
import sqlite3
from typing import Any

import cv2
from hypothesis import given, settings
from hypothesis import strategies as st
from miniscope_ros.commands.export_bag import DONE, FAILED, main, PARTLY
from miniscope_ros.recordings.bag.contents import read_contents
from miniscope_ros.recordings.bag.images import images
from miniscope_ros.recordings.bag.reader import Bag
import numpy as np
import pytest
from recorded_bag import DEFINITIONS, EPOCH_NS, MCAP, our_types, Scope, SQLITE, write_bag
from rosbags.rosbag2 import CompressionMode

SIZE = (608, 608)


def cut(bag: Path, share: float) -> None:
    """Cut the bag's last file as a crash would, and take its metadata away."""
    (bag / 'metadata.yaml').unlink()
    file = sorted(bag.iterdir())[-1]
    with file.open('r+b') as stream:
        stream.truncate(int(share * file.stat().st_size))


def assert_prefix(folder: Path, scope: Scope, least: int) -> int:
    """Assert that the folder holds the first frames of a scope, at least so many."""
    count = 0
    for file in sorted(folder.glob('*.avi'), key=lambda path: int(path.stem)):
        video = cv2.VideoCapture(str(file))
        while True:
            read, frame = video.read()
            if not read:
                break
            assert np.array_equal(frame[:, :, 0], scope.image(count)), f'frame {count}'
            count += 1
    with (folder / 'timeStamps.csv').open() as stream:
        times = [int(row['Time Stamp (ms)']) for row in csv.DictReader(stream)]
    assert times == [round(scope.time_ms(number)) for number in range(count)]
    assert count >= least
    return count


@pytest.mark.parametrize('storage, compression', [
    (MCAP, CompressionMode.NONE), (MCAP, CompressionMode.STORAGE),
    (MCAP, CompressionMode.MESSAGE), (SQLITE, CompressionMode.NONE),
    (SQLITE, CompressionMode.MESSAGE)])
@pytest.mark.parametrize('share', [0.35, 0.8])
def test_a_bag_cut_off_by_a_crash(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                  storage: Any, compression: Any, share: float) -> None:
    scope = Scope(size=SIZE, frames=40)
    bag = write_bag(tmp_path / 'bag', scope, storage=storage, compression=compression)
    cut(bag, share)
    assert main([str(bag), str(tmp_path / 'out')]) == PARTLY
    errors = capsys.readouterr().err
    assert 'metadata.yaml is missing' in errors and 'was cut off' in errors
    # A chunk of 1 MB, of 3 frames here, may be lost with the index of an SQLite file.
    assert_prefix(tmp_path / 'out' / 'miniscope', scope, int(share * scope.frames) - 4)


def test_a_bag_whose_metadata_is_no_yaml(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scope = Scope(size=SIZE, frames=4)
    bag = write_bag(tmp_path / 'bag', scope)
    (bag / 'metadata.yaml').write_text('rosbag2_bagfile_information: !!int ""\n')
    assert main([str(bag), str(tmp_path / 'out')]) == PARTLY
    assert 'metadata.yaml is damaged' in capsys.readouterr().err
    assert_prefix(tmp_path / 'out' / 'miniscope', scope, scope.frames)


def test_only_the_last_file_of_a_split_bag_is_cut(tmp_path: Path) -> None:
    scope = Scope(size=SIZE, frames=60)
    bag = write_bag(tmp_path / 'bag', scope, files=12)
    assert len(list(bag.glob('*.mcap'))) == 12
    (bag / 'metadata.yaml').unlink()
    last = bag / 'bag_11.mcap'
    last.write_bytes(last.read_bytes()[:-1_000_000])
    assert main([str(bag), str(tmp_path / 'out')]) == PARTLY
    assert_prefix(tmp_path / 'out' / 'miniscope', scope, 55)


@pytest.mark.parametrize('storage', [MCAP, SQLITE])
def test_whole_files_without_metadata_lose_nothing(tmp_path: Path, storage: Any) -> None:
    scope = Scope()
    bag = write_bag(tmp_path / 'bag', scope, storage=storage, files=2)
    (bag / 'metadata.yaml').unlink()
    assert main([str(bag), str(tmp_path / 'out')]) == PARTLY
    assert assert_prefix(tmp_path / 'out' / 'miniscope', scope, 0) == scope.frames


def test_a_single_file_can_be_named(tmp_path: Path) -> None:
    scope = Scope()
    bag = write_bag(tmp_path / 'bag', scope)
    assert main([str(bag / 'bag_0.mcap'), str(tmp_path / 'out')]) == DONE
    assert assert_prefix(tmp_path / 'out' / 'miniscope', scope, 0) == scope.frames


SMALL = Scope(size=(96, 96))


class Content:
    """A bag's file; not shown by hypothesis, being long."""

    def __init__(self, whole: bytes, file: Path) -> None:
        self.whole = whole
        self.file = file

    def frames_of(self, content: bytes) -> tuple[list[Any], list[str]]:
        """Return the frames and the problems of a file with other content."""
        self.file.write_bytes(content)
        bag = Bag(self.file)
        acquisitions = read_contents(bag, lambda done: None)
        return [image.copy() for _, _, image in images(bag, acquisitions)], bag.problems


@pytest.fixture(scope='module', name='content', params=[MCAP, SQLITE], ids=['mcap', 'sqlite3'])
def fixture_content(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
                    ) -> Content:
    folder = tmp_path_factory.mktemp('whole')
    file, = write_bag(folder / 'bag', SMALL, storage=request.param).glob('bag_0.*')
    return Content(file.read_bytes(), folder / f'cut{file.suffix}')


@settings(deadline=None, max_examples=100)
@given(share=st.floats(0, 1))
def test_a_cut_anywhere_gives_the_frames_before_it(content: Content, share: float) -> None:
    frames, problems = content.frames_of(content.whole[:int(share * len(content.whole))])
    assert all(np.array_equal(image, SMALL.image(number))
               for number, image in enumerate(frames))
    # Beside the frames the file holds definitions and an index.
    assert len(frames) >= share * SMALL.frames - 8
    assert problems or len(frames) == SMALL.frames


@settings(deadline=None, max_examples=200)
@given(place=st.floats(0, 1), damage=st.binary(min_size=1, max_size=64))
def test_damage_anywhere_is_no_crash(content: Content, place: float, damage: bytes) -> None:
    start = int(place * (len(content.whole) - len(damage)))
    frames, _ = content.frames_of(
        content.whole[:start] + damage + content.whole[start + len(damage):])
    assert len(frames) <= SMALL.frames


@pytest.mark.parametrize('topic, said', [
    ('frame_info', 'frame_info is missing: times are the stamps of the images'),
    ('image_raw/metadata', 'image_raw/metadata is missing: device type and set rate'),
    ('controls', 'controls is missing: the values in force at the start are taken from'),
    ('orientation_rows', '60 of 60 orientation_rows are not in the bag')])
def test_a_missing_topic_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                 topic: str, said: str) -> None:
    scope = Scope()
    bag = write_bag(tmp_path / 'bag', scope, without=(topic,))
    assert main([str(bag), str(tmp_path / 'out')]) == PARTLY
    assert said in capsys.readouterr().err
    assert assert_prefix(tmp_path / 'out' / 'miniscope', scope, 0) == scope.frames


def test_images_alone_are_exported(tmp_path: Path) -> None:
    scope = Scope(lost={9: 2})
    bag = write_bag(tmp_path / 'bag', scope, without=(
        'frame_info', 'orientation_rows', 'controls', 'control_changes', 'image_raw/metadata'))
    assert main([str(bag), str(tmp_path / 'out')]) == PARTLY
    folder = tmp_path / 'out' / 'miniscope'
    assert assert_prefix(folder, scope, 0) == scope.frames
    assert not (folder / 'headOrientation.csv').exists()
    with (folder / 'timeStamps.csv').open() as stream:
        assert {row['DAQ Frame Number'] for row in csv.DictReader(stream)} == {'-1'}


@pytest.mark.parametrize('missing', [('image_raw',), ('image_raw', 'frame_info'), (
    'image_raw', 'frame_info', 'image_raw/metadata', 'controls', 'control_changes')])
def test_a_bag_without_images_is_refused(
        tmp_path: Path, missing: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(), without=missing)
    assert main([str(bag), str(tmp_path / 'out')]) == FAILED
    assert '/miniscope/image_raw holds no image' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


class Lossy(Scope):
    """A recorder that missed some messages."""

    def messages(self, types: Any) -> Any:
        counts: dict[str, int] = {}
        for topic, stamp, message in super().messages(types):
            number = counts[topic] = counts.get(topic, -1) + 1
            if (topic, number) not in {('image_raw', 10), ('image_raw', 11), ('frame_info', 20),
                                       ('image_raw', 30), ('frame_info', 30)}:
                yield topic, stamp, message


def test_frames_the_recorder_missed_shift_no_times(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scope = Lossy()
    bag = write_bag(tmp_path / 'bag', scope)
    assert main([str(bag), str(tmp_path / 'out')]) == PARTLY
    errors = capsys.readouterr().err
    assert '1 images have no frame_info' in errors and '2 frames have no image' in errors
    assert '2 published frames are not in the bag' in errors  # 20 and 30 of frame_info
    kept = [number for number in range(scope.frames) if number not in (10, 11, 30)]
    with (tmp_path / 'out' / 'miniscope' / 'timeStamps.csv').open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row['Time Stamp (ms)']) for row in rows] == [
        round(scope.time_ms(number)) for number in kept]
    assert [int(row['DAQ Frame Number']) for row in rows] == [
        -1 if number == 20 else scope.device_count(number) for number in kept]


def test_messages_of_an_older_version(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    older = '\n'.join(
        line for line in (DEFINITIONS / 'FrameInfo.msg').read_text().splitlines()
        if not any(name in line for name in ('damaged_before', 'sync_edge', 'capture_index')))
    scope = Scope(lost={5: 2})
    bag = write_bag(tmp_path / 'bag', scope, types=our_types({'FrameInfo': older}))
    assert main([str(bag), str(tmp_path / 'out')]) == PARTLY
    output = capsys.readouterr()
    assert ('/miniscope/frame_info is of an older version without capture_index, damaged_before'
            in output.err)
    assert 'lost          2 of 62' in output.out
    assert assert_prefix(tmp_path / 'out' / 'miniscope', scope, 0) == scope.frames


def forget_definitions(bag: Path) -> None:
    """Make it a bag of Humble, which stored no definitions."""
    file, = bag.glob('*.db3')
    with sqlite3.connect(file) as connection:
        connection.execute('DROP TABLE message_definitions')
        connection.execute('UPDATE schema SET schema_version = 3')


def test_a_bag_without_definitions_is_read_with_ours(tmp_path: Path) -> None:
    scope = Scope()
    bag = write_bag(tmp_path / 'bag', scope, storage=SQLITE)
    forget_definitions(bag)
    assert main([str(bag), str(tmp_path / 'out')]) == DONE
    assert assert_prefix(tmp_path / 'out' / 'miniscope', scope, 0) == scope.frames


def test_an_older_version_without_its_definition(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    older = (DEFINITIONS / 'FrameInfo.msg').read_text().replace('float64 device_time_ms', '#')
    scope = Scope()
    bag = write_bag(tmp_path / 'bag', scope, storage=SQLITE,
                    types=our_types({'FrameInfo': older}))
    forget_definitions(bag)
    assert main([str(bag), str(tmp_path / 'out')]) == PARTLY
    errors = capsys.readouterr().err
    assert 'written with another version of it' in errors and 'frame_info is missing' in errors
    assert assert_prefix(tmp_path / 'out' / 'miniscope', scope, 0) == scope.frames


@pytest.mark.parametrize('content', [b'', b'\0' * 4096, b'no bag'])
def test_no_bag(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / 'bag.mcap'
    file.write_bytes(content)
    for bag in (file, tmp_path, tmp_path / 'nowhere'):
        assert main([str(bag), str(tmp_path / 'out')]) == FAILED
        assert capsys.readouterr().err.count('Traceback') == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ['bag.mcap']


def test_the_start_of_the_times_is_the_first_scopes(tmp_path: Path) -> None:
    bag = Bag(write_bag(tmp_path / 'bag', Scope(first=100)))
    acquisition, = read_contents(bag, lambda done: None)
    assert abs(acquisition.start_ns - EPOCH_NS) < 1000
