# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether a client's control writes kept the pauses that the firmware needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WORD_GAP_NS = 128_000
REST_NS = 10_000_000
REST_EVERY = 4  # packets

SHARPNESS = 0x0098091B  # the last word of a packet
UNIT_PACKETS = 0x10002  # the extension unit's write of up to four packets


def pacing_violations(writes: NDArray[np.void]) -> list[str]:
    """
    Return what is wrong with the times of a box's logged writes; empty: nothing.

    At least 128 us between control writes, and never more than 4 packets in a row without a
    rest of 10 ms.
    """
    found = []
    last_ns = 0
    run = 0
    for i, write in enumerate(writes):
        ns, control = int(write['ns']), int(write['control'])
        gap = ns - last_ns if i else REST_NS
        last_ns = ns
        if gap < WORD_GAP_NS:
            found.append(f'write {i} (control {control:#x}) {gap} ns after the one before')
        if gap >= REST_NS:
            run = 0
        if control == SHARPNESS:
            run += 1
        elif control == UNIT_PACKETS:
            run += int(write['value'])
        if run > REST_EVERY:
            found.append(f'write {i}: packet {run} without a rest')
    return found
