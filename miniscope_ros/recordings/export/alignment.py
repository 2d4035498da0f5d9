# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Sync edges as another recorder saw them, matched to the frames that they belong to.

Both clocks see the same edges, but each may miss some: frames that were lost on the way have an
edge, those that the box never finished have none, and the other recorder may begin late. The
intervals between the edges differ by jitter, and by whole periods where something was lost. The
offset between both is found by that pattern: first roughly, by the gaps that both have where the
box never finished a frame, then exactly, by a line through the matched edges.
"""

from __future__ import annotations

from collections.abc import Iterator
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from miniscope_ros.errors import ConfigurationError
from miniscope_ros.recordings.edges.channel import LEAST_EDGES, Times
import numpy as np
from numpy.typing import NDArray

MOST_DRIFT = 500e-6
"""Clocks of computers and recorders differ by less (crystals: 100 ppm at most each)."""

_GROUP = 12  # gaps by which the offset is found
_CANDIDATES = 5
_TOLERANCE = 0.2  # of a period: edges closer than this are taken for one
_LEAST_MATCHED = 0.9  # share of the edges in the span that both recorded
_LAGS = 20  # periods by which the match is shifted to see whether it fits as well
_LEAST_DIFFERENCE = 3  # so many fewer gaps have to agree there
_LEAST_AGREEING = 0.7  # share of the gaps
_ROUNDS = 8  # of matching and fitting


@dataclass(frozen=True)
class Alignment:
    """How the clock of another recorder is related to that of the frames."""

    frame: NDArray[np.intp]  # (m,) rows of the frames that have an edge
    edge: NDArray[np.intp]  # (m,) the edges in the other recording
    frames: int  # frames with an edge in the recording
    edges: int  # edges in the other one
    offset_s: float  # time on the other clock at time 0 of the frames
    offset_error_s: float  # standard error
    drift: float  # rate of the other clock relative to that of the frames, less 1
    drift_error: float  # standard error
    residual_s: float  # standard deviation of the matched edges from the line
    residuals_s: Times  # (m,) of the matched edges from the line
    times_s: Times  # on the other clock, of every frame

    def text(self) -> str:
        """Return what a person must know, in one paragraph."""
        return (
            f'{len(self.frame)} of {self.frames} frames and of {self.edges} edges are matched '
            f'({self.frames - len(self.frame)} frames and {self.edges - len(self.edge)} edges '
            f'are not); offset {self.offset_s:.6f} +- {self.offset_error_s:.6f} s, drift '
            f'{self.drift * 1e6:+.3f} +- {self.drift_error * 1e6:.3f} ppm, residual '
            f'{self.residual_s * 1e3:.3f} ms')


def align(frame_s: Times, edge_index: NDArray[np.int64], edges_s: Times) -> Alignment:
    """
    Match edges to frames.

    Parameters
    ----------
    frame_s
        When each frame began [s], on the computer's clock.
    edge_index
        The index of each frame's edge on the sync output; -1 where it has none.
    edges_s
        The edges as the other recorder saw them [s], both directions, rising.

    Raises
    ------
    ConfigurationError
        If the pattern of the edges is not that of the frames, or if it fits in several places.

    """
    rows = np.flatnonzero(edge_index >= 0)
    if len(rows) < LEAST_EDGES or len(edges_s) < LEAST_EDGES:
        raise ConfigurationError(
            f'{len(rows)} frames have a sync edge and {len(edges_s)} edges are given; at least '
            f'{LEAST_EDGES} of both are needed')
    frames_s, index = frame_s[rows], edge_index[rows]
    period_s = _period(frames_s, index)
    theirs_s = float(np.median(np.diff(edges_s)))
    if not 0.8 < theirs_s / period_s < 1.25:
        raise ConfigurationError(
            f'the edges are {theirs_s * 1e3:.2f} ms apart and the frames {period_s * 1e3:.2f} ms: '
            'these are not the edges of this recording, or not both directions of them, or not '
            'in seconds')
    fits = [_matched(frames_s, edges_s, anchor_s, offset_s, period_s)
            for anchor_s, offset_s in _candidates(frames_s, index, edges_s, period_s)]
    gaps_s = _gaps(frames_s, index, period_s)

    def worth(fit: _Fit) -> tuple[int, int]:
        return _agreeing(gaps_s, edges_s, fit.line, period_s, 0)[0], len(fit.mine)

    best = max(fits, key=worth)
    _check(frames_s, edges_s, best, period_s)
    _check_pattern(gaps_s, index, edges_s, best, period_s)
    return _result(frame_s, rows, edges_s, best.mine, best.theirs)


def _period(frames_s: Times, index: NDArray[np.int64]) -> float:
    steps = np.diff(index)
    usable = steps > 0
    if not usable.any():
        raise ConfigurationError('the sync edges of the frames do not count up')
    return float(np.median(np.diff(frames_s)[usable] / steps[usable]))


def _candidates(frames_s: Times, index: NDArray[np.int64], edges_s: Times, period_s: float,
                ) -> Iterator[tuple[float, float]]:
    """Yield times of frames and the offsets that the clocks may have there [s]."""
    if index[0] < len(edges_s):  # the other recorder saw all edges from the first one on
        yield float(frames_s[0]), float(edges_s[index[0]] - frames_s[0])
    # Where the box never finished a frame both clocks see a gap. Of a group of gaps the offsets
    # to all the other gaps are collected; the right one comes up once for each of the group.
    mine = _gaps(frames_s, index, period_s)
    theirs = _gaps(edges_s, np.arange(len(edges_s)), period_s)
    found = []
    for begin in range(0, len(mine), _GROUP):
        group = mine[begin:begin + _GROUP]
        offsets = np.sort((theirs - group[:, None]).ravel())
        if not len(offsets):
            break
        within = np.searchsorted(offsets, offsets + period_s) - np.arange(len(offsets))
        place = int(within.argmax())
        count = int(within[place])
        found.append((count, float(group.mean()),
                      float(np.median(offsets[place:place + count]))))
    for _, anchor, offset in sorted(found, reverse=True)[:_CANDIDATES]:
        yield anchor, offset


def _gaps(times_s: Times, index: NDArray[np.int64], period_s: float) -> Times:
    """Return when an edge is missing between two that follow each other [s]."""
    follows = np.diff(index) == 1
    missing = np.diff(times_s) > 1.5 * period_s
    return np.asarray(times_s[:-1][follows & missing] + period_s, np.float64)


def _distance(edges_s: Times, times_s: Times) -> Times:
    """Return how far times are from the nearest edges [s]."""
    return np.abs(edges_s[_nearest(edges_s, times_s)] - times_s)


def _nearest(edges_s: Times, times_s: Times) -> NDArray[np.intp]:
    after: NDArray[np.intp] = np.clip(np.searchsorted(edges_s, times_s), 1, len(edges_s) - 1)
    closer = times_s - edges_s[after - 1] < edges_s[after] - times_s
    return np.asarray(after - closer, np.intp)


class _Fit(NamedTuple):
    """Matched frames and edges, and the line through them: offset [s] and drift."""

    mine: NDArray[np.intp]
    theirs: NDArray[np.intp]
    line: tuple[float, float]


def _matched(frames_s: Times, edges_s: Times, anchor_s: float, offset_s: float, period_s: float,
             ) -> _Fit:
    """
    Match frames and edges from where the clocks have an offset.

    The line begins there and grows outwards: so far the drift cannot have carried an edge to its
    neighbour.
    """
    line = (offset_s, 0.0)
    reach = _TOLERANCE / 2 * period_s / MOST_DRIFT
    mine: NDArray[np.intp] = np.zeros(0, np.intp)
    theirs: NDArray[np.intp] = mine
    while True:
        near = np.flatnonzero(np.abs(frames_s - anchor_s) <= reach)
        for _ in range(_ROUNDS):
            chosen, theirs = _pairs(frames_s[near], edges_s, line, period_s)
            before, mine = len(mine), near[chosen]
            if len(mine) < LEAST_EDGES // 2:
                break
            line = _line(frames_s[mine], edges_s[theirs])
            if len(mine) == before:
                break
        if len(near) == len(frames_s):
            return _Fit(mine, theirs, line)
        reach *= 2


def _pairs(frames_s: Times, edges_s: Times, line: tuple[float, float], period_s: float,
           ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return frames and edges that are each other's nearest, and near enough."""
    expected = frames_s + line[0] + line[1] * frames_s
    theirs = _nearest(edges_s, expected)
    mine = np.arange(len(frames_s))
    mutual = _nearest(expected, edges_s[theirs]) == mine if len(expected) > 1 else mine == mine
    near = np.abs(edges_s[theirs] - expected) < _TOLERANCE * period_s
    chosen = np.flatnonzero(mutual & near)
    return chosen, theirs[chosen]


