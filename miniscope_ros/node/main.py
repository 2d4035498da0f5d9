# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Entry point of scope_node."""

from __future__ import annotations

import os
import sys

from miniscope_ros.node.command_line import check_command_line
from miniscope_ros.stop import Stop


def main() -> None:
    """Run the scope node until a signal; exit status 1 if it cannot be started at all."""
    stop = Stop()
    stop.install()
    check_command_line(sys.argv[1:])
    # Threads that NumPy would start, and that spin at first: 0.16 s of CPU time for nothing.
    os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
    # Only now what takes long to import: a signal during that ends us cleanly, too.
    from miniscope_ros.node.run import run
    sys.exit(0 if stop.event.is_set() else run(stop))
