# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the exit status of an export says."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """2 is a wrong command line, as in every program of the package."""

    DONE = 0  # all is exported
    FAILED = 1  # nothing is
    PARTLY = 3  # a part is, and standard error says what is missing
    NOT_GOOD = 4  # --check: the report of an acquisition does not begin with `good`
    INTERRUPTED = 130  # and nothing is left behind
