# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The notes of a StartRecording request: free text, or session data as YAML."""

from __future__ import annotations

from datetime import date
from typing import Any

from miniscope_ros.yaml_text import read_yaml


def session_data(notes: str) -> dict[str, Any]:
    """
    Return the session data that the notes of a request hold.

    Notes that are a YAML mapping of names to single values (``{animal: m2, sex: F}``, or one
    ``name: value`` a line) are session data. Values are of the types that YAML gives them.
    Notes of any other form are text for people, and an empty mapping is returned.
    """
    try:
        content = read_yaml(notes)
    except ValueError:
        return {}
    if not isinstance(content, dict):
        return {}
    if not all(isinstance(name, str) and isinstance(value, (str, int, float, date))
               for name, value in content.items()):
        return {}
    return content
