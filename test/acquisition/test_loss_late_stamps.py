# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Stamps that are late, counters that are believed, glitches, and gaps of any length."""
from __future__ import annotations

from dataclasses import dataclass, field
import random

from miniscope_ros.acquisition.loss import FrameLoss, LossAccount
from miniscope_ros.acquisition.period import Period
from miniscope_ros.model import Evidence
import pytest

MS = 1_000_000
START = 10**12
PERIOD = 33_333_333
WARM_UP = 60


@dataclass
class Stream:
    """A stream of frames one period apart, and the account of it."""

    account: LossAccount = field(default_factory=lambda: LossAccount(Period()))
    period: float = PERIOD
    jitter_ms: float = 0.0
    seed: int = 1
    arrival: bool = False
    sequence: bool = True
    counter: bool = False
    place: int = 0  # of the next frame among all that the scope took
    number: int = 0  # its number on the way
    count: int = 100  # its number on the device

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def frame(self, late: float = 0.0, predicted: bool = False) -> FrameLoss:
        """Take in a frame, late by so many periods."""
        jitter = self.dice.gauss(0, self.jitter_ms * MS / 2 ** 0.5)
        stamp = START + round((self.place + late) * self.period + jitter)
        loss = self.account.frame(
            stamp, self.number if self.sequence else None, self.count if self.counter else None,
            predicted=predicted, arrival=self.arrival)
        self.skip(1, numbered=True)
        return loss

    def frames(self, count: int) -> list[int]:
        """Take in frames that are in time; return how many were lost before each."""
        return [self.frame().lost for _ in range(count)]

    def skip(self, count: int, *, numbered: bool = False) -> None:
        """Let frames get lost: on the way if they are numbered, else at the source."""
        self.place += count
        self.number += count * numbered
        self.count += count * numbered


def warm(**values: object) -> Stream:
    """Return a stream of which the period is known."""
    stream = Stream(**values)  # type: ignore[arg-type]
    assert sum(stream.frames(WARM_UP)) == 0
    return stream


@pytest.mark.parametrize('jitter_ms', [0.0, 1.0])
@pytest.mark.parametrize('late', [0.55, 0.6, 0.75, 0.9, 0.99])
def test_a_late_stamp_that_the_next_interval_undoes_is_no_loss(
        late: float, jitter_ms: float) -> None:
    stream = warm(jitter_ms=jitter_ms)
    for n in range(200):
        if n % 10 == 5:
            loss = stream.frame(late)
            assert loss.lost == 0
            assert loss.uncertainty == 1 or late < 0.65
        assert sum(stream.frames(5)) == 0
    assert stream.account.totals.lost == 0


@pytest.mark.parametrize('late', [0.6, 0.7, 0.8])
def test_two_late_stamps_in_a_row_are_no_loss(late: float) -> None:
    stream = warm()
    for _ in range(20):
        assert [stream.frame(late).lost, stream.frame(late).lost] == [0, 0]
        assert sum(stream.frames(60)) == 0


@pytest.mark.parametrize('arrival', [False, True])
@pytest.mark.parametrize('run', [1, 2, 3])
@pytest.mark.parametrize('seed', range(5))
def test_late_stamps_in_a_row_are_no_loss_and_hide_none(
        seed: int, run: int, arrival: bool) -> None:
    stream = warm(jitter_ms=0.3, arrival=arrival, sequence=False, seed=seed)
    dice = random.Random(seed)
    for _ in range(60):
        assert sum(stream.frame(dice.uniform(0.6, 0.9)).lost for _ in range(run)) == 0
        assert sum(stream.frames(dice.randrange(5, 40))) == 0
        lost = dice.randrange(3)
        stream.skip(lost)
        assert sum(stream.frames(5)) == lost
        assert sum(stream.frames(dice.randrange(5, 40))) == 0


def test_a_stream_that_goes_on_between_two_places_has_lost_one_frame() -> None:
    stream = warm()
    assert sum(stream.frame(0.7).lost for _ in range(9)) == 0
    assert stream.frame(0.7).lost == 1
    assert sum(stream.frame(0.7).lost for _ in range(200)) == 0


