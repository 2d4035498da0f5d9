# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What export and --check find, and what one damaged message, chunk or page costs."""
from collections.abc import Callable, Iterator
import csv
import math
from pathlib import Path
import random
import sqlite3
import struct
from typing import Any
import zlib

import apsw
from miniscope_ros.commands.export_bag import DONE, FAILED, main, NOT_GOOD, PARTLY
from miniscope_ros.recordings.formats import open_recording
import numpy as np
import pytest
from recorded_bag import DEFINITIONS, EPOCH_NS, MCAP, our_types, Scope, SQLITE, write_bag
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from test_export_damaged import assert_prefix, forget_definitions

CHUNK = 0x06
Exported = tuple[int, str, str]


@pytest.fixture(name='run')
def fixture_run(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                monkeypatch: pytest.MonkeyPatch) -> Callable[..., Exported]:
    """Return what runs the program and gives its status, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Exported:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


def chunks(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the place of each chunk's checksum, and the begin and the end of its records."""
    place = 8
    while place + 9 <= len(data):
        kind, length = struct.unpack_from('<BQ', data, place)
        body = place + 9
        if kind == CHUNK:
            name, = struct.unpack_from('<I', data, body + 28)
            yield body + 24, body + 32 + name + 8, body + length
        place = body + length


def with_checksums(bag: Path) -> tuple[Path, bytearray]:
    """Give each chunk of an uncompressed bag its checksum, as rosbag2 does."""
    file, = bag.glob('*.mcap')
    data = bytearray(file.read_bytes())
    for checksum, begin, end in chunks(bytes(data)):
        struct.pack_into('<I', data, checksum, zlib.crc32(data[begin:end]))
    file.write_bytes(data)
    return file, data


# Checksums

def test_pixels_that_changed_on_the_disk_are_found(
        tmp_path: Path, run: Callable[..., Exported]) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(size=(608, 608), frames=20))
    file, data = with_checksums(bag)
    assert run('--check', bag)[0] == DONE
    places = list(chunks(bytes(data)))
    assert len(places) > 3
    _, begin, end = places[2]
    data[(begin + end) // 2] ^= 0x10
    file.write_bytes(data)
    for arguments in (['--check', bag], [bag, tmp_path / 'out']):
        status, _, errors = run(*arguments)
        assert status == PARTLY
        assert '1 chunks whose bytes are not those that were written' in errors
        assert 'images may be wrong, from number 6 to 8' in errors
    # They are exported: most of them is whole.
    with (tmp_path / 'out' / 'miniscope' / 'timeStamps.csv').open() as stream:
        assert len(list(csv.DictReader(stream))) == 20


def test_a_chunk_that_contradicts_itself_costs_itself(
        tmp_path: Path, run: Callable[..., Exported]) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(size=(608, 608), frames=20))
    file, = bag.glob('*.mcap')
    data = bytearray(file.read_bytes())
    _, begin, _ = list(chunks(bytes(data)))[2]
    struct.pack_into('<Q', data, begin + 1, 1 << 40)  # the length of its first record
    file.write_bytes(data)
    status, output, errors = run(bag, tmp_path / 'out')
    assert status == PARTLY and '1 damaged chunks' in errors
    assert 'frames        1' in output and 'published frames are not in the bag' in errors


def test_damage_between_chunks_costs_the_next_one(
        tmp_path: Path, run: Callable[..., Exported]) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(size=(608, 608), frames=20))
    file, = bag.glob('*.mcap')
    data = bytearray(file.read_bytes())
    _, _, end = list(chunks(bytes(data)))[2]
    data[end:end + 9] = b'\xff' * 9
    file.write_bytes(data)
    status, output, errors = run('--check', bag)
    assert status == PARTLY and 'damaged chunks' in errors
    assert int(output.split('frames        ')[1].split(',')[0].split('\n')[0]) > 12


@pytest.mark.parametrize('compression', [CompressionMode.STORAGE, CompressionMode.NONE])
def test_a_chunk_that_would_fill_the_memory_costs_itself(
        tmp_path: Path, run: Callable[..., Exported], compression: CompressionMode) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(size=(608, 608), frames=20), compression=compression)
    file, = bag.glob('*.mcap')
    data = bytearray(file.read_bytes())
    checksum, _, _ = list(chunks(bytes(data)))[2]
    struct.pack_into('<Q', data, checksum - 8, 1 << 50)  # its size when unpacked
    file.write_bytes(data)
    status, output, _ = run('--check', bag)
    whole = compression is CompressionMode.NONE  # there the size says nothing
    assert status == (DONE if whole else PARTLY)
    assert ('frames        20\n' in output) == whole


