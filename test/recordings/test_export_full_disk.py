# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A disk that fills during an export costs the export, and nothing else."""
from pathlib import Path
import subprocess
import sys

import pytest
from recorded_bag import Scope, write_bag
from small_disk import small_disk


@pytest.mark.parametrize('chosen', ['miniscope_daq', 'nwb'])
def test_one_line_and_no_leftover(tmp_path: Path, chosen: str) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(size=(608, 608), frames=80))
    with small_disk(tmp_path / 'disk', 24) as disk:
        done = subprocess.run(
            [sys.executable, '-m', 'miniscope_ros.commands.export_bag', str(bag),
             str(disk / 'out'), '--format', chosen, '--codec', 'grey'],
            capture_output=True, text=True)
        assert done.returncode == 1, done.stderr
        line, = done.stderr.splitlines()
        assert 'full' in line
        assert not list(disk.iterdir())
