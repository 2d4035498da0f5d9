# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""YAML that somebody else has written: whatever is wrong with it is one kind of error."""

from __future__ import annotations

from typing import Any

import yaml

FAULTS = (yaml.YAMLError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError,
          RecursionError)
"""What PyYAML raises for a text that it cannot read; `!!int ""` is an IndexError, for one."""


def read_yaml(text: str) -> Any:
    """Return what a text holds; ValueError, of one line, where it is no YAML."""
    try:
        return yaml.safe_load(text)
    except FAULTS as error:
        raise ValueError(' '.join(str(error).split()) or type(error).__name__) from error
