# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks of the box's other functions: sync output, hard reset, and coming back."""

from __future__ import annotations

from itertools import pairwise
import time

from miniscope_ros.check.ask import ask
from miniscope_ros.check.bench import Bench
from miniscope_ros.check.finding import Finding, judged, untold
from miniscope_ros.errors import DeviceLost

_EDGES = 40  # frames over which edges are counted
_EDGE_SHARE = 0.9
_BACK_S = 15.0
_PLUG_S = 60.0


def sync_output(bench: Bench) -> Finding:
    """Switch the sync output on, and count its edges if it is connected to the trigger input."""
    expected = f'an edge a frame at the trigger input, in {100 * _EDGE_SHARE:g} % of them'
    if not bench.settings.loopback:
        return untold('skipped: connect it to the trigger input and give --loopback', expected)
    source = bench.active()
    source.set_sync(True)
    try:
        levels = [bench.frame().digital_inputs for _ in range(_EDGES)]
    finally:
        source.set_sync(False)
    known = [(a & 1, b & 1) for a, b in pairwise(levels) if a >= 0 and b >= 0]
    if len(known) < _EDGES // 2:
        return untold('the trigger input cannot be read: give --transport usb', expected)
    edges = sum(a != b for a, b in known)
    return judged(edges >= _EDGE_SHARE * len(known), f'{edges} edges in {len(known)} frames',
                  expected, edges=edges, frames=len(known))


def hard_reset(bench: Bench) -> Finding:
    """Restart the box and wait for it."""
    source = bench.active()
    done = source.hard_reset()
    bench.close()
    took = bench.wait_until_back(_BACK_S)
    bench.skip(3)
    return judged(True, f'{done}; frames again after {took:.1f} s',
                  f'back within {_BACK_S:g} s', seconds=took)


def unplug(bench: Bench) -> Finding:
    """Let the user unplug the box and plug it in again."""
    expected = 'noticed, and frames again after plugging in'
    if not bench.settings.interactive:
        return untold('skipped: give --interactive', expected)
    bench.active()
    try:
        if not ask('Unplug the USB cable of the DAQ box.', lambda: bench.skip(1)):
            return untold('skipped', expected)
        return judged(False, 'frames still came after it was unplugged', expected)
    except DeviceLost as error:
        noticed = str(error)
    bench.close()
    print('\n>>> Plug it into the same port again.', flush=True)
    began = time.monotonic()
    bench.wait_until_back(_PLUG_S)
    bench.skip(3)
    return judged(True, f'"{noticed}"; frames again after {time.monotonic() - began:.1f} s',
                  expected)
