# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Session data as they were filled in last, kept from run to run."""

from __future__ import annotations

import json
import os
from pathlib import Path

FIELDS = ('researcher', 'experiment', 'animal', 'species', 'sex', 'age', 'genotype', 'indicator',
          'brain_area', 'notes')
"""Of the session file's part `session`; the page can have more."""

_MOST_FIELDS = 50


def form_path() -> Path:
    """Return where the form is kept."""
    base = os.environ.get('XDG_DATA_HOME') or Path.home() / '.local' / 'share'
    return Path(base) / 'miniscope_ros' / 'session_form.json'


class Form:
    """The fields and their texts."""

    def __init__(self, path: Path) -> None:
        """Read what was kept in a file, if there is one."""
        self._path = path
        self.fields = dict.fromkeys(FIELDS, '')
        try:
            kept = json.loads(path.read_text())
            self.fields |= {str(name): str(text) for name, text in kept.items()}
        except (OSError, ValueError, AttributeError, RecursionError):
            return  # none was kept, or it is unreadable: the form begins empty

    def keep(self, fields: dict[str, str]) -> None:
        """Take the texts of the fields and write them to the file. Raises OSError."""
        if len(fields) > _MOST_FIELDS:
            raise ValueError(f'a form has at most {_MOST_FIELDS} fields')
        self.fields = dict.fromkeys(FIELDS, '') | fields
        self._path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._path.with_suffix('.part')
        unfinished.write_text(json.dumps(self.fields, indent=2))
        unfinished.replace(self._path)

    def suggest(self, fields: dict[str, str]) -> None:
        """Fill in what is empty."""
        for name, text in fields.items():
            if text and not self.fields.get(name):
                self.fields[name] = text