@pytest.mark.parametrize('page', [0.3, 0.5, 0.7])
def test_a_zeroed_page_costs_the_messages_in_it(
        tmp_path: Path, run: Callable[..., Exported], page: float) -> None:
    scope = Scope(size=(608, 608), frames=20)
    bag = write_bag(tmp_path / 'bag', scope, storage=SQLITE)
    file, = bag.glob('*.db3')
    assert run('--check', bag)[0] == DONE
    pages = file.stat().st_size // 4096
    with file.open('r+b') as stream:
        stream.seek(int(page * pages) * 4096)
        stream.write(bytes(4096))
    for arguments in (['--check', bag], [bag, tmp_path / 'out']):
        status, _, errors = run(*arguments)
        assert status == PARTLY
        assert 'is damaged' in errors
    with (tmp_path / 'out' / 'miniscope' / 'timeStamps.csv').open() as stream:
        assert 17 <= len(list(csv.DictReader(stream))) < 20


def test_a_log_of_a_killed_recorder_is_read_without_writing(
        tmp_path: Path, run: Callable[..., Exported]) -> None:
    scope = Scope(frames=30)
    bag = write_bag(tmp_path / 'bag', scope, storage=SQLITE)
    file, = bag.glob('*.db3')
    connection = sqlite3.connect(file)
    connection.execute('PRAGMA journal_mode=WAL')
    connection.execute('PRAGMA wal_autocheckpoint=0')
    rows = connection.execute('SELECT * FROM messages ORDER BY id').fetchall()[60:]
    connection.execute('DELETE FROM messages WHERE id >= ?', (rows[0][0],))
    connection.commit()
    connection.execute('PRAGMA wal_checkpoint(TRUNCATE)')
    connection.executemany('INSERT INTO messages VALUES (?, ?, ?, ?)', rows)
    connection.commit()
    copy = tmp_path / 'copy'
    copy.mkdir()
    for part in bag.glob('*.db3*'):
        if not part.name.endswith('-shm'):
            (copy / part.name).write_bytes(part.read_bytes())
    connection.close()
    before = sorted(path.name for path in copy.iterdir())
    assert any(name.endswith('-wal') for name in before)
    status, output, errors = run('--check', copy)
    assert status == PARTLY and 'frames        30\n' in output and 'damaged' not in errors
    assert sorted(path.name for path in copy.iterdir()) == before


# Single messages and definitions

SMALL_IMAGE = {'width': 10, 'height': 9, 'step': 10, 'data': np.zeros(90, np.uint8)}


class Damaged(Scope):
    """A scope one of whose messages is not as it should be."""

    topic = 'frame_info'
    number = 7
    values: dict[str, Any] = {}

    def messages(self, types: Any) -> Any:
        count = -1
        for topic, stamp, message in super().messages(types):
            count += topic == self.topic
            if topic == self.topic and count == self.number:
                for name, value in self.values.items():
                    setattr(message, name, value)
            yield topic, stamp, message


@pytest.mark.parametrize('topic, number, values, said', [
    ('frame_info', 7, {'time_ms': math.nan}, '1 messages have no valid time_ms'),
    ('frame_info', 0, {'time_ms': math.inf}, '1 messages have no valid time_ms'),
    ('frame_info', 7, {'time_ms': -1e300}, '1 messages have no valid time_ms'),
    ('orientation_rows', 7, {'qw': math.nan}, '1 messages have values that cannot be'),
    ('control_changes', 0, {'value': math.nan}, '1 messages have values that cannot be'),
    ('controls', 1, {'values': np.array([math.inf] * 4)}, '1 messages have values that cannot'),
    ('frame_info', 7, {'frame_index': 2**63}, '1 messages have values that contradict'),
    ('frame_info', 7, {'frame_index': 3}, '1 messages have values that contradict'),
    ('frame_info', 7, {'capture_index': 2**64 - 1}, '1 messages have values that contradict'),
    ('frame_info', 7, {'lost_before': 2**32 - 1}, '1 messages have values that contradict'),
    ('frame_info', 7, {'time_ms': 5.0}, '1 messages have values that contradict'),
    ('controls', 0, {'values': np.array([1.0])}, '1 messages have values that cannot'),
    ('image_raw', 0, SMALL_IMAGE, 'an image of 10x9 stands among such of 48x32'),
    ('image_raw', 7, SMALL_IMAGE, 'an image of 10x9 stands among such of 48x32'),
    ('image_raw', 7, {'height': 4_000_000_000}, 'cannot be used'),
    ('image_raw', 7, {'step': 0}, 'cannot be used'),
    ('image_raw', 7, {'encoding': 'bayer_rggb8'}, 'cannot be used'),
    ('image_raw', 7, {'data': np.zeros(3, np.uint8)}, 'cannot be used')])
