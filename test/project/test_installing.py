# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The command that installs what is missing is one that works here."""
from pathlib import Path
import shlex
import sys
import sysconfig

from miniscope_ros.installing import pip_install, why_missing
import pytest


def test_each_missing_module_is_named_once() -> None:
    message = why_missing(
        ('no_such_module', 'numpy', 'no_such.part', 'no_such_module'), {'no_such.part': 'part>=2'})
    assert message == ('the Python modules no_such_module, no_such.part are missing: '
                       f"{sys.executable} -m pip install no_such_module 'part>=2'")


def test_a_distributions_own_python_is_told_to_add_to_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'prefix', sys.base_prefix)
    monkeypatch.setattr(sysconfig, 'get_path', lambda name: str(tmp_path))
    assert '--break-system-packages' not in pip_install('rosbags')
    (tmp_path / 'EXTERNALLY-MANAGED').touch()
    assert shlex.split(pip_install('rosbags')) == [
        sys.executable, '-m', 'pip', 'install', '--break-system-packages', 'rosbags']
