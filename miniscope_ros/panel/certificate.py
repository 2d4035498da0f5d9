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


def read_certificate(folder: Path) -> dict[str, Any]:
    """Return verdict, level and export command of a recording in a folder."""
    quoted = shlex.quote(str(folder))
    command = f'ros2 run miniscope_ros export_bag {quoted} {quoted}_export'
    try:
        content = json.loads((folder / FILE).read_text())
        lost, topics = _count(content['topics'])
        given = str(content.get('verdict', ''))
    except OSError:
        verdict, level = f'no {FILE} here: look at the computer that records', 'warning'
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        verdict, level = f'{FILE} is not legible: {error}', 'warning'
    else:
        level = 'ok' if lost == 0 else 'error'
        counted = f'{lost} messages lost in {topics} topics'
        verdict = f'{given}: {counted}' if given else counted
    return {'verdict': verdict, 'level': level, 'command': command}


def _count(topics: Any) -> tuple[int, int]:
    """Return how many messages were lost in all topics, and how many topics there are."""
    entries = list(topics.values()) if isinstance(topics, Mapping) else list(topics)
    return sum(int(entry.get('lost') or 0) for entry in entries), len(entries)
