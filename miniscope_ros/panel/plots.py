# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
What the page plots besides the pictures: intervals, losses and orientation, frame by frame.

Like the pictures this is subscribed to only while somebody looks. The samples of the last minute
are kept for a page that is opened later.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from miniscope_msgs.msg import FrameInfo, OrientationRow
from miniscope_ros.model import Content, Evidence, ReadingStatus, StampSource
from miniscope_ros.panel.ros_link import RosLink
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

SPAN_S = 60.0
_QOS = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
_MOST_SAMPLES = 20_000  # the most samples that are kept, whatever their stamps say

Sample = tuple[int, list[float]]
"""A number that rises by 1, and what the page plots."""


def _name(kind: type[Content] | type[Evidence] | type[ReadingStatus] | type[StampSource],
          number: int) -> str:
    """Return the name of a number in a message, also of one that a newer node has added."""
    try:
        return kind(number).name.lower()
    except ValueError:
        return str(number)


class FrameSamples:
    """The frames and orientations of one scope; to be used in the event loop."""

    def __init__(self, link: RosLink, scope: str) -> None:
        self._link = link
        self._scope = scope
        self._subscriptions: list[Subscription] = []
        self.frames: deque[Sample] = deque(maxlen=_MOST_SAMPLES)
        self.turns: deque[Sample] = deque(maxlen=_MOST_SAMPLES)
        self._number = 0
        self._previous_ns = 0
        self.evidences: Counter[str] = Counter()
        self.last: dict[str, Any] = {}

    def open(self) -> None:
        """Subscribe."""
        if not self._subscriptions:
            self._previous_ns = 0
            self._subscriptions = [
                self._link.subscribe(
                    FrameInfo, f'{self._scope}/frame_info', self._on_frame, _QOS),
                self._link.subscribe(
                    OrientationRow, f'{self._scope}/orientation_rows', self._on_row, _QOS)]

    def close(self) -> None:
        """Subscribe no more."""
        self._link.remove(*self._subscriptions)
        self._subscriptions = []

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _on_frame(self, frame: Any) -> None:
        stamp_ns = frame.header.stamp.sec * 1_000_000_000 + frame.header.stamp.nanosec
        if frame.frame_index == 0:
            self.evidences.clear()
        elif self._previous_ns:
            interval_ms = (stamp_ns - self._previous_ns) / 1e6
            keep(self.frames, (
                self._next(), [stamp_ns / 1e6, round(interval_ms, 3), frame.lost_before]))
        self._previous_ns = stamp_ns
        if frame.lost_before:
            self.evidences[_name(Evidence, frame.loss_evidence)] += frame.lost_before
        self.last = {
            'frameIndex': frame.frame_index, 'captureIndex': frame.capture_index,
            'content': _name(Content, frame.content),
            'orientation': _name(ReadingStatus, frame.orientation),
            'stampSource': _name(StampSource, frame.stamp_source),
            'syncEdge': frame.sync_edge, 'inputs': frame.digital_inputs,
            'uncertainty': frame.lost_uncertainty}

    def _on_row(self, row: Any) -> None:
        stamp_ms = row.header.stamp.sec * 1e3 + row.header.stamp.nanosec / 1e6
        keep(self.turns, (self._next(), [stamp_ms, *(
            round(part, 5) for part in (row.qw, row.qx, row.qy, row.qz))]))

    def after(self, number: int) -> tuple[int, list[list[float]], list[list[float]]]:
        """Return the newest number, and the frames and turns that came after a number."""
        return self._number, after(self.frames, number), after(self.turns, number)

    def summary(self) -> dict[str, Any]:
        """Return counts since the first frame of this acquisition that was seen here."""
        return {**self.last, 'evidences': dict(self.evidences)}


def keep(samples: deque[Sample], sample: Sample) -> None:
    """Add a sample, whose first value is its stamp [ms], and drop those older than a minute."""
    samples.append(sample)
    while sample[1][0] - samples[0][1][0] > SPAN_S * 1e3:
        samples.popleft()


def after(samples: deque[Sample], number: int) -> list[list[float]]:
    """Return the samples with a higher number, oldest first."""
    newest: list[list[float]] = []
    for count, sample in reversed(samples):
        if count <= number:
            break
        newest.append(sample)
    return newest[::-1]