@pytest.mark.parametrize('storage', [MCAP, SQLITE])
def test_a_message_that_cannot_be_costs_itself(
        tmp_path: Path, run: Callable[..., Exported], storage: StoragePlugin, topic: str,
        number: int, values: dict[str, Any], said: str) -> None:
    scope = Damaged(frames=20)
    scope.topic, scope.number, scope.values = topic, number, values
    status, _, errors = run(
        write_bag(tmp_path / 'bag', scope, storage=storage), tmp_path / 'out')
    assert status == PARTLY and said in errors and 'Traceback' not in errors
    with (tmp_path / 'out' / 'miniscope' / 'timeStamps.csv').open() as stream:
        times = [int(row['Time Stamp (ms)']) for row in csv.DictReader(stream)]
    kept = [n for n in range(20) if topic != 'image_raw' or n != number]
    assert times == pytest.approx([scope.time_ms(n) for n in kept], abs=1)
    with (tmp_path / 'out' / 'miniscope' / 'frames.csv').open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row['Frame Number']) for row in rows] == list(range(len(kept)))
    assert [float(row['Time Stamp (ms)']) for row in rows] == pytest.approx(times, abs=1)


@pytest.mark.parametrize('wrong', [
    lambda n: {'time_ms': 5.0}, lambda n: {'time_ms': 50_000.0 * (n % 2)},
    lambda n: {'time_ms': 4000.0 - 100 * n}], ids=['equal', 'alternating', 'falling'])
@pytest.mark.parametrize('count', [2, 6, 30])
def test_wrong_times_in_a_row_divide_no_acquisition(
        tmp_path: Path, run: Callable[..., Exported], count: int,
        wrong: Callable[[int], dict[str, float]]) -> None:
    class Wrong(Scope):
        def messages(self, types: Any) -> Any:
            for topic, stamp, message in super().messages(types):
                if topic == 'frame_info' and 10 <= message.frame_index < 10 + count:
                    for name, value in wrong(message.frame_index).items():
                        setattr(message, name, value)
                yield topic, stamp, message
    scope = Wrong(frames=50, lost={12: 3})
    status, _, errors = run(write_bag(tmp_path / 'bag', scope), tmp_path / 'out')
    assert status == PARTLY
    assert f'{count} messages have values that contradict those before and after' in errors
    with (tmp_path / 'out' / 'miniscope' / 'frames.csv').open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row['Time Stamp (ms)']) for row in rows] == pytest.approx(
        [scope.time_ms(n) for n in range(50)], abs=1e-3)


@pytest.mark.parametrize('text', ['[' * 100_000, '{"a":' * 100_000, '{"animal": M7}'],
                         ids=['deep list', 'deep object', 'no JSON'])
def test_session_data_that_cannot_be_read_cost_themselves(
        tmp_path: Path, run: Callable[..., Exported], text: str) -> None:
    class Described(Scope):
        def messages(self, types: Any) -> Any:
            yield '/session/metadata', self.start_ns, types.types['std_msgs/msg/String'](data=text)
            yield from super().messages(types)

    status, output, errors = run(write_bag(tmp_path / 'bag', Described()), tmp_path / 'out')
    assert status == PARTLY and 'frames        60\n' in output
    assert '/session/metadata: 1 messages have values that cannot be' in errors


