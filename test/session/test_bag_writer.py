# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The bags that the built-in recorder writes, read by three other programs."""
from collections.abc import Iterator
import os
from pathlib import Path
import shutil
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.bag.mcap import read_mcap
from miniscope_ros.recordings.bag.message import FileCheck, Incomplete, Message, WHOLE
from miniscope_ros.session.bag_writer import Arrival, BagWriter, Channel
from miniscope_ros.session.definitions import definition, message_class
import pytest
from rosbags.highlevel import AnyReader
import yaml

HASH = 'RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18'
"""Of std_msgs/msg/String; rosbags computes it anew and refuses any other."""
SECOND = 1_000_000_000
QOS = {
    'history': 'keep_last', 'depth': 10, 'reliability': 'reliable', 'durability': 'volatile',
    'deadline': {'sec': 0, 'nsec': 0}, 'lifespan': {'sec': 0, 'nsec': 0},
    'liveliness': 'automatic', 'liveliness_lease_duration': {'sec': 0, 'nsec': 0},
    'avoid_ros_namespace_conventions': False}


def text(content: str) -> bytes:
    """Return a serialized std_msgs/String."""
    data = content.encode() + b'\0'
    return b'\0\1\0\0' + len(data).to_bytes(4, 'little') + data


def channel(topic: str, repeated: int = 0) -> Channel:
    kind = 'std_msgs/msg/String'
    return Channel(topic, kind, *definition(kind), HASH, [QOS], repeated)


def filled(folder: Path, count: int, size: int = 1000, **options: int) -> BagWriter:
    """Return a bag of so many messages, a tenth of a second apart, and a latched one."""
    bag = BagWriter(folder, **options)
    bag.add(channel('/kept', 1))
    bag.add(channel('/stream'))
    bag.write(Arrival('/kept', text('k'), SECOND, SECOND, 1))
    for number in range(count):
        time = SECOND + number * SECOND // 10
        bag.write(Arrival('/stream', text(f'{number} '.ljust(size)), time, time, number + 1))
    return bag


def numbers(bag: Path) -> list[int]:
    """Return what rosbags reads of the stream."""
    with AnyReader([bag]) as reader:
        return [int(reader.deserialize(data, connection.msgtype).data)
                for connection, _, data in reader.messages() if connection.topic == '/stream']


def read_cut(file: Path) -> tuple[list[Message], str]:
    """Return what our reader finds in a file, and what it says of its end."""
    messages = []
    try:
        with file.open('rb') as stream:
            for message in read_mcap(
                    stream, file.stat().st_size, lambda topic: WHOLE, FileCheck()):
                messages.append(message)
    except Incomplete as error:
        return messages, str(error)
    return messages, ''


def test_a_bag_has_the_layout_of_rosbag2(tmp_path: Path) -> None:
    bag = filled(tmp_path / 'bag', 30)
    bag.close()
    content = yaml.safe_load((tmp_path / 'bag' / 'metadata.yaml').read_text())[
        'rosbag2_bagfile_information']
    assert content['version'] == 9 and content['storage_identifier'] == 'mcap'
    assert content['relative_file_paths'] == ['bag_0.mcap']
    assert content['message_count'] == 31
    assert content['duration']['nanoseconds'] == 29 * SECOND // 10
    topics = {entry['topic_metadata']['name']: entry
              for entry in content['topics_with_message_count']}
    assert topics['/stream']['message_count'] == 30
    assert topics['/stream']['topic_metadata']['offered_qos_profiles'] == [QOS]
    assert numbers(tmp_path / 'bag') == list(range(30))
    with (tmp_path / 'bag' / 'bag_0.mcap').open('rb') as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None and summary.statistics.message_count == 31
        assert reader.get_header().profile == 'ros2'
        metadata = {record.name: record.metadata for record in reader.iter_metadata()}
        schema, = summary.schemas.values()
        assert (schema.name, schema.encoding) == ('std_msgs/msg/String', 'ros2msg')
    assert 'bag_0.mcap' in metadata['rosbag2']['serialized_metadata']


@pytest.mark.parametrize('options', [
    {'split_bytes': 20_000}, {'split_ns': SECOND}], ids=['bytes', 'time'])
