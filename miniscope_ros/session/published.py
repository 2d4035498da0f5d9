# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What one scope published during a recording, by its frame_info."""

from __future__ import annotations

from collections import Counter
from enum import IntEnum
from typing import Any

from miniscope_ros.model import Content, Evidence, ReadingStatus, StampSource
from miniscope_ros.recordings.frame_index import FrameRuns

_VERDICTS: dict[str, type[IntEnum]] = {
    'loss_evidence': Evidence, 'orientation': ReadingStatus, 'stamp_source': StampSource,
    'content': Content}


class Published:
    """Counts frames and what was said of them."""

    def __init__(self) -> None:
        self.runs = FrameRuns()
        self.lost = 0  # by the scope, before they could be published
        self.capture: tuple[int, int] | None = None  # the first and the last capture_index
        self.first_stamp_ns = 0
        self.period_ns = 0  # between the first two frames
        self.verdicts: dict[str, Counter[str]] = {name: Counter() for name in _VERDICTS}
        self.begins_anew = False  # the next frame is that of another node of this name
        self._stamp_ns = 0

    @property
    def frames(self) -> int:
        """Return how many frames were published, those included that were not received here."""
        return sum(run.last - run.first + 1 for run in self.runs.runs)

    def add(self, info: Any) -> None:
        """Take a FrameInfo."""
        stamp = info.header.stamp.sec * 1_000_000_000 + info.header.stamp.nanosec
        if not self.runs.runs:
            self.first_stamp_ns = stamp
        elif self.runs.count == 1:
            self.period_ns = stamp - self._stamp_ns
        self.runs.add(info.frame_index, stamp, anew=self.begins_anew)
        if self.capture is None:
            self.capture = info.capture_index, info.capture_index
        elif self.begins_anew or stamp > self._stamp_ns:  # what DDS delivers late is not the last
            self.capture = self.capture[0], info.capture_index
        self.begins_anew = False
        self._stamp_ns = stamp
        self.lost += info.lost_before
        for name, kind in _VERDICTS.items():
            value = getattr(info, name)
            self.verdicts[name][
                kind(value).name if value in set(kind) else str(value)] += 1

    def as_dict(self) -> dict[str, Any]:
        """Return what the certificate says of the scope."""
        runs = self.runs.runs
        return {
            'published': self.frames, 'runs': self.runs.as_list(),
            'first_index': runs[0].first if runs else None,
            'last_index': runs[-1].last if runs else None,
            'first_capture_index': self.capture[0] if self.capture else None,
            'last_capture_index': self.capture[1] if self.capture else None,
            'lost_by_the_scope': self.lost,
            'verdicts': {name: dict(counts) for name, counts in self.verdicts.items()}}
