# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The report to send: Markdown for people, JSON for programs, no names of people or computers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
import getpass
import importlib.metadata
import json
import os
from pathlib import Path
import platform
import re
from typing import Any

from miniscope_ros.check.finding import Outcome
from miniscope_ros.check.run import Account, Line
from miniscope_ros.check.settings import Settings

_FEWEST_LETTERS = 2  # shorter names are not removed from the report
_NO_NAMES = {'root', 'localhost', 'video', 'user'}
_IGNORED = ('device', 'device_catalog')  # paths of this computer


def files(report: str) -> tuple[Path, Path]:
    """Return the paths of the Markdown and of the JSON file that --report stands for."""
    path = Path(report)
    base = path.with_suffix('') if path.suffix in ('.md', '.json') else path
    return base.with_name(base.name + '.md'), base.with_name(base.name + '.json')


def write(report: str, account: Account, settings: Settings) -> tuple[Path, Path]:
    """Write both files; OSError if that is impossible."""
    markdown, data = files(report)
    content = as_dict(account, settings)
    markdown.write_text(as_markdown(content), encoding='utf-8')
    data.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    return markdown, data


def as_dict(account: Account, settings: Settings) -> dict[str, Any]:
    """Return the whole report as plain data."""
    options = {name: value for name, value in asdict(settings).items() if name not in _IGNORED}
    content = {
        'format': 1,
        'version': _version(),
        'kernel': platform.release(), 'machine': platform.machine(),
        'python': platform.python_version(),
        'options': {**options, 'own_catalogue': bool(settings.device_catalog)},
        'ended_early': account.ended_early,
        'light_problem': account.light_problem,
        'counts': counts(account.lines),
        'checks': [_line(line) for line in account.lines],
    }
    hidden: dict[str, Any] = _without_names(content, _names())
    return hidden


def as_markdown(content: dict[str, Any]) -> str:
    """Return the report for people."""
    options = ', '.join(f'{name} {_shown(value)}' for name, value in content['options'].items())
    rows = [
        f'| {check["outcome"]} | {check["name"]} | {_cell(check["measured"])} | '
        f'{_cell(check["expected"])} |' for check in content['checks']]
    notes = [
        f'- Kernel {content["kernel"]}, {content["machine"]}, Python {content["python"]}, '
        f'miniscope_ros {content["version"]}', f'- Options: {options}']
    if content['ended_early']:
        notes.append('- **It was ended before all checks had run.**')
    if content['light_problem']:
        notes.append(f'- **{content["light_problem"]}**')
    return '\n'.join([
        '# Report of check_scope', '', *notes, f'- {summary(content["counts"])}', '',
        '| outcome | check | measured | expected |', '|---|---|---|---|', *rows, ''])


def counts(lines: Iterable[Line]) -> dict[str, int]:
    """Return how many lines have each outcome."""
    found = Counter(line.finding.outcome for line in lines)
    return {outcome.value: found[outcome] for outcome in Outcome}


def summary(found: dict[str, int]) -> str:
    """Return the counts in words."""
    return ', '.join(f'{number} {name}' for name, number in found.items())


def _line(line: Line) -> dict[str, Any]:
    found = line.finding
    return {
        'name': line.name, 'outcome': found.outcome.value, 'measured': found.measured,
        'expected': found.expected, 'seconds': round(line.seconds, 3), 'data': found.data}


def _version() -> str:
    try:
        return importlib.metadata.version('miniscope_ros')
    except importlib.metadata.PackageNotFoundError:
        return 'unknown'


def _names() -> list[str]:
    """Return what identifies this user and this computer, the longest first."""
    names = {os.path.expanduser('~'), platform.node(), platform.node().partition('.')[0]}
    with suppress(KeyError, OSError):  # a user without a name
        names.add(getpass.getuser())
    return sorted(
        (name for name in names
         if len(name) >= _FEWEST_LETTERS and name.lower() not in _NO_NAMES), key=len, reverse=True)


def _without_names(value: Any, names: list[str]) -> Any:
    if isinstance(value, str):
        for name in names:
            value = re.sub(rf'(?<!\w){re.escape(name)}(?!\w)', 'NAME', value, flags=re.IGNORECASE)
        return value
    if isinstance(value, dict):
        return {key: _without_names(one, names) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_names(one, names) for one in value]
    return value


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, list):
        return ' '.join(map(str, value)) or 'all'
    return str(value)


def _cell(text: str) -> str:
    return text.replace('|', '\\|')
