# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What is imported is what package.xml and setup.py name."""
import ast
from collections.abc import Iterator
import importlib.util
from pathlib import Path
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
NAMES = {'PIL': 'python3-pil', 'cv2': 'python3-opencv', 'tf2_ros': 'tf2_ros_py',
         'usb1': 'libusb1', 'backports': 'backports.zstd'}
"""Of modules whose dependency has another name than they."""
RUN_AS_PROGRAMS = {'ros2bag', 'ros2launch', 'ros2run', 'rosbag2_storage_mcap'}
BLOCKED = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {modules!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)

sys.meta_path.insert(0, Absent())
for name in {programs!r}:
    importlib.import_module(name)
"""


def imported() -> set[str]:
    """Return the names of all modules of others that package and launch files import."""
    files = [*(ROOT / 'miniscope_ros').rglob('*.py'), *(ROOT / 'launch').glob('*.py')]
    found = {name.partition('.')[0] for file in files
             for node in ast.walk(ast.parse(file.read_text())) for name in modules(node)}
    return found - set(sys.stdlib_module_names) - {'miniscope_ros', 'compression'}


def modules(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module


def extras() -> set[str]:
    """Return the packages that setup.py names as extras."""
    tree = ast.parse((ROOT / 'setup.py').read_text())
    keyword, = (node for node in ast.walk(tree)
                if isinstance(node, ast.keyword) and node.arg == 'extras_require')
    groups = ast.literal_eval(keyword.value)
    return {re.split(r'[<>=; ]', package)[0] for name, group in groups.items()
            if name != 'test' for package in group}


def keys() -> set[str]:
    """Return what package.xml needs to run."""
    return {str(element.text) for element in
            ElementTree.parse(ROOT / 'package.xml').iter('exec_depend')}


def without_key() -> set[str]:
    """Return the modules that package.xml does not bring."""
    return {module for module in imported() if not {
        NAMES.get(module, module), f'python3-{module}'} & keys()}


def test_every_import_is_declared() -> None:
    undeclared = {NAMES.get(module, module.replace('_', '-')) for module in without_key()}
    assert undeclared <= extras()


def test_every_dependency_is_used() -> None:
    used = {name for module in imported()
            for name in (NAMES.get(module, module), f'python3-{module}')}
    assert keys() - RUN_AS_PROGRAMS <= used


def test_no_test_is_skipped_for_a_library_in_our_own_environment() -> None:
    if Path(sys.prefix) != ROOT / '.env':
        pytest.skip('this is not the environment of tools/bootstrap.py')
    calls = [call for file in (ROOT / 'test').rglob('*.py')
             for call in re.findall(r"importorskip\(\s*'(\w+)", file.read_text())]
    assert calls
    assert not [name for name in {*calls, *(
        'h5py', 'ndx_miniscope', 'neo', 'pynwb')} - {'recorded_bag'}
        if importlib.util.find_spec(name) is None]
    assert importlib.util.find_spec('rosbags'), 'recorded_bag needs it'


def test_nodes_start_with_what_rosdep_installs() -> None:
    programs = [f'miniscope_ros.{name}' for name in (
        'node.scope_node', 'session.run', 'panel.server', 'commands.list_devices',
        'commands.lights_off', 'commands.record_scope')]
    code = BLOCKED.format(modules=without_key(), programs=programs)
    result = subprocess.run([sys.executable, '-c', code], cwd=ROOT, timeout=120,
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
