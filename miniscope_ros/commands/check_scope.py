# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Command that goes through a real scope and says which assumptions of the driver hold."""

from __future__ import annotations

from collections.abc import Sequence
import logging
import sys

from miniscope_ros.check.command import check_scope
from miniscope_ros.stop import Stop


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Check a scope.

    Exit status 0: nothing failed; 1: something failed, or it was ended early; 2: the arguments
    are not understood.
    """
    # Warnings of the driver are in the findings.
    logging.basicConfig(level=logging.ERROR, format='%(message)s')
    stop = Stop()
    stop.install()
    try:
        status = check_scope(arguments, stop)
    finally:
        stop.finish()
    sys.exit(status)


if __name__ == '__main__':
    main()