@pytest.mark.parametrize('time_ms', [math.nan, -1e300])
def test_a_first_reading_without_a_time_costs_no_frame(
        tmp_path: Path, run: Callable[..., Exported], time_ms: float) -> None:
    scope = Damaged(frames=20)
    scope.topic, scope.number, scope.values = 'orientation_rows', 0, {'time_ms': time_ms}
    bag = write_bag(tmp_path / 'bag', scope, without=('frame_info',))
    assert run(bag, tmp_path / 'out')[0] == PARTLY
    with (tmp_path / 'out' / 'miniscope' / 'timeStamps.csv').open() as stream:
        times = [int(row['Time Stamp (ms)']) for row in csv.DictReader(stream)]
    assert times == pytest.approx([scope.time_ms(n) for n in range(20)], abs=1)


class Misdated(Scope):
    """A scope one of whose frame_info has a damaged stamp."""

    seconds = 0

    def messages(self, types: Any) -> Any:
        for topic, stamp, message in super().messages(types):
            if topic == 'frame_info' and message.frame_index == 7:
                message.header.stamp.sec = self.seconds
            yield topic, stamp, message


@pytest.mark.parametrize('seconds', [-2**31, 0, 2**31 - 1])
def test_a_damaged_stamp_of_a_frame_is_told_by_its_neighbours(
        tmp_path: Path, run: Callable[..., Exported], seconds: int) -> None:
    scope = Misdated(frames=20, lost={7: 2})
    scope.seconds = seconds
    status, report, errors = run(write_bag(tmp_path / 'bag', scope), tmp_path / 'out')
    assert status == PARTLY and 'lost          2 of 22' in report
    assert errors.count('miniscope') == 1 and '1 messages have values that contradict' in errors
    with (tmp_path / 'out' / 'miniscope' / 'timeStamps.csv').open() as stream:
        assert len(list(csv.DictReader(stream))) == 20


@pytest.mark.parametrize('definition', [
    'std_msgs/Header header\nFrameInfo again\n', 'no definition at all (', 'uint8[', '\0' * 50,
    'std_msgs/Header header\nNothing/Known unknown\n'])
def test_a_damaged_definition_is_replaced_by_ours(
        tmp_path: Path, run: Callable[..., Exported], definition: str) -> None:
    scope = Scope(frames=10)
    bag = write_bag(tmp_path / 'bag', scope, storage=SQLITE)
    file, = bag.glob('*.db3')
    with sqlite3.connect(file) as connection:
        connection.execute(
            'UPDATE message_definitions SET encoded_message_definition = ? '
            "WHERE topic_type = 'miniscope_msgs/msg/FrameInfo'", (definition,))
    status, output, errors = run(bag, tmp_path / 'out')
    assert status == PARTLY and 'definition of miniscope_msgs/msg/FrameInfo cannot be' in errors
    assert 'lost          0 of 10' in output
    assert assert_prefix(tmp_path / 'out' / 'miniscope', scope, 0) == 10


def test_messages_cut_short_cost_themselves(
        tmp_path: Path, run: Callable[..., Exported]) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(frames=10), storage=SQLITE)
    file, = bag.glob('*.db3')
    with sqlite3.connect(file) as connection:
        for place, (row,) in enumerate(connection.execute(
                'SELECT messages.id FROM messages JOIN topics ON topics.id = topic_id '
                "WHERE name LIKE '%/image_raw' OR name LIKE '%/frame_info'").fetchall()):
            if place in (4, 7):
                connection.execute('UPDATE messages SET data = substr(data, 1, ?) WHERE id = ?',
                                   (3 * place - 10, row))
    status, _, errors = run(bag, tmp_path / 'out')
    assert status == PARTLY and 'values that cannot be' in errors
    with (tmp_path / 'out' / 'miniscope' / 'timeStamps.csv').open() as stream:
        assert len(list(csv.DictReader(stream))) >= 9


def test_messages_before_content_and_uncertainty(
        tmp_path: Path, run: Callable[..., Exported]) -> None:
    older = '\n'.join(line for line in (DEFINITIONS / 'FrameInfo.msg').read_text().splitlines()
                      if not line.startswith(('uint8 content', 'uint32 lost_uncertainty')))
    for storage, known in ((MCAP, True), (SQLITE, True), (SQLITE, False)):
        scope = Scope(frames=10, lost={5: 2})
        place = tmp_path / f'{storage.name}{known}'
        bag = write_bag(place, scope, storage=storage, types=our_types({'FrameInfo': older}))
        if not known:
            forget_definitions(bag)
        status, output, _ = run(bag, tmp_path / f'out{storage.name}{known}')
        assert status == DONE and 'lost          2 of 12' in output
        frames = list(open_recording(str(bag)).frames())
        assert [frame.number for frame in frames] == [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]


