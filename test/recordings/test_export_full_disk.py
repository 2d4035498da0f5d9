# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A disk that fills during an export costs the export, and nothing else."""
from collections.abc import Iterator
from pathlib import Path
import subprocess
import sys

import pytest
from recorded_bag import Scope, write_bag


@pytest.fixture(name='small_disk')
def fixture_small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 24 MB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', str(folder)],
                      capture_output=True).returncode:
        pytest.skip('a disk cannot be mounted here')
    yield folder
    subprocess.run(['umount', str(folder)], check=True)


@pytest.mark.parametrize('chosen', ['miniscope_daq', 'nwb'])
def test_one_line_and_no_leftover(tmp_path: Path, small_disk: Path, chosen: str) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(size=(608, 608), frames=80))
    done = subprocess.run(
        [sys.executable, '-m', 'miniscope_ros.commands.export_bag', str(bag),
         str(small_disk / 'out'), '--format', chosen, '--codec', 'grey'],
        capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    line, = done.stderr.splitlines()
    assert 'full' in line
    assert not list(small_disk.iterdir())
