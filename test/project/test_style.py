# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The linters and the type checker find nothing to say."""
import ast
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).parents[2]
NOT_OURS = {'build', 'install', 'log'}
SUFFIXES = {'.bash', '.c', '.cfg', '.css', '.h', '.html', '.js', '.msg', '.py', '.rules', '.toml',
            '.xml', '.yaml'}
FILES = sorted(
    path for entry in ROOT.iterdir() if entry.name[0] != '.' and entry.name not in NOT_OURS
    for path in [entry, *entry.rglob('*')] if path.is_file()
)
PYTHON_FILES = [str(path) for path in FILES if path.suffix == '.py']


# They take half a minute of a processor, which a busy computer may give them late.
pytestmark = pytest.mark.timeout(1200)


def run(*command: str | Path) -> None:
    """Fail with the command's output unless it ends well."""
    result = subprocess.run(command, cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, result.stdout


def run_module(name: str, *arguments: str) -> None:
    """Run a module as a program; see run."""
    run(sys.executable, '-m', name, *arguments)


def run_ament(linter: str, *arguments: str) -> None:
    """Run a linter of ament in a process of its own, for it may fork; see run."""
    pytest.importorskip(linter)
    run(sys.executable, '-c', f'import sys; from {linter}.main import main; sys.exit(main())',
        *arguments)


def test_every_file_names_copyright_and_licence() -> None:
    sources = [path for path in FILES
               if path.suffix in SUFFIXES or path.name in ('CMakeLists.txt', 'Makefile')]
    without = [
        str(path.relative_to(ROOT)) for path in sources
        if not {'Copyright 2026 miniscope_ros contributors',
                'SPDX-License-Identifier: BSD-3-Clause'}
        <= {line.strip(' #/<!->*') for line in path.read_text().splitlines()[:5]}
    ]
    assert PYTHON_FILES and not without


def test_ament_flake8() -> None:
    run_ament('ament_flake8', '--config', str(ROOT / 'setup.cfg'), *PYTHON_FILES)


def test_ament_pep257() -> None:
    run_ament('ament_pep257', *PYTHON_FILES)


def test_ruff() -> None:
    pytest.importorskip('ruff')
    run_module('ruff', 'check', '--no-cache', '.')


def test_mypy() -> None:
    pytest.importorskip('mypy')
    run_module('mypy', '--strict', 'miniscope_ros')


def test_nothing_imports_upwards() -> None:
    pytest.importorskip('importlinter')
    run(Path(sys.executable).with_name('lint-imports'), '--no-cache')


def test_no_module_is_skipped_while_it_is_imported() -> None:
    # launch_testing's plugin for pytest then skips the whole folder without a word.
    def calls(statement: ast.stmt) -> list[str]:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            return []
        return [node.attr for node in ast.walk(statement) if isinstance(node, ast.Attribute)]

    skipped = [
        path for path in PYTHON_FILES for statement in ast.parse(Path(path).read_text()).body
        if {'importorskip', 'skip'} & set(calls(statement))
    ]
    assert not skipped
