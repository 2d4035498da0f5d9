# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What a box must know of the scope at its cable, out of the catalogue's data file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import re
from typing import Any

import yaml

CATALOG = Path(__file__).parents[2] / 'miniscope_ros' / 'daq' / 'device_types.yaml'
CONTROLS = ('led', 'led2', 'focus', 'gain', 'frame_rate')

Description = dict[str, Any]


@dataclass(frozen=True)
class Template:
    """A control's packet: per byte its kind (box.h) and, where it is fixed, its value."""

    control: int
    kinds: tuple[int, ...]
    values: tuple[int, ...]


def describe(device_type: str, catalog: Path = CATALOG) -> Description:
    """Return a type's entry of a catalogue file."""
    with catalog.open() as file:
        types: dict[str, Description] = yaml.safe_load(file)
    return types[device_type]


def templates(description: Description) -> list[Template]:
    """Return the packets of all controls as patterns that the box can recognise."""
    result = []
    for name, control in description['controls'].items():
        for packet in control['packets']:
            kinds, values = [], []
            for word in packet.split():
                place = re.fullmatch(r'\{(b?)(\d)\}', word)
                kinds.append(0 if not place else (9 if place[1] else 1) + int(place[2]))
                values.append(0 if place else int(word, 16))
            result.append(Template(CONTROLS.index(name), tuple(kinds), tuple(values)))
    return result


def raw_value(control: Description, value: float) -> int:
    """Return the raw value of a control with minimum and maximum."""
    raw = round(value * control.get('scale', 1) - control.get('offset', 0))
    return int(raw) << int(control.get('shift', 0))


def choices(control: Description) -> list[tuple[int, int, float]]:
    """Return (raw, second raw or -1, value) of each choice; none for a control with a range."""
    result = []
    for value, raw in control.get('choices', {}).items():
        first, second = raw if isinstance(raw, list) else (raw, -1)
        result.append((first, second, float(value)))
    return result