def _line(frames_s: Times, edges_s: Times) -> tuple[float, float]:
    middle = float(frames_s.mean())
    slope, height = np.polyfit(frames_s - middle, edges_s - frames_s, 1)
    return float(height - slope * middle), float(slope)


def _check(frames_s: Times, edges_s: Times, fit: _Fit, period_s: float) -> None:
    """Raise ConfigurationError if too few are matched, or the clocks differ too much."""
    expected = frames_s + fit.line[0] + fit.line[1] * frames_s
    common = int(((expected > edges_s[0] - period_s / 2)
                  & (expected < edges_s[-1] + period_s / 2)).sum())
    if common < LEAST_EDGES or len(fit.mine) < _LEAST_MATCHED * common:
        raise ConfigurationError(
            f'only {len(fit.mine)} of {common} edges that both should have seen fit to each '
            'other: this is not the file of this recording, or it is damaged')
    if abs(fit.line[1]) > MOST_DRIFT:
        raise ConfigurationError(
            f'the clocks would differ by {fit.line[1] * 1e6:.0f} ppm, more than clocks do '
            f'({MOST_DRIFT * 1e6:.0f}): this is not the file of this recording')


def _agreeing(gaps_s: Times, edges_s: Times, line: tuple[float, float], period_s: float,
              lag: int) -> tuple[int, int]:
    """Return how many gaps are gaps of the edges, too, some periods later, and of how many."""
    expected = gaps_s + line[0] + line[1] * gaps_s + lag * period_s
    common = expected[(expected > edges_s[0]) & (expected < edges_s[-1])]
    return int((_distance(edges_s, common) > _TOLERANCE * period_s).sum()), len(common)