@pytest.mark.parametrize('lost', [1, 2, 10, 40])
@pytest.mark.parametrize('jitter_ms', [0.0, 1.0, 2.0])
@pytest.mark.parametrize('kind', ['at_the_source', 'on_the_way', 'unnumbered'])
def test_no_true_loss_is_missed(kind: str, jitter_ms: float, lost: int) -> None:
    stream = warm(jitter_ms=jitter_ms, period=1e9 / 60, sequence=kind != 'unnumbered')
    for _ in range(50):
        stream.skip(lost, numbered=kind != 'at_the_source')
        assert sum(stream.frames(3)) == lost
        assert sum(stream.frames(20)) == 0


def test_a_loss_of_one_frame_that_time_alone_shows_is_reported_by_the_next() -> None:
    stream = warm()
    stream.skip(1)
    assert stream.frame() == FrameLoss(uncertainty=1)
    assert stream.frame() == FrameLoss(1, 0, Evidence.TIME)
    stream.skip(2)
    assert stream.frame() == FrameLoss(2, 0, Evidence.TIME)


def test_a_late_stamp_after_a_loss_on_the_way_is_no_second_loss() -> None:
    stream = warm()
    stream.skip(1, numbered=True)
    assert stream.frame(0.8).lost == 1
    assert sum(stream.frames(20)) == 0


def test_what_is_lost_before_the_first_frame_is_reported_with_it() -> None:
    stream = warm()
    stream.skip(1)
    stream.account.begin(fresh=False)
    assert stream.frames(3) == [1, 0, 0]


def test_a_loss_that_was_held_before_the_first_frame_is_of_no_acquisition() -> None:
    stream = warm()
    stream.skip(1)
    stream.frame()
    stream.account.begin(fresh=False)
    assert stream.frames(5) == [0] * 5


@pytest.mark.parametrize('late', [1.2, 1.8, 2.4, 3.0])
@pytest.mark.parametrize('counter', [False, True])
def test_a_grab_that_is_late_by_several_periods_is_no_loss(counter: bool, late: float) -> None:
    stream = Stream(arrival=True, sequence=False, counter=counter)
    stream.account.counter.trusted = True
    stream.frames(WARM_UP)
    for _ in range(5):
        assert stream.frame(late).lost == 0
        stream.frames(3)  # one of them may be stamped with the late one or before it
        assert sum(stream.frames(30)) == 0
    assert stream.account.totals.lost == 0


def test_where_a_recorded_counter_rises_by_one_late_grabs_are_no_losses() -> None:
    for seed in range(20):
        stream = Stream(arrival=True, sequence=False, counter=True)
        stream.account.counter.trusted = True
        dice = random.Random(seed)
        assert sum(stream.frame(0.9 * (dice.random() < 0.15)).lost for _ in range(900)) == 0


@pytest.mark.parametrize('counter', [False, True])
@pytest.mark.parametrize('seed', range(20))
def test_late_grabs_of_a_recording_are_no_losses(seed: int, counter: bool) -> None:
    stream = Stream(arrival=True, sequence=False, counter=counter)
    stream.account.counter.trusted = True
    dice = random.Random(seed)
    lost = sum(stream.frame(0.9 * (dice.random() < 0.05)).lost for _ in range(900))
    # Without a counter three late grabs in a row cannot be told from a loss.
    assert lost == 0 if counter else lost <= 1


@pytest.mark.parametrize('lost', [1, 2, 5])
@pytest.mark.parametrize('late_before', [False, True])
def test_losses_of_a_recording_are_found_all_the_same(late_before: bool, lost: int) -> None:
    for counter, numbered in ((False, False), (True, True), (True, False)):
        stream = Stream(arrival=True, sequence=False, counter=counter)
        stream.account.counter.trusted = True
        stream.frames(WARM_UP)
        if late_before:
            stream.frame(0.9)
            stream.frames(5)
        stream.skip(lost, numbered=numbered)
        assert sum(stream.frames(12)) == lost
        assert sum(stream.frames(20)) == 0


