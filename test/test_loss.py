# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The account of lost frames, against streams of which every loss is known."""
import random

from hypothesis import given
from hypothesis import strategies as st
from miniscope_ros.loss import Evidence, FrameLoss, LossAccount, Period
import pytest

MS = 1_000_000
PERIOD = 50_607_000  # a scope labelled 20 frames/s
WARM_UP = 20


def play(kinds: list[str], *, jitter_ms: float = 0.0, seed: int = 1, counter: bool = False,
         sequence: bool = True, account: LossAccount | None = None, period: float = PERIOD,
         ) -> tuple[LossAccount, list[tuple[int, FrameLoss]]]:
    """
    Run a stream through an account; return what it said before each received period.

    jitter_ms is the standard deviation of the intervals.

    A kind is what becomes of a period: received, on_the_way, at_the_source, damaged.
    """
    jitter = random.Random(seed)
    account = account or LossAccount(Period())
    number = count = 0
    told = []
    for n in range(-WARM_UP, len(kinds)):
        kind = kinds[n] if n >= 0 else 'received'
        stamp = 10**12 + round(n * period + jitter.gauss(0, jitter_ms * MS / 2 ** 0.5))
        if n == 0:
            account.begin(fresh=False)
        if kind == 'at_the_source':
            continue
        number += 1
        count += 1
        if kind == 'on_the_way':
            continue
        if kind == 'damaged':
            account.damaged()
            continue
        values = (stamp, number if sequence else None, count if counter else None)
        if n < 0:
            account.observe(*values)
        else:
            told.append((n, account.frame(*values)))
    return account, told


def truth(kinds: list[str]) -> list[tuple[int, int, int]]:
    """Return index, lost and damaged before it for every received period."""
    result, lost, damaged = [], 0, 0
    for n, kind in enumerate(kinds):
        if kind == 'received':
            result.append((n, lost, damaged))
            lost = damaged = 0
        else:
            lost += 1
            damaged += kind == 'damaged'
    return result


KINDS = st.lists(
    st.sampled_from(['received'] * 6 + ['on_the_way', 'at_the_source', 'damaged']), max_size=200)


@given(KINDS, st.integers(0, 1000), st.booleans(), st.booleans())
def test_every_loss_is_flagged_at_its_place_with_its_number(
        kinds: list[str], seed: int, counter: bool, sequence: bool) -> None:
    account, told = play(kinds, jitter_ms=2.0, seed=seed, counter=counter, sequence=sequence)
    assert [(n, loss.lost, loss.damaged) for n, loss in told] == truth(kinds)
    # After the last frame only what came in damaged is known of.
    counted = [
        n for n, kind in enumerate(kinds)
        if kind == 'damaged' or kind != 'received' and 'received' in kinds[n:]]
    assert account.totals.lost == len(counted)


@pytest.mark.parametrize('kind, counter, sequence, evidence', [
    ('on_the_way', True, True, Evidence.SEQUENCE),
    ('on_the_way', True, False, Evidence.COUNTER),
    ('on_the_way', False, False, Evidence.TIME),
    ('at_the_source', True, True, Evidence.TIME),
    ('damaged', True, True, Evidence.DAMAGED),
])
def test_the_evidence_is_named(
        kind: str, counter: bool, sequence: bool, evidence: Evidence) -> None:
    kinds = ['received'] * 10 + [kind] + ['received'] * 10
    account, told = play(kinds, counter=counter, sequence=sequence)
    evidences = [loss.evidence for _, loss in told]
    assert evidences == [Evidence.NONE] * 10 + [evidence] + [Evidence.NONE] * 9
    assert getattr(account.totals, evidence.name.lower()) == account.totals.lost == 1


def test_edges_are_those_of_frames_that_the_box_finished() -> None:
    kinds = ['received', 'on_the_way', 'at_the_source', 'damaged', 'at_the_source', 'received']
    _, told = play(kinds)
    assert told[-1][1] == FrameLoss(4, 1, Evidence.DAMAGED, 2)