def _check_pattern(gaps_s: Times, index: NDArray[np.int64], edges_s: Times, fit: _Fit,
                   period_s: float) -> None:
    """
    Raise ConfigurationError if the gaps do not agree, or agree as well some periods away.

    Where there are too few the edges are known by their number, if the other recorder saw as
    many as the box made.
    """
    agreeing, common = _agreeing(gaps_s, edges_s, fit.line, period_s, 0)
    if agreeing < _LEAST_AGREEING * common:
        raise ConfigurationError(
            f'only {agreeing} of {common} gaps between the frames are gaps between the edges, '
            'too: this is not the file of this recording')
    others = max(_agreeing(gaps_s, edges_s, fit.line, period_s, lag)[0]
                 for lag in range(-_LAGS, _LAGS + 1) if lag)
    numbered = (len(edges_s) == index[-1] + 1
                and fit.theirs[0] == index[fit.mine[0]])
    if agreeing < others + _LEAST_DIFFERENCE and not numbered:
        raise ConfigurationError(
            f'the edges are too regular to be told apart by their pattern ({common} gaps), and '
            f'{len(edges_s)} edges are given where the box made {index[-1] + 1} until the last '
            'frame; give all of them, from before the first frame on')


def _result(frame_s: Times, rows: NDArray[np.intp], edges_s: Times, mine: NDArray[np.intp],
            theirs: NDArray[np.intp]) -> Alignment:
    x, y = frame_s[rows[mine]], edges_s[theirs]
    offset_s, drift = _line(x, y)
    residual = y - x - offset_s - drift * x
    deviation = float(residual.std(ddof=2))
    spread = float(((x - x.mean()) ** 2).sum())
    times_s = frame_s + offset_s + drift * frame_s
    return Alignment(
        rows[mine], theirs, len(rows), len(edges_s), offset_s,
        deviation * float(np.sqrt(1 / len(x) + x.mean() ** 2 / spread)), drift,
        deviation / float(np.sqrt(spread)), deviation, residual, times_s)


def write_aligned(path: Path, frame_s: Times, alignment: Alignment, rows: NDArray[np.intp],
                  ) -> None:
    """
    Write for each frame its time on the other clock, and its edge where one is matched.

    Parameters
    ----------
    path
        The CSV file.
    frame_s
        Shape (n,): when each frame began [s].
    alignment
        Of these n frames.
    rows
        Shape (m,): the frames that are in the export; they are numbered from 0 on.

    """
    edge = np.full(len(frame_s), -1)
    edge[alignment.frame] = alignment.edge
    with path.open('w', encoding='ascii', newline='') as file:
        table = csv.writer(file, lineterminator='\n')
        table.writerow(('Frame Number', 'Time Stamp (ms)', 'Other Clock (s)', 'Other Edge'))
        for number, (mine, other, index) in enumerate(zip(
                frame_s[rows].tolist(), alignment.times_s[rows].tolist(), edge[rows].tolist(),
                strict=True)):
            table.writerow((number, repr(mine * 1000), repr(other), index))
