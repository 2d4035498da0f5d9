# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The guard speaks where a bag does not grow with what is published, and else is silent."""
from pathlib import Path
import shutil

from hypothesis import given
from hypothesis import strategies as st
from miniscope_ros.errors import DeviceError
from miniscope_ros.session.guard import check_room, free_bytes, Guard, Progress
import pytest

IMAGE = 608 * 608
RATE = 60


def run(guard: Guard, seconds: float, grow: float, begin: float = 0.0) -> float:
    """Observe so long, four times a second; the bag gets a share of what is published."""
    time = begin
    while time < begin + seconds:
        frames = int(time * RATE)
        guard.observe(Progress(time, int(frames * IMAGE * grow), frames, frames * IMAGE))
        time += 0.25
    return time


def test_it_is_silent_while_the_bag_grows(tmp_path: Path) -> None:
    guard = Guard(tmp_path, 0.0)
    run(guard, 60.0, 1.0)
    assert guard.bytes_per_s == pytest.approx(RATE * IMAGE, rel=0.02)
    assert guard.seconds_left == pytest.approx(guard.free / (RATE * IMAGE), rel=0.05)


@pytest.mark.parametrize('grow', [0.0, 0.2], ids=['nothing', 'small messages only'])
def test_it_speaks_within_the_promised_time(grow: float, tmp_path: Path) -> None:
    guard = Guard(tmp_path, 0.0)
    end = run(guard, 20.0, 1.0)
    held = int(end * RATE) * IMAGE
    with pytest.raises(DeviceError, match='does not take what is published'):
        for step in range(24):
            now = end + step * 0.25
            frames = int(now * RATE)
            guard.observe(Progress(
                now, held + int((frames * IMAGE - held) * grow), frames, frames * IMAGE))
    assert now - end <= 6.0


def test_silence_of_the_scope_is_no_fault_of_the_recorder(tmp_path: Path) -> None:
    guard = Guard(tmp_path, 0.0)
    run(guard, 10.0, 1.0)
    frames = 10 * RATE
    for step in range(200):
        guard.observe(Progress(10.0 + step, frames * IMAGE, frames, frames * IMAGE))


def test_a_recorder_has_time_to_find_a_scope_that_was_started_again(tmp_path: Path) -> None:
    guard = Guard(tmp_path, 0.0)
    run(guard, 10.0, 1.0)
    frames = written = 10 * RATE
    guard.observe(Progress(14.0, written * IMAGE, frames, frames * IMAGE))  # it was away
    guard.begin_anew()
    for step in range(60):
        frames += RATE // 4
        if step >= 8:  # found after 2 s
            written += RATE // 4
        guard.observe(Progress(
            14.25 + step * 0.25, written * IMAGE, frames, frames * IMAGE))


@given(st.lists(st.floats(0.0, 1.2), min_size=1, max_size=100))
def test_what_waits_for_the_disk_for_a_second_is_no_fault(delays: list[float]) -> None:
    guard = Guard(Path.cwd(), 0.0)
    written = 0
    for step, delay in enumerate(delays * 3):
        now = 10.0 + step * 0.25
        frames = int(now * RATE)
        written = max(written, int((now - delay) * RATE) * IMAGE)
        guard.observe(Progress(now, written, frames, frames * IMAGE))


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    (tmp_path / 'bag').mkdir()
    guard = Guard(tmp_path / 'bag', 0.0)
    run(guard, 1.0, 1.0)
    shutil.rmtree(tmp_path / 'bag')
    with pytest.raises(DeviceError, match='is gone'):
        run(guard, 1.0, 1.0, begin=1.0)


def test_room_is_asked_where_the_folder_will_be(tmp_path: Path) -> None:
    folder = tmp_path / 'not' / 'there' / 'yet'
    assert free_bytes(folder) == pytest.approx(free_bytes(tmp_path), rel=0.1)
    check_room(folder, 0.0)
    with pytest.raises(DeviceError, match='lower min_free_gb'):
        check_room(folder, 1e9)
    guard = Guard(tmp_path, 1e9)
    run(guard, 1.0, 1.0)
    assert guard.disk_is_full
    assert guard.seconds_left == 0.0


def test_a_folder_that_cannot_be_looked_for_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match='cannot be asked for its free space'):
        free_bytes(tmp_path / ('x' * 300))  # longer than a name can be