def test_every_split_has_the_latched_message_and_no_message_is_lost(
        options: dict[str, int], tmp_path: Path) -> None:
    # Chunks reach the file at 1 MB, so that splits by bytes need more than that.
    bag = filled(tmp_path / 'bag', 120, 100_000, **options)
    bag.close()
    names = [info.path for info in bag.files]
    assert len(names) > 10
    assert names == [f'bag_{number}.mcap' for number in range(len(names))]
    assert numbers(tmp_path / 'bag') == list(range(120))
    for name in names:
        messages, end = read_cut(tmp_path / 'bag' / name)
        assert end == ''
        assert messages[0].topic.name == '/kept'
        assert sum(message.topic.name == '/kept' for message in messages) == 1
    assert bag.repeated['/kept'] == len(names) - 1


@pytest.fixture(scope='module')
def flushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[bytes, list[int]]]:
    """Yield a file that was flushed after each tenth message, and how long it was then."""
    folder = tmp_path_factory.mktemp('flushed') / 'bag'
    bag = BagWriter(folder)
    bag.add(channel('/stream'))
    ends = []
    for number in range(100):
        bag.write(Arrival('/stream', text(str(number)), number, number, number + 1))
        if number % 10 == 9:
            bag.flush()
            ends.append((folder / 'bag_0.mcap').stat().st_size)
    bag.close()
    yield (folder / 'bag_0.mcap').read_bytes(), ends


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_wherever_a_file_is_cut_off_all_that_was_flushed_can_be_read(
        flushed: tuple[bytes, list[int]], tmp_path_factory: pytest.TempPathFactory,
        data: st.DataObject) -> None:
    content, ends = flushed
    place = data.draw(st.integers(ends[0], len(content) - 1))
    file = tmp_path_factory.mktemp('cut') / 'bag_0.mcap'
    file.write_bytes(content[:place])
    messages, end = read_cut(file)
    assert len(messages) >= 10 * sum(at <= place for at in ends)
    assert [int(message.data[8:-1]) for message in messages] == list(range(len(messages)))
    # What the index at the end is cut off of lost nothing.
    assert end or len(messages) == 100


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / 'bag').mkdir()
    with pytest.raises(FileExistsError):
        BagWriter(tmp_path / 'bag')
    assert not list((tmp_path / 'bag').iterdir())


def test_a_deleted_file_is_told(tmp_path: Path) -> None:
    bag = filled(tmp_path / 'bag', 3)
    bag.check()
    (tmp_path / 'bag' / 'bag_0.mcap').unlink()
    with pytest.raises(FileNotFoundError, match='deleted while it was being recorded'):
        bag.check()
    bag.rescue()


@pytest.mark.skipif(os.getuid() != 0, reason='only root can become somebody else')
def test_a_folder_that_becomes_read_only_is_told() -> None:
    nobody = 65534
    folder = Path(tempfile.mkdtemp())  # others may pass through where it is, unlike tmp_path
    try:
        os.chown(folder, nobody, nobody)
        child = os.fork()
        if child == 0:
            status = 2
            try:
                os.setuid(nobody)
                bag = filled(folder / 'bag', 3)
                bag.check()
                (folder / 'bag').chmod(0o555)
                bag.check()
            except PermissionError as error:
                status = 0 if 'has become read-only' in str(error) else 3
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        shutil.rmtree(folder)


def test_definitions_hold_all_that_they_refer_to() -> None:
    kind = 'sensor_msgs/msg/CameraInfo'
    encoding, content = definition(kind)
    assert encoding == 'ros2msg'
    for part in 'sensor_msgs/RegionOfInterest', 'std_msgs/Header', 'builtin_interfaces/Time':
        assert content.count(f'MSG: {part}\n') == 1
    assert message_class(kind).__name__ == 'CameraInfo'
    with pytest.raises(ConfigurationError, match='no_such_msgs'):
        message_class('no_such_msgs/msg/Thing')
    with pytest.raises(ConfigurationError, match='NoSuch'):
        message_class('std_msgs/msg/NoSuch')
