# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks of what is read beside a frame: whether it comes from the box or from a cache."""

from __future__ import annotations

from dataclasses import dataclass
import importlib.util
import os

from miniscope_ros.check.bench import Bench
from miniscope_ros.check.finding import Finding, judged, untold
from miniscope_ros.daq.firmware import OPEN_EPHYS_UNIT
from miniscope_ros.transports import usb
from miniscope_ros.transports.choice import choose

_FRAMES = 45  # more than the firmware's part of the driver asks a counter that stands still
_ENOUGH = 3  # different values, which no cache gives


@dataclass(frozen=True)
class _Seen:
    counts: int  # different values of the frame counter
    turns: int  # different orientations
    frames: int

    @property
    def fresh(self) -> bool:
        return max(self.counts, self.turns) >= _ENOUGH

    def __str__(self) -> str:
        return (f'{"fresh" if self.fresh else "stale"}: in {self.frames} frames {self.counts} '
                f'values of the counter and {self.turns} of the orientation')


def over_v4l2(bench: Bench) -> Finding:
    """Read beside frames over the kernel's driver."""
    if not bench.video:
        return untold('the kernel has made no video node', 'readings beside frames')
    seen = _see(bench, 'v4l2')
    # What auto would take says whether this kernel is known to answer from its cache.
    choice = choose('auto', bench.port, True, OPEN_EPHYS_UNIT, orientation=True, trigger=False)
    must = choice.kind == 'v4l2' and not choice.warning
    return judged(
        seen.fresh or not must, str(seen),
        'fresh' if must else 'stale on this kernel (fresh would be better than expected)',
        counts=seen.counts, orientations=seen.turns, frames=seen.frames)


def over_usb(bench: Bench) -> Finding:
    """Read beside frames over libusb, which has no cache."""
    if importlib.util.find_spec('usb1') is None:
        return untold('libusb1 is not installed: sudo apt install python3-libusb1', 'fresh')
    node = usb.node_path(bench.port)
    if not os.access(node, os.R_OK | os.W_OK):
        return untold(f'no right to open {node}: install the udev rule 70-miniscope.rules',
                      'fresh')
    seen = _see(bench, 'usb')
    return judged(seen.fresh, str(seen), 'fresh on every kernel', counts=seen.counts,
                  orientations=seen.turns, frames=seen.frames)


def _see(bench: Bench, kind: str) -> _Seen:
    bench.open(kind)
    counts, turns = set(), set()
    for _ in range(_FRAMES):
        frame = bench.frame()
        counts.add(frame.device_count)
        turns.add(frame.orientation)
    bench.close()
    return _Seen(len(counts - {None}), len(turns - {None}), _FRAMES)
