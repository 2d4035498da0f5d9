# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The documentation builds without a warning, and what is made from the code is up to date."""
from pathlib import Path
import re
import subprocess
import sys

import pytest

ROOT = Path(__file__).parents[2]


def printed(*command: str) -> str:
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, check=True, capture_output=True, text=True,
        timeout=120).stdout


def test_pages_build_without_a_warning(tmp_path: Path) -> None:
    for module in ('furo', 'myst_parser', 'sphinx', 'sphinxcontrib.mermaid'):
        pytest.importorskip(module)
    result = subprocess.run(
        [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-b', 'html',
         '-d', tmp_path / 'doctrees', 'docs', tmp_path / 'html'],
        cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / 'html' / 'index.html').exists()


def test_table_of_scopes_is_that_of_the_catalogue() -> None:
    assert printed('tools/scope_table.py') in (ROOT / 'README.md').read_text()


def test_links_lead_to_files() -> None:
    missing = []
    for page in (ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *(ROOT / 'docs').glob('*.md')):
        for target in re.findall(r'\]\(([^)#: ]+)(?:#[^)]*)?\)', page.read_text()):
            if not (page.parent / target).exists():
                missing.append(f'{page.name}: {target}')
    assert not missing


def test_lines_of_the_api_page_run() -> None:
    code = re.findall(r'```python\n(.*?)```', (ROOT / 'docs' / 'api.md').read_text(), re.S)[0]
    assert printed('-c', code) == '100 (608, 608) uint8\n'
