# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Controls of the page, made from a node's parameters and their descriptors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
import math
from typing import Any

from rcl_interfaces.msg import Parameter, ParameterDescriptor, ParameterType, ParameterValue
from rclpy.parameter import parameter_value_to_python

KINDS = {
    ParameterType.PARAMETER_BOOL: 'bool', ParameterType.PARAMETER_INTEGER: 'integer',
    ParameterType.PARAMETER_DOUBLE: 'double', ParameterType.PARAMETER_STRING: 'string',
    ParameterType.PARAMETER_STRING_ARRAY: 'strings',
}
_FOREIGN = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')
"""Parameters of rclpy's own."""

_CHOICES = 'one of '
_DISPLAY = 'display.'
_STEERING = ('led', 'led2', 'max_led', 'focus', 'gain', 'frame_rate', 'exposure')
"""What steers the device, in the order of the page."""

_FIRST = (*_STEERING, 'display.mode', 'display.color_map', 'display.minimum', 'display.maximum')
"""What is used most comes first; the rest follows by name."""

_LONGEST_TEXT = 4096


@dataclass(frozen=True)
class Control:
    """One parameter as the page shows it."""

    name: str
    kind: str  # one of KINDS
    value: Any
    text: str
    note: str  # what the descriptor says besides range and choices
    read_only: bool
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """Return where it stands: device, display or settings."""
        if self.name in _STEERING:
            return 'device'
        return 'display' if self.name.startswith(_DISPLAY) else 'settings'

    def as_json(self) -> dict[str, Any]:
        """Return it as the page takes it."""
        value = None if isinstance(self.value, float) and not math.isfinite(self.value) else (
            self.value)
        return {
            'name': self.name, 'kind': self.kind, 'value': value, 'text': self.text,
            'note': self.note, 'readOnly': self.read_only, 'minimum': self.minimum,
            'maximum': self.maximum, 'choices': self.choices, 'group': self.group}

    def with_value(self, value: Any) -> Control:
        """Return it with another value."""
        return replace(self, value=value)

    def message(self, value: Any) -> Parameter:
        """
        Return the parameter with a value from the page.

        Raises ValueError for what cannot be a value of its type; ranges are the node's business,
        which answers with a reason.
        """
        return Parameter(name=self.name, value=_to_message(self.name, self.kind, value))


def visible(names: Sequence[str]) -> list[str]:
    """Return the names of parameters that are the node's own."""
    return [name for name in names if not name.startswith(_FOREIGN)]


def make_control(descriptor: ParameterDescriptor, value: ParameterValue) -> Control | None:
    """Return the control of a parameter, or None where the page has none for its type."""
    kind = KINDS.get(value.type)
    if kind is None:
        return None
    choices, note = _constraints(descriptor.additional_constraints)
    low, high = _range(descriptor)
    return Control(
        descriptor.name, kind, parameter_value_to_python(value), descriptor.description, note,
        descriptor.read_only, low, high, choices)


def order(controls: Mapping[str, Control]) -> list[Control]:
    """Return controls in the order of the page."""
    def rank(control: Control) -> tuple[int, str]:
        known = control.name in _FIRST
        return (_FIRST.index(control.name) if known else len(_FIRST), control.name)

    return sorted(controls.values(), key=rank)


def _constraints(text: str) -> tuple[tuple[str, ...], str]:
    """Return the choices that a descriptor's constraints name, and what else they say."""
    choices: tuple[str, ...] = ()
    notes = []
    for part in filter(None, (part.strip() for part in text.split(';'))):
        if part.startswith(_CHOICES):
            choices = tuple('' if choice == "''" else choice
                            for choice in part.removeprefix(_CHOICES).split(', '))
        else:
            notes.append(part)
    return choices, '; '.join(notes)


def _range(descriptor: ParameterDescriptor) -> tuple[float | None, float | None]:
    for limits in (*descriptor.floating_point_range, *descriptor.integer_range):
        return limits.from_value, limits.to_value
    return None, None


def _to_message(name: str, kind: str, value: Any) -> ParameterValue:
    if kind == 'bool' and isinstance(value, bool):
        return ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == 'integer' and number and float(value).is_integer() and abs(value) < 2 ** 63:
        return ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=int(value))
    if kind == 'double' and number and math.isfinite(value):
        return ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=float(value))
    if kind == 'string' and _is_text(value):
        return ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
    if kind == 'strings' and isinstance(value, list) and all(map(_is_text, value)):
        return ParameterValue(
            type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=value)
    raise ValueError(f'{name} cannot be {value!r}: it is of the type {kind}')


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT and '\0' not in value