# Order, mixtures, and spans

class Shuffled(Scope):
    """A recorder that compresses in several threads: out of order, and with losses."""

    def messages(self, types: Any) -> Any:
        rng = random.Random(1)
        all_messages = list(super().messages(types))
        kept = [one for one in all_messages if rng.random() > 0.15 or not one[0].startswith(
            ('image_raw', 'frame_info')) or one[0] == 'image_raw/metadata']
        places = sorted(range(len(kept)), key=lambda place: place + rng.uniform(0, 8))
        # The time of recording is that of writing.
        for number, place in enumerate(places):
            topic, _, message = kept[place]
            yield topic, EPOCH_NS + number, message


@pytest.mark.parametrize('compression', [CompressionMode.MESSAGE, CompressionMode.NONE])
def test_messages_out_of_order_are_one_acquisition(
        tmp_path: Path, run: Callable[..., Exported], compression: CompressionMode) -> None:
    scope = Shuffled(frames=60)
    bag = write_bag(tmp_path / 'bag', scope, compression=compression)
    status, output, errors = run(bag, tmp_path / 'out')
    assert status == PARTLY and 'published frames are not in the bag' in errors
    assert output.count('measured rate') == 1 and 'mixed' not in errors
    assert [path.name for path in (tmp_path / 'out').iterdir() if path.is_dir()] == ['miniscope']
    numbers = {scope.image(number).tobytes(): number for number in range(60)}
    played = [(numbers[frame.image.tobytes()], frame.time_ns)
              for frame in open_recording(str(bag)).frames()]
    assert 40 < len(played) < 60 and played == sorted(played)
    assert [time_ns for _, time_ns in played] == pytest.approx(
        [scope.time_ms(number) * 1e6 for number, _ in played], abs=2)


def test_two_nodes_of_one_name_are_told(tmp_path: Path, run: Callable[..., Exported]) -> None:
    scopes = [Scope(frames=40), Scope(frames=40, start_ns=EPOCH_NS + 13_000_000, seed=1),
              Scope(frames=30, start_ns=EPOCH_NS + 31_000_000, seed=2)]
    status, output, errors = run(write_bag(tmp_path / 'bag', *scopes), tmp_path / 'out')
    assert status == PARTLY and errors.count('two nodes named /miniscope') == 3
    assert output.count('measured rate') == 3
    for name, scope in zip(('miniscope', 'miniscope_2', 'miniscope_3'), scopes, strict=True):
        assert len(list(open_recording(str(tmp_path / 'bag' / name)).frames())) == scope.frames
    frame = next(open_recording(str(tmp_path / 'bag' / 'miniscope_2')).frames())
    assert frame.image.tobytes() == scopes[1].image(0).tobytes()


def test_two_nodes_of_one_name_that_began_at_once_are_told(
        tmp_path: Path, run: Callable[..., Exported]) -> None:
    scopes = [Scope(frames=40), Scope(frames=40, start_ns=EPOCH_NS + 1_000_000, seed=1)]
    status, output, errors = run('--check', write_bag(tmp_path / 'bag', *scopes))
    assert status == NOT_GOOD and errors.count('two nodes named /miniscope') == 2
    assert output.count('measured rate') == 2


def test_acquisitions_one_after_the_other_are_not_mixed(
        tmp_path: Path, run: Callable[..., Exported]) -> None:
    scopes = [Scope(frames=5), Scope(frames=9, first=7, start_ns=EPOCH_NS + 10 ** 10, seed=1)]
    status, output, errors = run('--check', write_bag(tmp_path / 'bag', *scopes))
    assert output.count('measured rate') == 2 and 'mixed' not in errors


