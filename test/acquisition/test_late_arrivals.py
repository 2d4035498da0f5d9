# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Frames that a busy computer stamps late are under no value under which they were not taken."""
from __future__ import annotations

import math

from miniscope_ros.acquisition.control_tracking import ControlTracker
from miniscope_ros.acquisition.frame_content import FrameContent
from miniscope_ros.acquisition.head_stage import HeadStage
from miniscope_ros.acquisition.loss import LossAccount
from miniscope_ros.acquisition.period import Period
from miniscope_ros.acquisition.timestamps import TimestampFilter
from miniscope_ros.model import (
    Content,
    ControlEvent,
    RawFrame,
    Reason,
    SourceInfo,
    StampSource,
)
import numpy as np
import pytest

MS = 1_000_000
PERIOD = 33 * MS
READ_OUT = 22 * MS
START = 1000 * PERIOD
IMAGE = np.zeros((608, 608), np.uint8)


def arrivals(
    late: dict[int, int], count: int, *, period_ns: float = PERIOD,
) -> list[RawFrame]:
    """Return corrected frames with times of arrival, late by so many ns; number 0 is at START."""
    stamps = TimestampFilter()
    frames = []
    for number in range(count):
        stamp_ns = START + number * PERIOD + late.get(number, 0)
        received_ns = max(stamp_ns, START + number * PERIOD + READ_OUT)
        frames.append(stamps.correct(RawFrame(
            IMAGE, stamp_ns, StampSource.ARRIVAL, received_ns, number), period_ns))
    return frames


def first_index(frames: list[RawFrame], sent_ns: int) -> int:
    """Return the first capture index that is reported for a value sent at a time [ns]."""
    told: list[int] = []
    tracker = ControlTracker(lambda event, index: told.append(index))
    tracker.add(ControlEvent('led', 60.0, 1, Reason.USER, sent_ns), lighting_up=False)
    for number, frame in enumerate(frames):
        tracker.resolve(frame.earliest_ns, number)
    return told[0]


def test_a_value_that_is_sent_between_frames_in_time_holds_after_two_frames() -> None:
    assert first_index(arrivals({}, 20), START + 9 * PERIOD + READ_OUT) == 12


@pytest.mark.parametrize('late', [1, 2, 3])
def test_a_value_that_is_sent_while_frames_wait_names_none_of_them(late: int) -> None:
    # So many frames began before the value was sent, and were stamped when they were taken.
    sent_ns = START + 10 * PERIOD - MS
    waiting = {10 - n: n * PERIOD + n for n in range(1, late + 1)}
    assert all(START + n * PERIOD + delay >= sent_ns for n, delay in waiting.items())
    assert first_index(arrivals(waiting, 20), sent_ns) == 12


def test_while_the_period_is_unknown_a_frame_may_have_begun_with_the_one_before() -> None:
    sent_ns = START + 10 * PERIOD - MS
    late = arrivals({9: PERIOD + 1}, 20, period_ns=math.nan)
    assert first_index(late, sent_ns) == 12


def test_a_late_frame_is_not_taken_for_one_that_is_wholly_lit() -> None:
    content = FrameContent()
    content.begin_stream(SourceInfo(
        width=608, height=608, encoding='mono8', device_type='', has_orientation=False,
        frame_rate=30.0, has_blocks=True))
    content.note_lights({'led': 60.0}, START + 10 * PERIOD - MS, lighting_up=False)
    lit = []
    for frame in arrivals({8: 2 * PERIOD + 1, 9: PERIOD + 2}, 14):
        content.check(frame)
        lit.append(content.lit)
    assert lit.index(True) == 12


def test_a_loss_of_several_frames_that_is_reported_later_makes_no_index_too_low() -> None:
    account = LossAccount(Period())
    told: list[int] = []
    tracker = ControlTracker(lambda event, index: told.append(index))
    stage = HeadStage(30.0)
    stage.begin_stream()
    taken, index, controlled = 0, -1, []
    for number in range(80):
        taken += 3 if number == 60 else 1  # two frames of the scope are lost before that one
        stamp_ns = START + taken * PERIOD
        loss = account.frame(stamp_ns, number, None, arrival=True)
        index += 1 + loss.lost
        if number == 60:
            assert loss.lost == 0 and loss.uncertainty == 2
            tracker.add(
                ControlEvent('led', 60.0, 1, Reason.USER, stamp_ns - 1), lighting_up=False)
            stage.begin_repair(stamp_ns / 1e9)
            stage.end_repair(stamp_ns - 1)
        tracker.resolve(stamp_ns, index, loss.uncertainty)
        stage.observe(
            RawFrame(IMAGE, stamp_ns, StampSource.ARRIVAL, stamp_ns, number), content=Content.OK,
            lit=True, brown_out=False, capture_index=index, uncertainty=loss.uncertainty)
        if number >= 60:
            controlled.append(stage.controlled)
            assert not told or told[0] > index or number >= 62
    assert controlled[:3] == [False, False, True]
