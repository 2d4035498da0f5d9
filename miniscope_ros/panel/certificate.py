# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the certificate of a finished recording says, in short."""

from __future__ import annotations

from collections.abc import Mapping
import json
from pathlib import Path
import shlex
from typing import Any

FILE = 'certificate.json'
_LEVELS = {'complete': 'ok', 'incomplete': 'warning', 'failed': 'error'}
_MOST_PROBLEMS = 3


def read_certificate(folder: Path) -> dict[str, Any]:
    """Return verdict, level and export command of a recording in a folder."""
    quoted = shlex.quote(str(folder))
    command = f'ros2 run miniscope_ros export_bag {quoted} {shlex.quote(f"{folder}_export")}'
    try:
        level, verdict = _judge(json.loads((folder / FILE).read_text()))
    except OSError:
        level, verdict = 'warning', f'no {FILE} here: look at the computer that records'
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        level, verdict = 'warning', f'{FILE} is not legible: {error}'
    return {'verdict': verdict, 'level': level, 'command': command}


def _judge(content: Mapping[str, Any]) -> tuple[str, str]:
    """Return level and text of what a certificate says."""
    topics = content['topics']
    lost = {name: topic['lost'] for name, topic in topics.items() if topic.get('lost')}
    counted = f'{sum(lost.values())} messages lost in {len(topics)} topics'
    verdict = str(content['verdict'])
    level = _LEVELS.get(verdict, 'warning')
    if level == 'ok' and lost:
        level = 'warning'
    problems = [str(problem) for problem in content.get('problems', [])]
    more = len(problems) - _MOST_PROBLEMS
    shown = problems[:_MOST_PROBLEMS] + ([f'and {more} more'] if more > 0 else [])
    return level, '; '.join([f'{verdict}, {counted}', *shown])
