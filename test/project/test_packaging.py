# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The commands that build and test from a checkout, where they are most easily broken."""
import os
from pathlib import Path
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]


def colcon_test(results: Path, expression: str) -> tuple[int, int]:
    """Run `colcon test` with the tests of that name; return its status and how many ran."""
    if shutil.which('colcon') is None:
        pytest.skip('no colcon')
    status = subprocess.call(
        ['colcon', '--log-base', results, 'test', '--test-result-base', results,
         '--pytest-args', '-k', expression],
        cwd=ROOT, timeout=120)
    cases = [case for file in results.rglob('*.xml')
             for case in ElementTree.parse(file).iter('testcase')]
    return status, sum(case.find('skipped') is None for case in cases)


def test_colcon_runs_the_tests(tmp_path: Path) -> None:
    assert colcon_test(tmp_path, 'copyright_and_licence') == (0, 1)


def test_colcon_fails_without_a_test(tmp_path: Path) -> None:
    status, ran = colcon_test(tmp_path, 'no_test_has_this_name')
    assert status != 0 and ran == 0


def bootstrap(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the bootstrap of a checkout outside a ROS 2, where only wheels can help."""
    variables = {name: value for name, value in os.environ.items()
                 if name not in ('ROS_DISTRO', 'PYTHONPATH')}
    return subprocess.run(
        [sys.executable, checkout / 'tools' / 'bootstrap.py', 'run'],
        env={**variables, **environment}, timeout=120, capture_output=True, text=True)


def test_missing_tools_are_named(tmp_path: Path) -> None:
    result = bootstrap(ROOT, PATH=str(tmp_path))
    assert result.returncode == 1
    for tool in ('g++', 'cmake', 'make'):
        assert f'sudo apt install {tool}\n' in result.stderr


def test_interrupted_installation_is_not_used(tmp_path: Path) -> None:
    shutil.copytree(ROOT / 'tools', tmp_path / 'tools')
    leftover = tmp_path / '.env' / 'bin' / 'python3'
    leftover.parent.mkdir(parents=True)
    leftover.write_text('half written')
    # Without a package index the second attempt cannot succeed either: it must say so.
    result = bootstrap(tmp_path, PIP_NO_INDEX='1', PIP_FIND_LINKS=str(tmp_path))
    assert result.returncode == 1
    assert 'failed with status' in result.stderr
    assert not leftover.exists() or leftover.read_bytes() != b'half written'
    assert not (tmp_path / '.env' / 'complete').exists()
