# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The account of lost frames, against streams of which every loss is known."""
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product
import random
from threading import Event

from hypothesis import given
from hypothesis import strategies as st
from miniscope_ros.acquisition.frame_accounting import FrameAccounting
from miniscope_ros.acquisition.loss import FrameLoss, LossAccount
from miniscope_ros.acquisition.period import Period
from miniscope_ros.acquisition.ros_clock import RosTime
from miniscope_ros.model import Evidence, NEW_RATE_FRAMES
from miniscope_ros.sources.camera import CameraSource
import pytest

MS = 1_000_000
PERIOD = 50_607_000  # a scope labelled 20 frames/s
WARM_UP = 20


def play(kinds: list[str], *, jitter_ms: float = 0.0, seed: int = 1, counter: bool = False,
         sequence: bool = True, account: LossAccount | None = None, period: float = PERIOD,
         exact: bool = False) -> tuple[LossAccount, list[tuple[int, FrameLoss]]]:
    """
    Run a stream through an account; return what it said before each received period.

    jitter_ms is the standard deviation of the intervals.

    A kind is what becomes of a period: received, guessed (received with a bad stamp, which was
    replaced by a guess), late (the same, by a late host), on_the_way, at_the_source, damaged.
    """
    jitter = random.Random(seed)
    account = account or LossAccount(Period())
    account.counter.exact = exact
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
            values = (stamp + (kind == 'late') * round(0.95 * period), *values[1:])
            told.append((n, account.frame(*values, predicted=kind in ('guessed', 'late'))))
    return account, told


def truth(kinds: list[str], numbered: bool = True) -> list[tuple[int, int, int]]:
    """
    Return index, lost and damaged before it for every received period.

    A loss of one frame that time alone shows is reported by the second frame that shows it, with
    guesses by the third, but before the first frame of all at once. Without numbers (numbered
    false) time alone shows each frame that did not arrive.
    """
    result, lost, damaged = [], 0, 0
    hidden, shown = 0, []  # what is not reported, and how many of it the frames in a row show
    for n, kind in enumerate(kinds):
        if kind in ('received', 'guessed'):
            before = shown[-1] if shown else 0
            shown = [*shown, hidden] if hidden else []
            needed = 3 if kind == 'guessed' else 1 if hidden - before > 1 else 2
            if not result and kind == 'received':
                needed = 1  # the first frame of the acquisition
            told = min(shown[-needed:]) if len(shown) >= needed else 0
            shown = [one - told for one in shown]
            while 0 in shown:
                shown = shown[shown.index(0) + 1:]
            if needed == 1:
                told, shown = hidden, []
            result.append((n, lost + told, damaged))
            hidden -= told
            lost = damaged = 0
        elif kind == 'at_the_source' or kind == 'on_the_way' and not numbered:
            hidden += 1
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
    expected = truth(kinds, numbered=sequence or counter)
    assert [(n, loss.lost, loss.damaged) for n, loss in told] == expected
    # After the last frame only what came in damaged is known of.
    last = max((n for n, _ in told), default=-1)
    trailing = kinds[last + 1:].count('damaged')
    assert account.totals.lost == sum(loss.lost for _, loss in told) + trailing
    unreported = kinds[:last + 1].count('received') + account.totals.lost - trailing
    assert 0 <= last + 1 - unreported <= 1  # one loss, shown by the last frame alone


@given(
    st.lists(st.sampled_from(
        ['received'] * 3 + ['guessed'] * 3 + ['on_the_way', 'at_the_source', 'damaged']),
        max_size=200),
    st.integers(0, 1000), st.booleans())
def test_what_a_guess_cannot_tell_the_next_real_stamp_does(
        kinds: list[str], seed: int, counter: bool) -> None:
    _, told = play(kinds, jitter_ms=2.0, seed=seed, counter=counter)
    assert [(n, loss.lost, loss.damaged) for n, loss in told] == truth(kinds)


@given(st.lists(st.sampled_from([
    ['received'], ['guessed'] * 3, ['late', 'received'], ['late', 'late', 'guessed']])))
def test_a_guess_that_is_late_is_no_loss(kinds: list[list[str]]) -> None:
    account, _ = play(sum(kinds, []), jitter_ms=2.0)
    assert account.totals.lost == 0


def test_guesses_without_end_tell_at_the_third() -> None:
    kinds = ['received'] * 10 + ['guessed'] * 15 + ['at_the_source'] * 30 + ['guessed'] * 10
    account, told = play(kinds)
    assert account.totals.time == 30
    assert [n for n, loss in told if loss.lost] == [10 + 15 + 30 + 2]


