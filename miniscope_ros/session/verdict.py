# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Compares what was published with what is in the bag, topic by topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from miniscope_ros.recordings.certificate import as_text, Contents
from miniscope_ros.session.published import Published
from miniscope_ros.session.recorder import Books
from miniscope_ros.session.topics import PER_FRAME

_JOIN_SLACK = 60
"""[frames] Subscriptions to a scope that streams already do not all begin at the same frame."""


@dataclass
class Recorded:
    """What is in the bag, and who says so."""

    counts: Mapping[str, int]
    runs: Mapping[str, list[list[int]]]
    repeated: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    counted_by: str = 'recorder'


def by_books(books: Books) -> Recorded:
    """Return what the built-in recorder says, which counts only what the disk took."""
    return Recorded(books.recorded, books.runs, books.repeated, books.lost)


def by_reading(contents: Contents, books: Books | None) -> Recorded:
    """Return what the files say."""
    return Recorded(
        contents.counts, {name: runs.as_list() for name, runs in contents.runs.items()},
        books.repeated if books else {}, books.lost if books else {}, 'reading')


def missing_frames(
        scope: str, published: Published, recorded: Recorded, *, whole: bool) -> list[str]:
    """
    Return which messages of a scope are missing in the bag, in words.

    whole: the recording held the activation's first and its last frame. Else it joined in and
    left, and messages of one frame may lie on either side of its borders.
    """
    problems = []
    topic = f'{scope}/frame_info'
    runs = recorded.runs.get(topic, [])
    gaps = sum(last - first + 1 - count for first, last, count in runs)
    wanted = published.runs.runs
    if gaps:
        problems.append(f'{topic}: {gaps} frames are missing between {as_text(runs)}')
    if whole and wanted and [run[:2] for run in runs] != [[run.first, run.last]
                                                          for run in wanted]:
        problems.append(f'{topic}: recorded {as_text(runs)}, published '
                        f'{as_text(published.runs.as_list())}')
    if not whole and wanted and (not runs or runs[-1][1] < wanted[-1].last):
        problems.append(f'{topic}: recorded {as_text(runs)}, but frame {wanted[-1].last} was '
                        'published before the end')
    if whole and wanted and wanted[0].first:
        problems.append(f'{topic}: the first published frame was {wanted[0].first}, not 0')
    frames = sum(last - first + 1 for first, last, _ in runs)
    slack = 0 if whole else _JOIN_SLACK
    for name in PER_FRAME:
        count = recorded.counts.get(f'{scope}/{name}', 0)
        if abs(count - frames) > slack:
            problems.append(f'{scope}/{name}: {count} of {frames} messages are in the bag')
    for name in (*PER_FRAME, 'imu/data', 'orientation_rows'):
        lost = recorded.lost.get(f'{scope}/{name}', 0)
        if lost:
            problems.append(f'{scope}/{name}: {lost} messages were lost on their way to the disk')
    return problems


def topic_table(
        recorded: Recorded, scopes: Mapping[str, Published], topics: Sequence[str],
) -> dict[str, Any]:
    """Return what the certificate says of each topic."""
    table: dict[str, Any] = {}
    for topic in sorted({*topics, *recorded.counts}):
        count = recorded.counts.get(topic, 0)
        lost: int | None = recorded.lost.get(topic, 0) \
            if recorded.counted_by == 'recorder' else None
        scope, _, name = topic.rpartition('/')
        published: int | None = None
        if name in PER_FRAME and scope in scopes:
            published = max(scopes[scope].frames, count)
            lost = published - count
        elif lost is not None:
            published = count - recorded.repeated.get(topic, 0) + lost
        runs = recorded.runs.get(topic)
        table[topic] = {
            'published': published, 'recorded': count, 'lost': lost,
            'repeated': recorded.repeated.get(topic, 0),
            'first_index': runs[0][0] if runs else None,
            'last_index': runs[-1][1] if runs else None, 'runs': runs}
    return table
