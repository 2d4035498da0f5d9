# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What /diagnostics says, in the convention of diagnostic_updater."""

from __future__ import annotations

from collections.abc import Mapping
import math
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from miniscope_ros.acquisition.events import Status
from miniscope_ros.acquisition.frame_content import describe_faults, WORDS
from miniscope_ros.acquisition.light_guard import possibly_lit
from miniscope_ros.acquisition.states import CaptureState
from miniscope_ros.display.renderer import PictureStatistics
from miniscope_ros.model import LIGHT_MAY_BE_ON

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

# Thresholds of the levels; the README lists them.
LOSS_WARN = 1e-3  # share of frames lost since the last message
LOSS_ERROR = 1e-1
RATE_TOLERANCE = 0.05
JITTER_WARN = 0.2  # jitter as a share of the period
SATURATED_WARN = 0.01  # share of pixels
CLOCK_WARN_NS = 1_000_000


class Rates:
    """Frames per second between two looks at a count."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}

    def rate(self, name: str, count: float, now: float) -> float:
        """Return by how much a count rose per second since the last call; NaN at first."""
        before = self._last.get(name)
        self._last[name] = (count, now)
        if before is None or now <= before[1] or count < before[0]:
            return math.nan
        return (count - before[0]) / (now - before[1])


class Diagnostics:
    """Makes the statuses of one node; keeps the last counts, for rates and changes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rates = Rates()
        self._seen = (0, 0)  # captured and lost at the last message
        self._faulty = 0  # pictures at the last message

    def statuses(
        self,
        status: Status | None,
        state: str,
        error: str,
        statistics: PictureStatistics | None,
        display_skipped: int,
        now: float,
    ) -> list[DiagnosticStatus]:
        """
        Return all statuses; now is a monotonic time [s].

        status is None before the first configuration, state the lifecycle state, error what the
        last transition failed with.
        """
        if status is None:
            level, text = (ERROR, error) if error else (OK, f'{state}, no device open')
            statuses = [self._make('device', '', level, text, {'state': state})]
            if possibly_lit():  # a device that was lost while lit, and is not back yet
                statuses.append(self._make('light', '', ERROR, LIGHT_MAY_BE_ON, {}))
            return statuses
        hardware = status.info.location or status.info.device_type if status.info else ''
        return [
            self._make('device', hardware, *self._device(status, state, error)),
            self._make('acquisition', hardware, *self._acquisition(status, display_skipped, now)),
            self._make('orientation', hardware, *self._orientation(status)),
            self._make('light', hardware, *self._light(status)),
            self._make('picture', hardware, *self._picture(
                status, statistics if status.state is CaptureState.ACTIVE else None)),
            self._make('time', hardware, *self._time(status)),
        ]

    def _make(
        self, part: str, hardware: str, level: bytes, message: str, values: Mapping[str, Any],
    ) -> DiagnosticStatus:
        return DiagnosticStatus(
            name=f'{self._name}: {part}', hardware_id=hardware, level=level, message=message,
            values=[KeyValue(key=key, value=_show(value)) for key, value in values.items()])

    @staticmethod
    def _device(status: Status, state: str, error: str) -> tuple[bytes, str, dict[str, Any]]:
        info = status.info
        values = {
            'lifecycle state': state, 'state': status.state.value,
            'reconnects': status.reconnects, 'head stage restarts': status.restarts}
        if info is not None:
            values |= {
                'device type': info.device_type, 'name': info.card, 'firmware': info.firmware,
                'path': info.path, 'USB port': info.location, 'transport': info.transport}
        if status.state.is_disconnected:
            return ERROR, f'disconnected: {status.error}', values
        if error or status.state is CaptureState.FAILED:
            return ERROR, error or status.error, values
        if status.restart_error:
            return ERROR, status.restart_error, values
        if info is not None and info.warnings:
            return WARN, '; '.join(info.warnings), values
        return OK, status.state.value, values

    def _acquisition(
        self, status: Status, skipped: int, now: float,
    ) -> tuple[bytes, str, dict[str, Any]]:
        lost = status.losses.lost
        captured_before, lost_before = self._seen
        self._seen = (status.captured, lost)
        captured = status.captured - captured_before
        share = (lost - lost_before) / captured if captured > 0 and lost >= lost_before else 0.0
        period = status.period_ns
        measured = 1e9 / period if period > 0 else math.nan
        rate = status.info.frame_rate if status.info else math.nan
        values = {
            'rate in [frames/s]': self._rates.rate('in', status.received, now),
            'rate out [frames/s]': self._rates.rate('out', status.published, now),
            'rate measured [frames/s]': measured, 'rate set [frames/s]': rate,
            'captured': status.captured, 'published': status.published, 'lost': lost,
            'lost by sequence': status.losses.sequence, 'lost by counter': status.losses.counter,
            'lost by time': status.losses.time, 'lost damaged': status.losses.damaged,
            'damaged since start': status.damaged, 'display skipped': skipped,
            'buffers waiting, at most': status.backlog if status.backlog >= 0 else 'unknown',
            'duration [s]': status.duration_s}
        if share >= LOSS_ERROR:
            return ERROR, f'{share:.1%} of the frames are being lost', values
        if share >= LOSS_WARN:
            return WARN, f'{share:.1%} of the frames are being lost', values
        if abs(measured / rate - 1) > RATE_TOLERANCE:
            return WARN, f'{measured:.2f} frames/s where {rate:g} are set', values
        return OK, f'{lost} of {status.captured} frames lost', values

    @staticmethod
    def _orientation(status: Status) -> tuple[bytes, str, dict[str, Any]]:
        health = status.orientation
        level = (OK, WARN, ERROR)[health.level]
        return level, health.message, {
            'state': health.state.value, 'valid share': health.valid_share,
            'last change [s]': health.unchanged_s}

    @staticmethod
    def _light(status: Status) -> tuple[bytes, str, dict[str, Any]]:
        values = {
            'active': status.state is CaptureState.ACTIVE, 'may be lit': status.may_be_lit,
            **status.lights}
        if status.may_be_lit and status.state is not CaptureState.ACTIVE:
            return ERROR, LIGHT_MAY_BE_ON, values
        return OK, 'lit' if any(status.lights.values()) else 'dark', values

    def _picture(
        self, status: Status, statistics: PictureStatistics | None,
    ) -> tuple[bytes, str, dict[str, Any]]:
        faulty = sum(status.contents.values())
        more = faulty - self._faulty if faulty >= self._faulty else faulty
        self._faulty = faulty
        if statistics is None:
            return OK, 'no frame is published', {}
        values = {
            'minimum': statistics.minimum, 'maximum': statistics.maximum,
            'mean': statistics.mean, 'saturated share': statistics.saturated_share,
            **{words: status.contents.get(content, 0) for content, words in WORDS.items()}}
        if more > 0:
            return WARN, (f'{more} faulty pictures since the last message; in this acquisition: '
                          f'{describe_faults(status.contents)}'), values
        if statistics.saturated_share > SATURATED_WARN:
            return WARN, (f'{statistics.saturated_share:.1%} of the pixels are saturated; lower '
                          'led, gain or exposure'), values
        return OK, f'mean grey level {statistics.mean:.0f}', values

    @staticmethod
    def _time(status: Status) -> tuple[bytes, str, dict[str, Any]]:
        clock = status.clock
        values = {
            'clock offset [s]': f'{clock.offset_ns / 1e9:.6f}',
            'system clock since start [ms]': clock.drift_ns / 1e6,
            'clock steps': clock.steps, 'jitter [ms]': status.jitter_ns / 1e6,
            'bad stamps': status.bad_stamps}
        if abs(clock.drift_ns) > CLOCK_WARN_NS:
            return WARN, (f'the system clock was set by {clock.drift_ns / 1e9:+.3f} s during the '
                          'acquisition; its stamps keep to the clock as it was'), values
        if status.jitter_ns > JITTER_WARN * status.period_ns:
            return WARN, 'the intervals between frames are uneven', values
        return OK, 'stamps are even', values


def _show(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)
