# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""How slow the computer is now, for tests of promised times."""
from pathlib import Path
import time

_SAMPLE_S = 0.2


def slowness() -> float:
    """Return how many times longer than alone a process takes now; 1 where nothing else runs."""
    begin, used = time.monotonic(), time.process_time()
    while time.process_time() < used + _SAMPLE_S:
        pass
    return max(1.0, (time.monotonic() - begin) / _SAMPLE_S)


def waited_s() -> float:
    """
    Return how long the threads of this process have waited for a core so far, in sum [s].

    What a busy computer adds to a time is at most the difference of two values, and 0 where
    nothing else runs. A sample before or after the time says nothing of a burst in between.
    """
    tasks = Path('/proc/self/task').glob('*/schedstat')
    return sum(int(task.read_text().split()[1]) for task in tasks) / 1e9
