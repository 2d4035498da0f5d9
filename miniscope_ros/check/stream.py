# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks of the frames: do they come, how often, how evenly, and are all of them there."""

from __future__ import annotations

from itertools import pairwise
import math
import os
from statistics import median
import time

from miniscope_ros.check.bench import Bench
from miniscope_ros.check.finding import Finding, judged, Outcome, untold
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.model import RawFrame

_FIRST_FRAME_S = 2.0
_RATE_TOLERANCE = 0.03  # V4's register for 30 frames/s means 30.3
_SETTLING_FRAMES = 6  # frames that are discarded after a new rate was set
_JITTER_MS = {'usb': 3.0}  # stamps of a program; those of the kernel are better
_KERNEL_JITTER_MS = 2.0
_LOST_SHARE = 1e-3  # a healthy rig loses a frame in 10,000, a bad one some in 1000
_BUFFERS = 16


def link(bench: Bench) -> Finding:
    """Open the scope and set it up; NoLink if it sends no frames."""
    bench.open_scope()
    return judged(True, f'set up in {bench.opening_s:.1f} s', 'frames, and commands are taken')


def first_frame(bench: Bench) -> Finding:
    """Measure how long after the start of a stream the first frame comes."""
    bench.close()
    transport = bench.transport()
    transport.open(bench.device_type.width, bench.device_type.height)
    try:
        began = time.monotonic()
        transport.start(_BUFFERS)
        while (buffer := transport.dequeue(0.1)) is None:
            bench.check_stop()
            if time.monotonic() - began > 2 * _FIRST_FRAME_S:
                return judged(False, f'none in {2 * _FIRST_FRAME_S:g} s',
                              f'within {_FIRST_FRAME_S:g} s')
        took = time.monotonic() - began
        transport.requeue(buffer)
    finally:
        transport.close()
    return judged(took <= _FIRST_FRAME_S, f'{took:.2f} s after the start of the stream',
                  f'within {_FIRST_FRAME_S:g} s', seconds=took)


def frame_rates(bench: Bench) -> Finding:
    """Set every frame rate that the box can stand, and measure it."""
    bench.active()
    control = bench.device_type.controls['frame_rate']
    measured, refused = {}, []
    for label in sorted(control.choices or {control.start: ()}):
        bench.progress(f'frame rates: {label:g} frames/s')
        try:
            bench.active().check_value('frame_rate', label)
        except ConfigurationError:
            refused.append(label)
            continue
        measured[label] = _measure_rate(bench, label)
    bench.step('frame_rate', control.start)
    wrong = [label for label, rate in measured.items()
             if not abs(rate / label - 1) <= _RATE_TOLERANCE]
    text = ', '.join(f'{label:g}: {rate:.2f}' for label, rate in measured.items())
    if refused:
        text += f'; refused: {", ".join(f"{label:g}" for label in refused)}'
    return judged(
        not wrong, text, f'each within {100 * _RATE_TOLERANCE:g} % of its label',
        rates={f'{label:g}': rate for label, rate in measured.items()})


def _measure_rate(bench: Bench, label: float) -> float:
    bench.active().set_value('frame_rate', label)
    bench.skip(_SETTLING_FRAMES)
    seconds = 1.0 if bench.settings.quick else 2.0
    stamps = [bench.frame().stamp_ns for _ in range(round(max(10, seconds * label)))]
    # A lost frame makes one interval twice as long; the median does not see it.
    return 1e9 / max(1.0, median(b - a for a, b in pairwise(stamps)))


def sequence(bench: Bench) -> Finding:
    """Compare the sequence numbers with the time between frames."""
    frames = _stretch(bench)
    steps = [(b.sequence or 0) - (a.sequence or 0) for a, b in pairwise(frames)]
    lost = sum(step - 1 for step in steps if step > 0)
    by_time = _lost_by_time(frames)
    backwards = sum(step <= 0 for step in steps)
    return judged(
        not backwards and lost <= by_time + 1,
        f'{len(frames)} frames in {bench.settings.sequence_s:g} s, {lost} missing by number, '
        f'{by_time} by time, {backwards} numbers that do not rise',
        'numbers rise, and show no more losses than time does', frames=len(frames),
        lost_by_sequence=lost, lost_by_time=by_time)


def losses(bench: Bench) -> Finding:
    """Count the frames that time shows to be missing."""
    frames = _stretch(bench)
    lost = _lost_by_time(frames)
    allowed = _allowed(frames)
    return _unless_busy(bench, judged(
        lost <= allowed, f'{lost} of {len(frames) + lost}', f'at most {allowed}', lost=lost))


def damaged(bench: Bench) -> Finding:
    """Count the frames that came damaged."""
    frames = _stretch(bench)
    count = sum(frame.damaged for frame in frames)
    allowed = _allowed(frames)
    return judged(count <= allowed, f'{count} of {len(frames)}', f'at most {allowed}',
                  damaged=count)


def jitter(bench: Bench) -> Finding:
    """Measure by how much the intervals between stamps differ from their median."""
    intervals = [
        (b.stamp_ns - a.stamp_ns) / 1e6 for a, b in pairwise(_stretch(bench))
        if (b.sequence or 0) - (a.sequence or 0) == 1 and a.stamp_ns and b.stamp_ns]
    if len(intervals) < 10:
        return untold('too few frames with stamps', 'even intervals')
    period = median(intervals)
    # An interval of two periods is a lost frame and no jitter.
    off = sorted(abs(math.remainder(one, period)) for one in intervals)
    worst = off[int(0.99 * (len(off) - 1))]
    kind = bench.info.transport if bench.info else ''
    limit = _JITTER_MS.get(kind, _KERNEL_JITTER_MS)
    return _unless_busy(bench, judged(
        worst <= limit, f'99 % within {worst:.2f} ms of {period:.2f} ms, most {off[-1]:.2f} ms',
        f'99 % within {limit:g} ms', percentile_99_ms=worst, most_ms=off[-1], period_ms=period))


def _unless_busy(bench: Bench, found: Finding) -> Finding:
    """
    Return the finding; over USB a failure on a busy computer says nothing about the scope.

    There a program takes the data and the stamps, and it has to wait for its turn.
    """
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    over_usb = bench.info is not None and bench.info.transport == 'usb'
    if found.outcome is not Outcome.FAIL or not over_usb or load <= cores:
        return found
    return untold(
        f'{found.measured}; the computer is too busy (load {load:.1f} on {cores} cores)',
        found.expected, load=load, **found.data)


def _stretch(bench: Bench) -> list[RawFrame]:
    """Return the frames of the long count, which runs once."""
    return bench.count_frames(bench.settings.sequence_s)


def _lost_by_time(frames: list[RawFrame]) -> int:
    gaps = [b.stamp_ns - a.stamp_ns for a, b in pairwise(frames) if a.stamp_ns and b.stamp_ns]
    if not gaps:
        return 0
    period = median(gaps)
    return sum(max(0, round(gap / period) - 1) for gap in gaps)


def _allowed(frames: list[RawFrame]) -> int:
    return max(1, math.floor(_LOST_SHARE * len(frames)))
