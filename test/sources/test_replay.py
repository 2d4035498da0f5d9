# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A recording is played in its own time, whole and in order."""
from collections.abc import Callable, Iterator
from itertools import pairwise
import math
from pathlib import Path
import threading
import time

from miniscope_ros.acquisition.frame_accounting import Frame, FrameAccounting
from miniscope_ros.acquisition.period import Period
from miniscope_ros.acquisition.ros_clock import FollowedTime, RosTime
from miniscope_ros.errors import ConfigurationError, DeviceError, EndOfData
from miniscope_ros.model import (
    Content,
    Light,
    RawFrame,
    ReadingStatus,
    Reason,
    StampSource,
)
from miniscope_ros.sources.replay import ReplaySource, Stamps
from miniscope_ros.sources.source import Source
import psutil
import pytest
from real_recording import blink1
from recording_folders import scenes, START_MS, write_avi, write_miniscope_daq, write_pomidaq

MS = 1_000_000
PATIENCE = 20.0  # [s] within which a frame must come, whatever the load
FAST = 1000.0
TIMES = [10, 60, 110, 211, 260]
COUNTS = [7, 8, 9, 11, 12]

Open = Callable[..., ReplaySource]


@pytest.fixture
def play() -> Iterator[Open]:
    """Open sources that are closed after the test, and see that no thread is left over."""
    sources: list[ReplaySource] = []

    def open_source(path: Path, *, rate: float = FAST, loop: bool = False,
                    stamps: Stamps = 'now', opened: bool = True, active: bool = True,
                    ) -> ReplaySource:
        source = ReplaySource(str(path), rate=rate, loop=loop, stamps=stamps)
        sources.append(source)
        if opened:
            source.open(Reason.START)
        if opened and active:
            source.activate(Reason.START)
        return source

    yield open_source
    for source in sources:
        source.close()
    assert not [thread for thread in threading.enumerate() if thread.name == 'replay-decoder']


def sample(source: Source) -> RawFrame:
    """Return the next sample."""
    found = source.read(PATIENCE)
    assert found is not None
    return found


def rest(source: Source) -> list[RawFrame]:
    """Return the samples up to the end."""
    samples = []
    while True:
        try:
            samples.append(sample(source))
        except EndOfData:
            return samples


def as_it_is(monotonic_ns: int) -> int:
    """Tell a time that is asked of the clock from one that is not."""
    return monotonic_ns


