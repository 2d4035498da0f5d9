# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What Python modules that are missing are installed with, on this computer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
import shlex
import sys
import sysconfig


def pip_install(*packages: str) -> str:
    """
    Return the command that installs packages from PyPI for the Python that runs.

    Distributions mark their own Python as theirs (PEP 668). pip then wants to be told that it may
    add to it: a node that a sourced ROS 2 starts runs with that Python and finds nothing else.
    """
    command = [sys.executable or 'python3', '-m', 'pip', 'install', *packages]
    if _is_externally_managed():
        command.insert(4, '--break-system-packages')
    before = '' if find_spec('pip') else 'sudo apt install python3-pip && '
    return before + shlex.join(command)


def why_missing(modules: Iterable[str], packages: Mapping[str, str]) -> str:
    """
    Return one line that names those of the modules that are missing, and how to install them.

    packages has what a module is called on PyPI, where that is another name.
    """
    missing = [module for module in dict.fromkeys(modules) if not _is_there(module)]
    names = ', '.join(missing)
    is_missing = 'module {} is' if len(missing) == 1 else 'modules {} are'
    command = pip_install(*dict.fromkeys(packages.get(name, name) for name in missing))
    return f'the Python {is_missing.format(names)} missing: {command}'


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even what it is in
        return False


def _is_externally_managed() -> bool:
    """Return whether this is a Python into which pip does not install unless it is told to."""
    in_environment = sys.prefix != sys.base_prefix
    marker = Path(sysconfig.get_path('stdlib')) / 'EXTERNALLY-MANAGED'
    return not in_environment and marker.exists()
