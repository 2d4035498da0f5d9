# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Reads the tables of an export as their users do."""
from pathlib import Path
from typing import Any

import pytest


def read_table(path: Path, **options: Any) -> Any:
    """Return a CSV file as a data frame of pandas; the test is skipped where pandas is missing."""
    return pytest.importorskip('pandas').read_csv(path, **options)