def enter_all(source: ReplaySource, clock: RosTime) -> list[Frame]:
    """Play a source to its end, through a accounting."""
    accounting = FrameAccounting(source, clock)
    accounting.loss.period = Period(source.open(Reason.START).period_ns)
    source.activate(Reason.START)
    accounting.begin()
    frames = []
    while True:
        try:
            found = sample(source)
        except EndOfData:
            return frames
        found = accounting.correct(found)
        frames.append(accounting.account(found, ReadingStatus.NONE, Content.OK, False))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Write a recording of five frames, one of them lost before the fourth."""
    rows = [[TIMES[0], 1, 0, 0, 0], [TIMES[2], 0.8, 0, 0.6, 0]]
    return write_miniscope_daq(tmp_path / 'scope', scenes(5), TIMES, counts=COUNTS, rows=rows)


def test_all_frames_come_in_order_as_they_were_recorded(play: Open, small: Path) -> None:
    samples = rest(play(small))
    assert [found.image.tobytes() for found in samples] == [
        image.tobytes() for image in scenes(5)]
    assert [found.device_count for found in samples] == COUNTS
    assert {found.device_count_bits for found in samples} == {16}
    assert [found.orientation for found in samples] == [
        (1, 0, 0, 0), None, (0.8, 0, 0.6, 0), None, None]
    assert {found.stamp_source for found in samples} == {StampSource.RECORDED}
    assert samples[0].stamp_ns > 0
    assert [found.stamp_ns - samples[0].stamp_ns for found in samples] == [
        (stamp - TIMES[0]) * MS for stamp in TIMES]
    assert all(a.receive_ns < b.receive_ns for a, b in pairwise(samples))


def test_source_tells_what_it_plays(small: Path) -> None:
    source = ReplaySource(str(small), rate=1.0, loop=False, stamps='now')
    info = source.open(Reason.START)
    assert (info.width, info.height, info.encoding) == (64, 48, 'mono8')
    assert info.device_type == 'Miniscope_V4_BNO' and info.has_orientation
    assert info.frame_rate == 20.0
    assert info.period_ns == 50 * MS
    assert info.path == str(small) and info.card == 'Miniscope-DAQ recording'
    assert info.warnings == ()
    assert not source.is_live and source.has_constant_rate and not source.controls
    source.close()


def test_warnings_of_the_recording_are_told_when_it_is_opened(tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(3), [0, 50, 100, 150])
    source = ReplaySource(str(folder), rate=1.0, loop=False, stamps='now')
    assert '4 time stamps for 3 frames' in source.open(Reason.START).warnings[0]
    source.close()


def test_what_is_found_while_playing_is_logged(
    play: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    write_pomidaq(tmp_path, 'mouse', scenes(3), [0, 50, 100, 150])
    assert len(rest(play(tmp_path))) == 3
    assert '3 frames can be decoded, 1 less' in caplog.text


@pytest.mark.parametrize('rate', [0.5, 1.0, 4.0])
def test_no_frame_comes_before_its_time(play: Open, small: Path, rate: float) -> None:
    source = play(small, rate=rate)
    first, *others = rest(source)
    for found in others:
        due_ns, first_ns = (source.ros_time_ns(one, lambda ns: ns) for one in (found, first))
        recorded = found.stamp_ns - first.stamp_ns
        assert due_ns - first_ns == pytest.approx(recorded / rate, abs=2)
        assert found.receive_ns >= due_ns


def test_frames_are_waited_for_as_long_as_asked(play: Open, small: Path) -> None:
    source = play(small, rate=0.001)
    sample(source)
    before = time.monotonic()
    assert source.read(0.02) is None
    assert time.monotonic() - before >= 0.02
    assert source.read(0.0) is None
    assert not source.waiting()


def test_frames_that_are_due_are_waiting(play: Open, small: Path) -> None:
    source = play(small)
    sample(source)
    deadline = time.monotonic() + PATIENCE
    seen = 0
    while seen < 4 and time.monotonic() < deadline:
        if source.waiting():
            assert source.read(0.0) is not None
            seen += 1
    assert seen == 4
    with pytest.raises(EndOfData):
        source.read(PATIENCE)
    assert not source.waiting()


def test_the_end_is_told_as_often_as_asked(play: Open, small: Path) -> None:
    source = play(small)
    rest(source)
    for _ in range(3):
        with pytest.raises(EndOfData):
            source.read(PATIENCE)


def test_looping_goes_on_with_rising_times_and_counters(play: Open, small: Path) -> None:
    source = play(small, loop=True)
    samples = [sample(source) for _ in range(13)]
    steps = [b.stamp_ns - a.stamp_ns for a, b in pairwise(samples)]
    turn = [50 * MS, 50 * MS, 101 * MS, 49 * MS, 50 * MS]
    assert steps == (3 * turn)[:12]
    counts = [found.device_count or 0 for found in samples]
    assert [b - a for a, b in pairwise(counts)] == (3 * [1, 1, 2, 1, 1])[:12]
    assert samples[12].image.tobytes() == scenes(5)[2].tobytes()
    ros_times = [source.ros_time_ns(found, as_it_is) for found in samples]
    assert all(a < b for a, b in pairwise(ros_times))


def test_looping_counter_wraps_as_the_recorded_one(play: Open, tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(2), [0, 50], counts=[65533, 65534])
    source = play(folder, loop=True)
    assert [sample(source).device_count for _ in range(5)] == [65533, 65534, 65535, 0, 1]


def test_one_frame_can_loop(play: Open, tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(1), [0])
    source = play(folder, loop=True)
    assert [sample(source).stamp_ns for _ in range(3)] == [50 * MS, 100 * MS, 150 * MS]


def test_original_stamps_are_the_recorded_time(play: Open, small: Path) -> None:
    source = play(small, stamps='original')
    assert [source.ros_time_ns(found, as_it_is) for found in rest(source)] == [
        (START_MS + stamp) * MS for stamp in TIMES]


@pytest.mark.parametrize('rate', [20.0, FAST])
def test_present_stamps_are_the_time_of_playing(play: Open, small: Path, rate: float) -> None:
    before = time.monotonic_ns()
    source = play(small, rate=rate)
    samples = rest(source)
    after = time.monotonic_ns()
    stamps = [source.ros_time_ns(found, as_it_is) for found in samples]
    assert before <= stamps[0] <= after
    assert [stamp - stamps[0] for stamp in stamps] == [
        round((stamp - TIMES[0]) * MS / rate) for stamp in TIMES]


def test_a_system_clock_that_is_set_moves_no_stamp(play: Open, small: Path) -> None:
    offset_ns = 0

    def system_ns() -> int:
        nonlocal offset_ns
        offset_ns += 10**9  # it is set whenever it is looked at
        return time.time_ns() + offset_ns

    clock = RosTime(system_ns)
    frames = enter_all(play(small, rate=20.0, opened=False), clock)
    clock.check()
    stamps = [frame.stamp_ns for frame in frames]
    assert [stamp - stamps[0] for stamp in stamps] == [
        (stamp - TIMES[0]) * MS // 20 for stamp in TIMES]


def test_a_ros_clock_of_its_own_is_followed(play: Open, small: Path) -> None:
    now_ns = 5 * 10**9

    def tick() -> int:
        nonlocal now_ns
        now_ns += 10**9
        return now_ns

    frames = enter_all(play(small, opened=False), FollowedTime(tick))
    stamps = [frame.stamp_ns for frame in frames]
    assert stamps[0] > 5 * 10**9 and all(a < b for a, b in pairwise(stamps))
    assert stamps[-1] <= now_ns < 20 * 10**9
    played = play(small, stamps='original', opened=False)
    assert [frame.stamp_ns for frame in enter_all(played, FollowedTime(tick))] == [
        (START_MS + stamp) * MS for stamp in TIMES]


@pytest.mark.parametrize('true_rate', [19.76, 20.4, 29.9, 14.7])
def test_the_rate_of_whole_milliseconds_is_exact(
        play: Open, tmp_path: Path, true_rate: float) -> None:
    taken = [n for n in range(round(5.5 * true_rate)) if n not in (30, 31, 70)]
    folder = write_miniscope_daq(
        tmp_path / 'scope', scenes(len(taken)), [round(1000 * n / true_rate) for n in taken])
    frames = enter_all(play(folder, opened=False), RosTime())
    assert frames[-1].capture_index == taken[-1]
    for frame in frames:
        if frame.time_ms >= 5000:
            assert frame.rate == pytest.approx(true_rate, rel=0.001)


def test_the_recorded_counter_is_told_from_the_first_frame(play: Open, small: Path) -> None:
    frames = enter_all(play(small, opened=False), RosTime())
    assert [frame.device_frame_count for frame in frames] == COUNTS
    assert [frame.loss.lost for frame in frames] == [0, 0, 0, 1, 0]


@pytest.mark.parametrize('counts', [[7, 7, 7, 7, 7], [40961, 517, 40961, 1282, 40961]])
def test_a_recorded_counter_that_does_not_count_is_not_told(
        play: Open, tmp_path: Path, counts: list[int]) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(5), TIMES, counts=counts)
    source = play(folder, opened=False)
    assert 'does not count' in source.open(Reason.START).warnings[0]
    assert {frame.device_frame_count for frame in enter_all(source, RosTime())} == {-1}


def test_original_stamps_of_an_undated_recording_are_refused(tmp_path: Path) -> None:
    write_pomidaq(tmp_path, 'mouse', scenes(2), [0, 50])
    source = ReplaySource(str(tmp_path), rate=1.0, loop=False, stamps='original')
    with pytest.raises(DeviceError, match='set replay.stamps to now'):
        source.open(Reason.START)
    with pytest.raises(DeviceError, match='not open'):
        source.activate(Reason.START)
    source.close()


def test_every_activation_plays_from_the_beginning(play: Open, small: Path) -> None:
    source = play(small)
    for taken in (2, 5, 0, 3):
        samples = [sample(source) for _ in range(taken)]
        assert [found.image.tobytes() for found in samples] == [
            image.tobytes() for image in scenes(taken)]
        source.deactivate()
        assert source.read(0.0) is None
        assert not source.waiting()
        source.activate(Reason.START)


def test_every_activation_has_its_own_time(play: Open, small: Path) -> None:
    source = play(small)
    for _ in range(3):
        before = time.monotonic_ns()
        source.activate(Reason.START)
        assert source.ros_time_ns(sample(source), as_it_is) >= before


def test_only_a_few_frames_are_decoded_ahead(play: Open, tmp_path: Path) -> None:
    write_miniscope_daq(tmp_path / 'scope', scenes(3, 608, 608), [0, 50, 100])
    source = play(tmp_path / 'scope', rate=0.001, loop=True)
    sample(source)
    process = psutil.Process()
    before = process.memory_info().rss
    assert source.read(0.5) is None
    assert process.memory_info().rss - before < 30e6


def test_inactive_nothing_is_played(play: Open, small: Path) -> None:
    source = play(small, active=False)
    assert source.read(0.01) is None
    assert not source.waiting()
    source.activate(Reason.START)
    assert len(rest(source)) == 5


def test_open_again_after_close(play: Open, small: Path) -> None:
    source = play(small)
    sample(source)
    for _ in range(2):
        source.close()
    source.open(Reason.START)
    source.activate(Reason.START)
    assert len(rest(source)) == 5


def test_closing_while_decoding_ends_the_thread(play: Open, tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(100), list(range(0, 5000, 50)))
    source = play(folder, rate=0.001)
    for _ in range(20):
        source.deactivate()
        source.activate(Reason.START)
    sample(source)
    source.close()
    assert not [thread for thread in threading.enumerate() if thread.name == 'replay-decoder']


def test_an_error_in_the_middle_reaches_the_reader(play: Open, tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(4), [0, 50, 100, 150], per_file=2)
    write_avi(folder / '1.avi', scenes(2, 32, 32), 'FFV1')
    source = play(folder)
    sample(source)
    sample(source)
    with pytest.raises(DeviceError, match='image size'):
        source.read(PATIENCE)


def test_a_path_that_is_mended_can_be_opened(tmp_path: Path) -> None:
    source = ReplaySource(str(tmp_path / 'scope'), rate=FAST, loop=False, stamps='now')
    with pytest.raises(DeviceError, match='does not exist'):
        source.open(Reason.START)
    write_miniscope_daq(tmp_path / 'scope', scenes(2), [0, 50])
    source.open(Reason.START)
    source.activate(Reason.START)
    assert len(rest(source)) == 2
    source.close()


def test_a_bag_tells_what_was_lost_whatever_its_times(play: Open, tmp_path: Path) -> None:
    bags = pytest.importorskip('recorded_bag', reason='rosbags is not installed')

    class Darkening(bags.Scope):  # type: ignore[misc]
        """A camera that takes longer and longer for a frame."""

        def time_ms(self, number: int) -> float:
            taken = self.index(number) + self.lost_until(number)
            return 30.0 * taken + 0.5 * taken ** 2

    scope = Darkening(frames=60, lost={20: 1, 40: 3}, counter=-1)
    source = play(bags.write_bag(tmp_path / 'bag', scope), loop=True, opened=False)
    # Before the source is open, as in an acquisition.
    accounting = FrameAccounting(source, RosTime())
    source.open(Reason.START)
    source.activate(Reason.START)
    accounting.begin()
    frames = [accounting.account(sample(source), ReadingStatus.NONE, Content.OK, False)
              for _ in range(2 * scope.frames)]
    lost = {frame.frame_index: frame.loss.lost for frame in frames if frame.loss.lost}
    assert lost == {20: 1, 40: 3, 80: 1, 100: 3}
    assert frames[-1].capture_index == 127


def test_a_recording_has_nothing_to_set(play: Open, small: Path) -> None:
    source = play(small)
    with pytest.raises(ConfigurationError, match='led'):
        source.set_value('led', 1.0)
    with pytest.raises(DeviceError, match='reset'):
        source.hard_reset()
    source.set_sync(True)
    source.reinitialise_head_stage()
    source.make_dark()
    assert source.light is Light.DARK
    assert len(rest(source)) == 5


def test_real_recording_is_played_whole(play: Open) -> None:
    folder = blink1()
    av = pytest.importorskip('av')
    edlio = pytest.importorskip('edlio')
    dataset = edlio.load(str(folder)).group_by_name('videos').dataset_by_name('miniscope')
    times_ms = next(dataset.read_aux_data('tsync')).times[:, 1].tolist()
    source = play(folder, rate=100.0, stamps='original')
    start_ns = 1612804651 * 1000 * MS - 40 * MS
    with av.open(str(folder / 'videos' / 'miniscope' / 'msslice_tiny2.mkv')) as container:
        count = 0
        for decoded in container.decode(video=0):
            found = sample(source)
            assert found.image.tobytes() == decoded.to_ndarray(format='gray').tobytes()
            assert source.ros_time_ns(found, as_it_is) == start_ns + times_ms[count] * MS
            count += 1
    assert count == 1287
    with pytest.raises(EndOfData):
        source.read(PATIENCE)


def test_lateness_of_the_reader_loses_no_frame(play: Open, small: Path) -> None:
    source = play(small, rate=math.inf)
    samples = rest(source)
    assert len(samples) == 5