def test_a_recorded_counter_that_leaps_and_stays_ahead_shows_losses() -> None:
    stream = Stream(arrival=True, sequence=False, counter=True)
    stream.account.counter.trusted = True
    stream.frames(WARM_UP)
    stream.count += 3  # the times show nothing
    assert sum(stream.frames(5)) == 3
    assert stream.account.totals.counter == 3
    assert sum(stream.frames(20)) == 0


def test_a_recorded_counter_that_leaps_and_falls_back_shows_none() -> None:
    stream = Stream(arrival=True, sequence=False, counter=True)
    stream.account.counter.trusted = True
    stream.frames(WARM_UP)
    for leap in (1, 2, 3, 200):
        stream.count += leap
        stream.frames(1)
        stream.count -= leap
        assert sum(stream.frames(20)) == 0
    assert stream.account.totals.lost == 0


@pytest.mark.parametrize('pieces', [2, 3])
def test_a_frame_that_a_glitch_splits_is_one_frame_with_several_edges(pieces: int) -> None:
    stream = warm()
    for _ in range(pieces):
        stream.account.damaged()
    stream.skip(1, numbered=True)
    stream.number += pieces - 1  # each of them has a number
    loss = stream.frame()
    assert (loss.lost, loss.damaged, loss.edges) == (1, 1, pieces)
    assert loss.evidence is Evidence.DAMAGED
    assert stream.account.totals.lost == stream.account.totals.damaged == 1
    assert sum(stream.frames(10)) == 0


def test_after_a_restart_of_the_transfer_the_counter_alone_knows_the_edges() -> None:
    for counter, edges in ((False, -1), (True, 1)):
        stream = warm(counter=counter)
        stream.skip(14)  # 467 ms without data: the firmware has restarted
        stream.place += 1
        stream.count += 1  # a frame that was swallowed: it has an edge and no number
        loss = stream.frame()
        assert (loss.lost, loss.edges) == (15, edges)


def test_a_short_burst_is_no_restart_of_the_transfer() -> None:
    stream = warm()
    stream.skip(8)
    assert stream.frame().edges == 0


@pytest.mark.parametrize('frames, lost, rate, jitter_ms', [
    (20, 300, 60.0, 1.0), (20, 300, 60.0, 2.0), (40, 326, 20.0, 0.0), (10, 40, 60.0, 1.0),
    (300, 20_000, 60.0, 1.0), (5, 100, 30.0, 1.0)])
@pytest.mark.parametrize('outage', [False, True])
def test_a_long_gap_is_off_by_no_more_than_it_says(
        frames: int, lost: int, rate: float, jitter_ms: float, outage: bool) -> None:
    for seed in range(100):
        stream = Stream(
            period=1.0123e9 / rate, jitter_ms=jitter_ms, seed=seed, sequence=False)
        stream.frames(frames)
        stream.skip(lost)
        if outage:
            stream.account.stream_restarted()
        loss = stream.frame()
        assert abs(loss.lost - lost) <= loss.uncertainty
        if not jitter_ms:
            assert loss.uncertainty == 0


def test_over_a_long_gap_the_number_decides_that_is_possible() -> None:
    for seed in range(50):
        stream = Stream(period=1e9 / 60, jitter_ms=2.0, seed=seed)
        stream.frames(20)
        stream.skip(300, numbered=True)
        assert stream.frame().lost == 300


def test_time_without_an_open_stream_is_uncertain() -> None:
    stream = warm()
    stream.skip(100)
    stream.account.stream_restarted(round(20.5 * PERIOD))
    loss = stream.frame()
    assert (loss.lost, loss.uncertainty) == (100, 21)
    assert stream.frame().uncertainty == 0


@pytest.mark.parametrize('rate, jitter_ms', [(60.0, 2.0), (30.0, 2.0), (60.0, 1.0)])
def test_jitter_alone_makes_no_loss_in_an_hour(rate: float, jitter_ms: float) -> None:
    stream = Stream(period=1e9 / rate, jitter_ms=jitter_ms, seed=9)
    assert sum(stream.frames(round(3600 * rate))) == 0