def test_a_loss_before_the_first_frame_counts() -> None:
    _, told = play(['on_the_way', 'received'])
    assert (told[0][1].lost, told[0][1].evidence) == (1, Evidence.SEQUENCE)


def test_a_wrong_label_does_not_matter_and_a_new_rate_is_learned() -> None:
    account = LossAccount(Period())
    stamp, number = 10**12, 0
    for period in (PERIOD, PERIOD // 2, 10 * PERIOD):
        account.period.forget()
        for _ in range(60):
            stamp += period
            number += 1
            assert account.frame(stamp, number, None).lost == 0 or number % 60 == 1


def test_a_counter_that_stands_still_or_leaps_is_not_believed() -> None:
    account = LossAccount(Period())
    account.counter.bits = 16
    for n in range(200):
        raw = 7 if n < 60 else (n * 7919) % 65536 if n < 120 else n
        loss = account.frame(10**12 + n * PERIOD, n, raw)
        assert loss.lost == 0
        believed = account.counter.count
        assert believed == (n if n >= 124 else -1) or 120 <= n < 124


def test_the_counter_is_unwrapped() -> None:
    account = LossAccount(Period())
    account.counter.bits = 16
    counts = []
    for n in range(65_400, 65_800):
        assert account.frame(10**12 + n * PERIOD, n, n % 65536).lost == 0
        counts.append(account.counter.count)
    assert counts[3:] == list(range(65_403, 65_800))


def test_an_outage_counts_by_time_alone() -> None:
    account, _ = play(['received'] * 50, counter=True)
    account.interrupted()
    last = WARM_UP + 50
    loss = account.frame(10**12 + 149 * PERIOD, last + 40, last + 60)
    assert (loss.lost, loss.evidence) == (99, Evidence.TIME)
    assert account.totals.time == 99 and account.counter.count == -1


def test_an_unsteady_camera_loses_nothing_by_time() -> None:
    account = LossAccount(Period(constant=False), steady=False)
    light = random.Random(4)
    stamp = 10**12
    for n in range(500):
        stamp += round(PERIOD * light.uniform(0.6, 2.5))
        assert account.frame(stamp, n, None).lost == 0
    assert account.frame(stamp + 3 * PERIOD, 503, None).evidence is Evidence.SEQUENCE


def test_a_camera_that_slows_down_in_the_dark_loses_next_to_nothing() -> None:
    account = LossAccount(Period(constant=False), steady=False)
    stamp = 10**12
    for n in range(1000):
        stamp += PERIOD * (1 + (n >= 500))
        account.frame(stamp, None, None)
    assert account.totals.lost < 5


def test_a_steady_camera_does() -> None:
    account = LossAccount(Period(constant=False), steady=False)
    for n in range(200):
        account.frame(10**12 + n * PERIOD, None, None)
    assert account.frame(10**12 + 202 * PERIOD, None, None).lost == 2


def test_ten_thousand_frames_with_the_jitter_of_a_real_rig() -> None:
    dice = random.Random(3)
    kinds = ['received'] * 10_000
    for place in dice.sample(range(1, 9_999), 1_000):
        kinds[place] = dice.choice(['on_the_way', 'at_the_source'])
    account, told = play(kinds, jitter_ms=2.0)
    assert [(n, loss.lost, loss.damaged) for n, loss in told] == truth(kinds)
    assert account.totals.lost == 1_000


def test_half_an_hour_at_60_frames_per_second_with_the_jitter_of_a_real_rig() -> None:
    dice = random.Random(4)
    kinds = ['received'] * 108_000
    for place in dice.sample(range(1, 107_999), 1_000):
        kinds[place] = 'at_the_source'
    _, told = play(kinds, jitter_ms=2.0, period=1e9 / 60)
    assert [(n, loss.lost, loss.damaged) for n, loss in told] == truth(kinds)