def test_what_an_exact_counter_tells_before_a_guess_is_told_once() -> None:
    kinds = ['received'] * 10 + ['on_the_way'] * 2 + ['guessed'] + ['received'] * 5
    account, told = play(kinds, counter=True, exact=True, sequence=False)
    assert [(n, loss.lost, loss.evidence) for n, loss in told if loss.lost] == [
        (12, 2, Evidence.COUNTER)]
    assert account.totals.lost == 2 and account.counter.count == WARM_UP + 10 + 2 + 1 + 5


@pytest.mark.parametrize('kinds', [
    ['damaged', 'guessed'],  # damaged frames are known without a number
    ['at_the_source', 'guessed', 'guessed', 'late'],  # the third of which looks like two
])
def test_a_loss_before_a_guess_is_told_once(kinds: list[str]) -> None:
    account, _ = play(['received'] * 10 + kinds + ['received'] * 5, sequence=False)
    assert account.totals.lost == 1


def test_an_outage_that_ends_with_a_guess_is_told_with_it() -> None:
    account, _ = play(['received'] * 50)
    account.stream_restarted()
    loss = account.frame(10**12 + 149 * PERIOD, 5, None, predicted=True)
    assert (loss.lost, loss.evidence) == (99, Evidence.TIME)
    assert account.frame(10**12 + 150 * PERIOD, 6, None).lost == 0


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
    late = evidence is Evidence.TIME  # one that time alone shows is reported by the next frame
    assert evidences == [Evidence.NONE] * (10 + late) + [evidence] + [Evidence.NONE] * (9 - late)
    uncertain = [place for place, (_, loss) in enumerate(told) if loss.uncertainty]
    assert uncertain == [10] * late
    assert getattr(account.totals, evidence.name.lower()) == account.totals.lost == 1


def test_edges_are_those_of_frames_that_the_box_finished() -> None:
    kinds = ['received', 'on_the_way', 'at_the_source', 'damaged', 'at_the_source', 'received']
    _, told = play(kinds)
    assert told[-1][1] == FrameLoss(4, 1, Evidence.DAMAGED, 2)


def test_a_loss_before_the_first_frame_counts() -> None:
    _, told = play(['on_the_way', 'received'])
    assert (told[0][1].lost, told[0][1].evidence) == (1, Evidence.SEQUENCE)


@dataclass
class RateChange:
    """
    A stream whose rate is changed while one of its frames is exposed, and what was told of it.

    Intervals are numbered by the period in which they begin; the change is sent in period 0.
    """

    old: float  # frames/s
    new: float
    delay: int  # the first interval that is new
    lost: dict[int, str]  # by period
    seed: int = 1
    late: int = 0  # periods by which the host is behind when it sends the change

    def __post_init__(self) -> None:
        dice = random.Random(self.seed)
        times = [10.0 ** 12]
        for n in range(-40, 60):
            period = 1e9 / (self.old if n < self.delay else self.new)
            if n == self.delay - 1:  # a mixed one
                period += dice.random() * (1e9 / self.old - period)
            times.append(times[-1] + period)
        self.stamps = {n: round(time + dice.gauss(0, 2 * MS / 2 ** 0.5))
                       for n, time in enumerate(times, -40)}
        self.sent = round(times[40] + dice.random() * (times[41] - times[40]))

    def told(self, published_from: int) -> dict[int, int]:
        """Return how many were lost before each published frame, by its period."""
        account = LossAccount(Period())
        told, sequence, begun = {}, 0, False
        for n, stamp in self.stamps.items():
            if n == 1 - self.late:
                account.period.change(self.sent)
            sequence += self.lost.get(n) != 'at_the_source'
            if n in self.lost:
                continue
            if n < published_from:
                account.observe(stamp, sequence, None)
                continue
            if not begun:
                account.begin(fresh=False)
                begun = True
            told[n] = account.frame(stamp, sequence, None).lost
        return told

    def truth(self, published_from: int, unknown: tuple[int, ...] = ()) -> dict[int, int]:
        """
        Return how many were lost before each frame.

        Before the unknown ones the period is not known, and time shows nothing.
        """
        begin = max(n for n in self.stamps if n < published_from and n not in self.lost) + 1
        kinds = {}
        for n in range(begin, max(self.stamps) + 1):
            kind = self.lost.get(n, 'received')
            following = next((k for k in range(n, max(self.stamps) + 1) if k not in self.lost), n)
            if kind != 'at_the_source' or following not in unknown:
                kinds[n] = kind
        places = list(kinds)
        return {places[place]: lost for place, lost, _ in truth(list(kinds.values()))}


