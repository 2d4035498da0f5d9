# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Readings stay with their frames whatever the clock did, and a bad time costs its own."""
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from miniscope_ros.recordings.formats import open_recording
from miniscope_ros.recordings.readers.matching import match_rows
import numpy as np
import pytest
from recording_folders import (
    scenes,
    write_miniscope_daq,
    write_pomidaq,
    write_pomidaq_rows,
    write_syntalos,
)

COUNT = 60
HOUR_MS = 3_600_000
Times = list[float]


def even() -> Times:
    return [5_000_000.0 + 50 * number for number in range(COUNT)]


def set_back() -> Times:
    return [time - HOUR_MS * (number >= 20) for number, time in enumerate(even())]


def set_back_a_little_twice() -> Times:
    return [time - 400 * (number >= 20) - 300 * (number >= 40)
            for number, time in enumerate(even())]


def set_forward() -> Times:
    return [time + HOUR_MS * (number >= 20) for number, time in enumerate(even())]


def one_late() -> Times:
    return [time + 9e6 * (number == 20) for number, time in enumerate(even())]


def one_early() -> Times:
    return [0.0 if number == 20 else time for number, time in enumerate(even())]


def equal_pairs() -> Times:
    return [5_000_000.0 + 100 * (number // 2) for number in range(COUNT)]


CLOCKS = [even, set_back, set_back_a_little_twice, set_forward, one_late, one_early, equal_pairs]


def quaternion(number: int) -> tuple[float, float, float, float]:
    return (1.0, 0.0, 0.0, number / 1000)


def write_daq(folder: Path, times: Times, rows: dict[int, float]) -> Path:
    return write_miniscope_daq(
        folder / 'scope', scenes(COUNT), times,
        rows=[[time, *quaternion(number)] for number, time in rows.items()])


def write_pomi(folder: Path, times: Times, rows: dict[int, float]) -> Path:
    write_pomidaq(folder, 'mouse', scenes(COUNT), [int(time) for time in times])
    write_pomidaq_rows(folder, 'mouse', [
        [time, *quaternion(number)] for number, time in rows.items()])
    return folder


def write_edl(folder: Path, times: Times, rows: dict[int, float]) -> Path:
    table = 'Time [ms];qw;qx;qy;qz\n' + ''.join(
        f'{time};{";".join(map(str, quaternion(number)))}\n' for number, time in rows.items())
    return write_syntalos(folder / 'run', [scenes(COUNT)], [[int(1000 * time) for time in times]],
                          tables={'bno': table})


@pytest.mark.parametrize('write', [write_daq, write_pomi, write_edl])
@pytest.mark.parametrize('clock', CLOCKS)
def test_readings_stay_with_their_frames(
        tmp_path: Path, clock: Callable[[], Times],
        write: Callable[[Path, Times, dict[int, float]], Path]) -> None:
    times = clock()
    # Repeated readings are left out. Of two equal times nobody can say whose one of them is.
    numbers = [number for number in range(COUNT) if number % 3 != 1 or clock is equal_pairs]
    folder = write(tmp_path, times, {number: times[number] for number in numbers})
    frames = list(open_recording(str(folder)).frames())
    assert len(frames) == COUNT
    assert [number for number, frame in enumerate(frames) if frame.orientation] == numbers
    assert all(frame.orientation in (None, quaternion(number))
               for number, frame in enumerate(frames))
    steps = np.diff([frame.time_ns for frame in frames])
    assert (steps > 0).all()


@pytest.mark.parametrize('wrong', [0.0, -5.0, 9e6, 4.9e6, 1e300])
@pytest.mark.parametrize('write', [write_daq, write_pomi, write_edl])
def test_a_wrong_time_of_a_reading_costs_that_reading(
        tmp_path: Path, wrong: float,
        write: Callable[[Path, Times, dict[int, float]], Path]) -> None:
    times = even()
    rows = dict(enumerate(times))
    rows[30] = wrong
    frames = list(open_recording(str(write(tmp_path, times, rows))).frames())
    assert [number for number, frame in enumerate(frames) if not frame.orientation] == [30]
    assert all(frame.orientation in (None, quaternion(number))
               for number, frame in enumerate(frames))


@given(st.lists(st.integers(-200, 3000), min_size=1, max_size=60), st.integers(0, 25))
def test_a_row_is_never_given_to_a_frame_out_of_reach(steps: list[int], tolerance: int) -> None:
    frames = np.cumsum(steps).astype(np.float64)
    found = match_rows(frames, frames[::-1].copy(), tolerance * 1_000_000)
    reach = tolerance + 0.001 * len(steps)
    assert all(abs(frames[frame] - time) <= reach for frame, time in zip(
        found.tolist(), frames[::-1].tolist(), strict=True) if frame >= 0)
    assert (match_rows(frames, frames, 0) >= 0).all()


def test_a_time_beyond_any_costs_its_frame(tmp_path: Path) -> None:
    times = even()
    times[7] = 1e300
    recording = open_recording(str(write_daq(tmp_path, times, {})))
    assert len(list(recording.frames())) == COUNT - 1
    assert any('1 time stamps are beyond any time' in warning for warning in recording.warnings)
