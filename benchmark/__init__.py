# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the driver costs and what it can do: `make bench`; see docs/performance.md."""
from pathlib import Path
import sys

# The virtual DAQ box lives with the tests.
sys.path[:0] = [str(Path(__file__).parent.parent / 'test' / name) for name in ('', 'support')]