RATES = (10, 15, 20, 25, 30)
CHANGES = pytest.mark.parametrize('old, new', [*permutations(RATES, 2), (10, 60), (60, 10)])
LOSSES: list[dict[int, str]] = [
    {}, {-1: 'at_the_source'}, {0: 'at_the_source'}, {1: 'at_the_source'},
    {1: 'on_the_way', 2: 'at_the_source'}, {4: 'at_the_source', 6: 'at_the_source'},
    {5: 'on_the_way', 8: 'on_the_way'}]
AFTER: dict[int, str] = {20: 'at_the_source', 24: 'on_the_way', 25: 'at_the_source'}


def changes(old: float, new: float) -> Iterator[RateChange]:
    """Yield changes that take effect sooner or later, with losses about them and after."""
    for delay, seed, near in product((1, 2, 3), range(5), LOSSES):
        yield RateChange(old, new, delay, {**near, **AFTER}, seed)


@CHANGES
def test_a_rate_changed_while_inactive_is_known_from_the_first_frame(
        old: float, new: float) -> None:
    for change in changes(old, new):
        whole = [n for n in change.stamps if n > 0 and n not in change.lost]
        first = whole[NEW_RATE_FRAMES]  # a source throws away as many
        assert change.told(first) == change.truth(first), change


@CHANGES
def test_a_rate_changed_while_active_makes_no_loss(old: float, new: float) -> None:
    for change in changes(old, new):
        whole = [n for n in change.stamps if n > 0 and n not in change.lost]
        unknown = tuple(whole[:NEW_RATE_FRAMES])  # in which the sequence alone tells
        assert change.told(-20) == change.truth(-20, unknown), change


@pytest.mark.parametrize('late', [3, 5, 14])
@CHANGES
def test_frames_that_wait_in_the_ring_are_of_the_old_rate(
        old: float, new: float, late: int) -> None:
    lost = {2 - late: 'at_the_source', 30: 'at_the_source'}
    for delay, seed in product((1, 2, 3), range(5)):
        change = RateChange(old, new, delay, lost, seed, late)
        assert change.told(-20) == change.truth(-20), change


def test_of_two_changes_at_once_the_last_counts() -> None:
    account = LossAccount(Period())
    stamp = 10**12
    for n, period in enumerate([PERIOD] * 30 + [PERIOD // 3] * 4 + [2 * PERIOD] * 30):
        stamp += period
        if n in (29, 33):
            account.period.change(stamp + 1)
        assert account.frame(stamp, None, None).lost == 0
    assert account.period.ns == 2 * PERIOD


def test_a_wrong_label_does_not_matter() -> None:
    account = LossAccount(Period())
    for n in range(60):
        assert account.frame(10**12 + n * 10 * PERIOD, None, None).lost == 0
    assert account.period.ns == 10 * PERIOD


def test_a_counter_that_stands_still_or_leaps_is_not_believed() -> None:
    account = LossAccount(Period())
    account.counter.bits = 16
    for n in range(200):
        raw = 7 if n < 60 else (n * 7919) % 65536 if n < 120 else n
        loss = account.frame(10**12 + n * PERIOD, n, raw)
        assert loss.lost == 0
        believed = account.counter.count
        assert believed == (n if n >= 124 else -1) or 120 <= n < 124


@pytest.mark.parametrize('exact', [False, True])
def test_a_counter_raises_the_number_only_if_it_is_exact(exact: bool) -> None:
    account = LossAccount(Period())
    account.counter.exact = exact
    for n in range(40):
        loss = account.frame(10**12 + n * PERIOD, n, n + (n >= 20))
        raised = exact and n == 20
        assert (loss.lost, loss.edges) == (raised, raised)
        assert loss.evidence is (Evidence.COUNTER if raised else Evidence.NONE)


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
    account.stream_restarted()
    last = WARM_UP + 50
    loss = account.frame(10**12 + 149 * PERIOD, last + 40, last + 60)
    assert (loss.lost, loss.evidence) == (99, Evidence.TIME)
    assert account.totals.time == 99 and account.counter.count == -1


def camera_account() -> LossAccount:
    return FrameAccounting(CameraSource(Event(), '0'), RosTime()).loss


def test_an_unsteady_camera_loses_nothing_by_time() -> None:
    account = camera_account()
    light = random.Random(4)
    stamp = 10**12
    for n in range(500):
        stamp += round(PERIOD * light.uniform(0.6, 2.5))
        assert account.frame(stamp, n, None).lost == 0
    assert account.frame(stamp + 3 * PERIOD, 503, None).evidence is Evidence.SEQUENCE


def test_a_camera_that_slows_down_in_the_dark_loses_next_to_nothing() -> None:
    account = camera_account()
    stamp = 10**12
    for n in range(1000):
        stamp += PERIOD * (1 + (n >= 500))
        account.frame(stamp, None, None)
    assert account.totals.lost < 5


def test_a_steady_camera_does() -> None:
    account = camera_account()
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
