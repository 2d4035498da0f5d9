# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""All checks, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from miniscope_ros.check import (
    box,
    computer,
    darkness,
    functions,
    light,
    optics,
    orientation,
    pictures,
    readings,
    stream,
)
from miniscope_ros.check.bench import Bench
from miniscope_ros.check.finding import Finding


@dataclass(frozen=True)
class Check:
    """One assumption that is looked at."""

    name: str
    run: Callable[[Bench], Finding]
    needs: tuple[str, ...] = ()  # checks that must PASS before this one has a meaning
    real_only: bool = False  # a simulated scope has nothing of the kind


_FOUND = ('usb identity',)
_LINK = ('link',)
_LIT = ('link', 'led ladder')

CHECKS = (
    Check('usb identity', computer.usb_identity, real_only=True),
    Check('usb speed', computer.usb_speed, _FOUND, real_only=True),
    Check('rights', computer.rights, _FOUND, real_only=True),
    Check('kernel and transport', computer.kernel_and_transport, _FOUND, real_only=True),
    Check('formats', box.formats, ('usb identity', 'rights'), real_only=True),
    Check('control ranges', box.control_ranges, _FOUND),
    Check('link', stream.link, ('control ranges',)),
    Check('firmware', box.firmware, _LINK),
    Check('first frame', stream.first_frame, _LINK),
    Check('readings over v4l2', readings.over_v4l2, _LINK, real_only=True),
    Check('readings over usb', readings.over_usb, _LINK, real_only=True),
    Check('frame rates', stream.frame_rates, _LINK),
    Check('frame sequence', stream.sequence, _LINK),
    Check('lost frames', stream.losses, _LINK),
    Check('damaged frames', stream.damaged, _LINK),
    Check('jitter', stream.jitter, _LINK),
    Check('orientation norm', orientation.norm, _LINK),
    Check('orientation rate of change', orientation.rate_of_change, _LINK),
    Check('turn left', orientation.turn_left, ('link', 'orientation norm')),
    Check('nose down', orientation.nose_down, ('link', 'orientation norm')),
    Check('tilt right', orientation.tilt_right, ('link', 'orientation norm')),
    Check('led ladder', light.ladder, _LINK),
    Check('dark level', light.dark_level, _LINK),
    Check('first lit frame', light.first_lit_frame, _LIT),
    Check('mixing after a change', light.mixing, _LIT),
    Check('gain ladder', optics.gain_ladder, _LIT),
    Check('focus sweep', optics.focus_sweep, _LIT),
    Check('pictures', pictures.pictures, _LIT),
    Check('head stage', pictures.head_stage, _LIT),
    Check('dark after stop', darkness.after_stop, _LIT),
    Check('dark after SIGTERM', darkness.after_sigterm, _LIT, real_only=True),
    Check('dark after kill -9', darkness.after_kill, _LIT, real_only=True),
    Check('sync output', functions.sync_output, _LINK),
    Check('hard reset', functions.hard_reset, _LINK),
    Check('unplug', functions.unplug, _LINK, real_only=True),
)
