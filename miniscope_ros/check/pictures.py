# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks of what the pictures show while the scope is lit, and that the head stage stays on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import math
import time

from miniscope_ros.acquisition.content import ContentChecker
from miniscope_ros.acquisition.frame_content import describe_faults, WORDS
from miniscope_ros.acquisition.head_stage import HeadStage
from miniscope_ros.acquisition.head_stage_signs import Sign
from miniscope_ros.acquisition.orientation import OrientationValidator
from miniscope_ros.check.bench import Bench
from miniscope_ros.check.finding import Finding, judged
from miniscope_ros.check.light import lit_value
from miniscope_ros.model import Content

_DARK_FRAMES = 5  # from which the level of a dark picture is learnt
_MIXED = 2  # frames that begin after a command until one is taken wholly under it
_MOST_WAITING = 100  # frames in the ring of buffers, and more
_FAULTY_SHARE = 1e-3  # of the frames: as few as a healthy rig loses


@dataclass(frozen=True)
class _Seen:
    """What a lit scope showed for a while."""

    frames: int
    faults: Mapping[Content, int]
    sign: Sign | None  # of a restart of the head stage


def pictures(bench: Bench) -> Finding:
    """Judge the pictures of a lit scope as the node does."""
    seen = _watch(bench)
    faulty = sum(seen.faults.values())
    allowed = max(1, math.floor(_FAULTY_SHARE * seen.frames))
    said = f': {describe_faults(seen.faults)}' if faulty else ''
    return judged(
        faulty <= allowed, f'{faulty} of {seen.frames} faulty{said}', f'at most {allowed}',
        frames=seen.frames, **{words: seen.faults[kind] for kind, words in WORDS.items()
                               if kind in seen.faults})


def head_stage(bench: Bench) -> Finding:
    """Look for signs that the head stage has lost its power for a moment."""
    seen = _watch(bench)
    return judged(
        seen.sign is None,
        f'no sign of one in {seen.frames} frames' if seen.sign is None else
        f'{seen.sign.value}: check cable, commutator and supply', 'no restart',
        frames=seen.frames, sign=seen.sign.name if seen.sign else None)


def _watch(bench: Bench) -> _Seen:
    """
    Return what the lit scope shows for some seconds; a scope that restarts is closed then.

    It has its power-on values, so the next check has to set it up again.
    """
    device_type = bench.device_type
    content = ContentChecker(device_type.width, device_type.height, has_blocks=True)
    stage = HeadStage(device_type.controls['frame_rate'].start)
    readings = OrientationValidator(has_sensor=device_type.orientation)
    _set_lights(bench, 0.0)
    for _ in range(_DARK_FRAMES):
        content.observe_dark(bench.frame().image)
    _set_lights(bench, 1.0)
    stage.begin_stream()
    stage.note_rate(device_type.controls['frame_rate'].start)
    frames = 0
    until = time.monotonic() + bench.settings.pictures_s
    while time.monotonic() < until:
        bench.progress(f'looking at pictures: {until - time.monotonic():.0f} s left')
        frame = bench.frame()
        readings.check(frame.orientation, frame.stamp_ns)
        stage.observe(
            frame, content=content.check(frame.image, lit=True), lit=True,
            brown_out=readings.brown_out, capture_index=frames)
        frames += 1
    if stage.sign is not None:
        bench.close()
    return _Seen(
        frames, {kind: content.counts[kind] for kind in WORDS if content.counts[kind]},
        stage.sign)


def _set_lights(bench: Bench, part: float) -> None:
    """
    Set all lights to a part of the ladder's brightest step, and discard what is not under it.

    Where the computer is busy, frames of before are still waiting to be taken.
    """
    source = bench.active()
    for light in bench.device_type.lights:
        source.set_value(light.name, part * lit_value(light) or light.darkest)
    sent_ns, begun = None, 0
    for _ in range(_MOST_WAITING):
        frame, events = bench.frame_and_events()
        sent_ns = max((event.sent_ns for event in events), default=sent_ns)
        begun += sent_ns is not None and frame.stamp_ns > sent_ns
        if begun > _MIXED:
            return
