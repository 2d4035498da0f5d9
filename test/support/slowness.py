# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""How slow the computer is now, for tests of promised times."""
import time

_SAMPLE_S = 0.2


def slowness() -> float:
    """Return how many times longer than alone a process takes now; 1 where nothing else runs."""
    begin, used = time.monotonic(), time.process_time()
    while time.process_time() < used + _SAMPLE_S:
        pass
    return max(1.0, (time.monotonic() - begin) / _SAMPLE_S)