class Ragged(Scope):
    """A recording made by hand: one topic begins and ends after the other."""

    spans: dict[str, tuple[int, int]] = {
        'image_raw': (3, 58), 'frame_info': (0, 60), 'orientation_rows': (5, 55)}

    def messages(self, types: Any) -> Any:
        counts: dict[str, int] = {}
        for topic, stamp, message in super().messages(types):
            number = counts[topic] = counts.get(topic, -1) + 1
            begin, end = self.spans.get(topic, (0, 1 << 30))
            if begin <= number < end:
                yield topic, stamp, message


def test_topics_are_judged_on_the_span_of_all(
        tmp_path: Path, run: Callable[..., Exported]) -> None:
    status, output, errors = run('--check', write_bag(tmp_path / 'bag', Ragged()))
    assert (status, errors) == (DONE, '')
    assert 'not recorded from the same message to the same one' in output


@pytest.mark.parametrize('spans, said', [
    ({'image_raw': (50, 60)}, '50 frames have no image'),
    ({'frame_info': (0, 10)}, '50 images have no frame_info'),
    ({'orientation_rows': (45, 60)}, '45 of 60 orientation_rows are not in the bag')])
def test_a_topic_that_was_hardly_recorded_is_a_fault(
        tmp_path: Path, run: Callable[..., Exported], spans: dict[str, tuple[int, int]],
        said: str) -> None:
    scope = Ragged()
    scope.spans = spans
    status, _, errors = run('--check', write_bag(tmp_path / 'bag', scope))
    assert status == NOT_GOOD and said in errors


# The rate, and a late start

@pytest.mark.parametrize('period_ms, said', [
    (100.0, 'the measured rate is -50.0 % off the set one'), (47.0, '+6.4 % off the set one'),
    (53.0, '-5.7 % off the set one'), (48.0, ''), (52.0, '')])
def test_a_rate_off_the_set_one_is_flagged(
        tmp_path: Path, run: Callable[..., Exported], period_ms: float, said: str) -> None:
    status, output, _ = run('--check', write_bag(
        tmp_path / 'bag', Scope(period_ms=period_ms)))
    assert status == (NOT_GOOD if said else DONE)
    assert (said in output and 'good' not in output) if said else 'good' in output


def test_a_late_start_is_flagged(tmp_path: Path, run: Callable[..., Exported]) -> None:
    status, output, _ = run('--check', write_bag(tmp_path / 'bag', Scope(first=100)))
    assert status == NOT_GOOD
    assert 'the first 100 frames of the acquisition are not in the bag' in output


# Times of a bag without frame_info

class Stepping(Scope):
    """A camera whose clock is set while it is recorded, or which has a wrong stamp."""

    def time_ms(self, number: int) -> float:
        step = -3_600_000.0 if number >= 30 else 0.0
        return super().time_ms(number) + step


class Twins(Scope):
    """A scope two of whose frames have one stamp."""

    def time_ms(self, number: int) -> float:
        return super().time_ms(number - (number == 8))


def test_equal_stamps_are_told(tmp_path: Path, run: Callable[..., Exported]) -> None:
    scope = Twins(frames=12)
    bag = write_bag(tmp_path / 'bag', scope)
    status, _, errors = run('--check', bag)
    assert status == NOT_GOOD and 'the times of the frames do not always rise' in errors
    recording = open_recording(str(bag))
    frames = list(recording.frames())
    assert [frame.image.tobytes() for frame in frames] == [
        scope.image(number).tobytes() for number in range(12)]
    assert (np.diff([frame.time_ns for frame in frames]) > 0).all()
    assert any('not above the one before' in warning for warning in recording.warnings)


def test_no_image_of_a_clock_set_back_is_lost(
        tmp_path: Path, run: Callable[..., Exported]) -> None:
    bag = write_bag(tmp_path / 'bag', Stepping(), without=(
        'frame_info', 'orientation_rows', 'controls', 'control_changes'))
    assert run(bag, tmp_path / 'out')[0] == PARTLY
    with (tmp_path / 'out' / 'miniscope' / 'timeStamps.csv').open() as stream:
        assert len(list(csv.DictReader(stream))) == 60


def test_nothing_that_a_bag_is_asked_for_is_left_open(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(frames=4), storage=SQLITE)
    assert main([str(bag), str(tmp_path / 'out')]) == DONE
    assert not apsw.connections()
    assert main([str(tmp_path / 'nothing'), str(tmp_path / 'out2')]) == FAILED
