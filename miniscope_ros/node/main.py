# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Entry point of scope_node."""

from __future__ import annotations

import os
import sys

from miniscope_ros.node.command_line import check_command_line
from miniscope_ros.stop import Stop


def main() -> None:
    """
    Run the scope node until a signal.

    Exit status 0: it ended in order; 1: it cannot be started, or its light may be on, which is
    said; 70: the watcher asked it to end, because it gave no sign of life.
    """
    stop = Stop()
    stop.install()
    check_command_line(sys.argv[1:])
    # Threads that NumPy would start, and that spin at first: 0.16 s of CPU time for nothing.
    os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
    # Only now what takes long to import: a signal during that ends us cleanly, too.
    from miniscope_ros.watch.middleware import load_profile
    load_profile()
    from miniscope_ros.node.run import run
    status = 0 if stop.event.is_set() else run(stop)
    stop.finish()
    sys.exit(status)
