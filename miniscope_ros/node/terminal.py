# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the terminal says of an acquisition: one line each, and not again within 10 s."""

from __future__ import annotations

from collections.abc import Mapping
import logging
import math
import time

from miniscope_ros.acquisition.events import Status
from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.acquisition.loss import LossTotals
from miniscope_ros.acquisition.states import CaptureState
from miniscope_ros.daq.control import LIGHTS
from miniscope_ros.display.renderer import PictureStatistics
from miniscope_ros.model import ReadingStatus, SourceInfo
from miniscope_ros.node.settings import TopicSettings

_log = logging.getLogger(__name__)

REPEAT_S = 10.0
"""A kind of line is said at most this often."""

SATURATED_SHARE = 0.01
"""Share of saturated pixels from which on there is a warning."""

_READINGS = {
    ReadingStatus.NONE: 'no orientation reading yet',
    ReadingStatus.PUBLISHED: 'orientation published',
    ReadingStatus.REPEATED: 'orientation published',
    ReadingStatus.INVALID: 'orientation not valid yet',
    ReadingStatus.STALE: 'orientation has not changed yet',
}


class Terminal:
    """
    Reports what a person at the terminal must know, from the status of each diagnostics period.

    streaming_began is called in the capture thread, the rest on the executor.
    """

    def __init__(self) -> None:
        self._said: dict[str, float] = {}  # when a kind of line was said last, monotonic [s]
        self._lost: LossTotals | None = None  # as said last
        self._skipped = 0  # as said last
        self._health = 0  # level of the orientation as said last
        self._saturated = False

    def streaming_began(
        self, info: SourceInfo | None, settings: TopicSettings, frame: Frame,
        controls: Mapping[str, tuple[float, int]],
    ) -> None:
        """Say that the first frame was published, and how."""
        height, width = frame.sample.image.shape[:2]
        rate = settings.frame_rate
        if rate is None:
            rate = info.frame_rate if info is not None else math.nan
        lights = ''.join(
            f', {name} {value:g}' for name, (value, _) in controls.items() if name in LIGHTS)
        reading = _READINGS[frame.reading_status]
        if info is not None and not info.has_orientation:
            reading = 'no orientation sensor'
        at = f' at {rate:g} frames/s' if rate > 0 else ''
        _log.info('streaming began: %dx%d%s%s, %s', width, height, at, lights, reading)

    def report(
        self, status: Status | None, statistics: PictureStatistics | None, skipped: int,
    ) -> None:
        """Say what has gone wrong since the last call; status is None while nothing is open."""
        if status is None or status.state is not CaptureState.ACTIVE:
            self._lost = None
            self._skipped = self._health = 0
            self._saturated = False
            return
        self._report_losses(status)
        self._report_orientation(status)
        self._report_saturation(statistics)
        self._report_skipped(skipped)

    def _may_say(self, kind: str) -> bool:
        """Return whether a kind of line may be said now, and note that it is."""
        now = time.monotonic()
        if now - self._said.get(kind, -math.inf) < REPEAT_S:
            return False
        self._said[kind] = now
        return True

    def _report_losses(self, status: Status) -> None:
        totals = status.losses
        if self._lost is None or totals.lost < self._lost.lost:
            self._lost = LossTotals()  # an acquisition has begun
        lost = totals.lost - self._lost.lost
        if lost <= 0 or not self._may_say('loss'):
            return
        evidence = ', '.join(
            f'{count} by {name}' for name in ('sequence', 'counter', 'time', 'damaged')
            if (count := getattr(totals, name) - getattr(self._lost, name)) > 0)
        _log.warning('frames are being lost: %d more (%s), %d of %d in this acquisition', lost,
                     evidence or 'evidence unknown', totals.lost, status.captured)
        self._lost = totals

    def _report_orientation(self, status: Status) -> None:
        level, message = status.orientation.level, status.orientation.message
        if level == self._health:
            return
        if level and not self._may_say('orientation'):
            return
        if level:
            _log.warning('orientation: %s', message)
        elif self._health:
            _log.info('orientation is published again')
        self._health = level

    def _report_saturation(self, statistics: PictureStatistics | None) -> None:
        share = statistics.saturated_share if statistics is not None else 0.0
        saturated = share > SATURATED_SHARE
        if saturated and not self._saturated and not self._may_say('saturation'):
            return
        if saturated and not self._saturated:
            _log.warning('%.1f %% of the pixels are saturated: lower led, gain or exposure',
                         100 * share)
        self._saturated = saturated

    def _report_skipped(self, skipped: int) -> None:
        if skipped < self._skipped:
            self._skipped = 0
        if skipped > self._skipped and self._may_say('skipped'):
            _log.warning(
                'image_display skips pictures, %d more: the computer is too slow for all of '
                'them; image_raw comes first (lower display.max_rate)', skipped - self._skipped)
            self._skipped = skipped
