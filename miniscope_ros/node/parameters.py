# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Parameters as data, and the checks they pass before they are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
import logging
import math
from types import MappingProxyType
from typing import Any

from miniscope_ros.errors import ConfigurationError
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter

_log = logging.getLogger(__name__)

_LONGEST_REASON = 1000  # characters; a request may hold a text of any length

Value = bool | int | float | str | list[str]
Values = Mapping[str, Any]

_FOREIGN = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')
"""Parameters of rclpy's own, which are none of our business."""

_TYPE_NAMES = {
    bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a text',
    list: 'a list of texts'}


class Mutability(Enum):
    """When a parameter may be changed."""

    FIXED = 'set at start only'
    UNCONFIGURED = 'only while the node is unconfigured; clean it up first'
    INACTIVE = 'not while the node is active; deactivate it first'
    ALWAYS = 'at any time'


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter; its type is that of its default."""

    name: str
    default: Value
    text: str
    when: Mutability = Mutability.ALWAYS
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] = ()
    length: int | None = None  # of a list

    @property
    def allowed(self) -> str:
        """Return what can be set, in words."""
        if self.choices:
            return 'one of ' + ', '.join(_show(choice) for choice in self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f'{_show(self.minimum)} to {_show(self.maximum)}'
        if self.minimum is not None:
            return f'{_show(self.minimum)} or more'
        if self.length is not None:
            return f'{self.length} names'
        return _TYPE_NAMES[type(self.default)]

    def convert(self, value: Any) -> Any:
        """Return a value in the parameter's type; ValueError names what is allowed."""
        kind = type(self.default)
        if kind is float and type(value) is int:
            value = float(value)
        elif kind is str and type(value) is int:
            value = str(value)  # a command line turns the device 0 into a number
        elif kind is list and not isinstance(value, str) and isinstance(value, Sequence):
            value = list(value)
        if type(value) is not kind or (kind is list and not _all_texts(value)):
            raise ValueError(f'{self.name} cannot be {value!r}: it is {_TYPE_NAMES[kind]}')
        if not self._fits(value):
            raise ValueError(f'{self.name} cannot be {_show(value)}: it is {self.allowed}')
        return value

    def _fits(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if self.length is not None:
            return len(value) == self.length
        if isinstance(value, (int, float)):
            return (math.isfinite(value)
                    and (self.minimum is None or value >= self.minimum)
                    and (self.maximum is None or value <= self.maximum))
        return True

    def descriptor(self) -> ParameterDescriptor:
        """Return the descriptor that rqt_reconfigure and `ros2 param describe` show."""
        descriptor = ParameterDescriptor(
            name=self.name, description=self.text, read_only=self.when is Mutability.FIXED)
        constraints = [] if self.minimum is not None and not self.choices else [self.allowed]
        if self.when is not Mutability.ALWAYS:
            constraints.append(self.when.value)
        descriptor.additional_constraints = '; '.join(constraints)
        if self.choices or self.minimum is None or self.maximum is None:
            return descriptor
        if isinstance(self.default, int):
            descriptor.integer_range = [
                IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum), step=1)]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=self.minimum, to_value=self.maximum)]
        return descriptor


Rule = Callable[[Mapping[str, Any]], str | None]
"""A rule over several parameters: returns why the values cannot be together, or None."""


class Parameters:
    """
    The parameters of one node.

    The node is made with automatically_declare_parameters_from_overrides, so that what was given
    at start can be seen before it is declared, unknown names too.
    """

    def __init__(self, node: LifecycleNode, stage: Callable[[], str]) -> None:
        """Prepare for a node; stage returns its state: unconfigured, inactive, active."""
        self._node = node
        self._stage = stage
        self._elsewhere: Callable[[str], str] = lambda name: ''
        self._specs: dict[str, ParameterSpec] = {}
        self._rules: list[Rule] = []
        self._values: Values = MappingProxyType({})

    def declare(self, specs: Iterable[ParameterSpec]) -> None:
        """Declare parameters; ConfigurationError for a value given at start that is no good."""
        for spec in specs:
            value = spec.default
            if self._node.has_parameter(spec.name):
                value = self._node.get_parameter(spec.name).value
                self._node.undeclare_parameter(spec.name)
            try:
                value = spec.convert(value)
            except ValueError as error:
                raise ConfigurationError(str(error)) from None
            self._node.declare_parameter(
                spec.name, value, spec.descriptor(), ignore_override=True)
            self._specs[spec.name] = spec
        self._take_snapshot()

    def finish(self, rules: Iterable[Rule], elsewhere: Callable[[str], str]) -> None:
        """
        Refuse names that do not exist and values that cannot be together.

        elsewhere returns in words which other sources or device types have a parameter, '' if
        none has. Raises ConfigurationError.
        """
        self._rules = list(rules)
        self._elsewhere = elsewhere
        unknown = sorted(
            name for name in self._node.get_parameters_by_prefix('')
            if name not in self._specs and not name.startswith(_FOREIGN))
        if unknown:
            known = ', '.join(sorted(self._specs))
            hints = ''.join(
                f'; {name} is a parameter of {where}' for name in unknown
                if (where := self._elsewhere(name)))
            raise ConfigurationError(
                f'unknown parameter {", ".join(unknown)}{hints}; with this source and device '
                f'type there are: {known}')
        problems = self._broken_rules(self.values)
        if problems:
            raise ConfigurationError('; '.join(problems))

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    @property
    def values(self) -> Values:
        """All values by name, as a snapshot that does not change."""
        return self._values

    def _take_snapshot(self) -> None:
        self._values = MappingProxyType({
            name: self._node.get_parameter(name).value for name in self._specs})

    def set(
        self, parameters: Sequence[Parameter],
        store: Callable[[list[Parameter]], SetParametersResult],
        refuse: Callable[[str, Any], str],
    ) -> tuple[SetParametersResult, list[str]]:
        """
        Check all parameters, take all or none; every refusal is one line in the log.

        store puts them into the node; refuse returns why the open device cannot take a value,
        or an empty text. Returns the answer, and the names that were taken.
        """
        converted, problems = self._check(parameters)
        problems += filter(None, (refuse(one.name, one.value) for one in converted))
        result = refusal(problems) if problems else (
            store(converted) if converted else SetParametersResult(successful=True))
        if not result.successful:
            _log.warning('parameters refused: %s', result.reason)
            return result, []
        self._take_snapshot()
        return result, [parameter.name for parameter in converted]

    def problems(self, name: str, value: Any) -> list[str]:
        """Return every reason against setting a parameter now; nothing is set."""
        return self._check([Parameter(name, value=value)])[1]

    def _check(self, parameters: Sequence[Parameter]) -> tuple[list[Parameter], list[str]]:
        """
        Return the parameters in their own types, and every reason against taking them.

        rclpy's own checks come before any callback and name no limits, so this has to be asked
        before rclpy is. A value that is in force already is never refused: a dump that is loaded
        again has many that cannot be changed. What cannot be changed is left out then.
        """
        converted: list[Parameter] = []
        problems: list[str] = []
        for parameter in parameters:
            spec = self._specs.get(parameter.name)
            if spec is None:
                self._check_foreign(parameter, converted, problems)
                continue
            try:
                value = spec.convert(parameter.value)
            except ValueError as error:
                problems.append(str(error))
                continue
            if self._may_change(spec):
                converted.append(Parameter(spec.name, value=value))
            elif value != self._values[spec.name]:
                problems.append(f'{spec.name} cannot be changed now: {spec.when.value}')
        if not problems:
            new = {parameter.name: parameter.value for parameter in converted}
            problems = self._broken_rules({**self._values, **new})
        return converted, problems

    def _check_foreign(
        self, parameter: Parameter, converted: list[Parameter], problems: list[str],
    ) -> None:
        """Check a parameter that rclpy has, or nobody."""
        if not self._node.has_parameter(parameter.name):
            where = self._elsewhere(parameter.name)
            problems.append(f'there is no parameter {parameter.name}'
                            + (f' with this source: it is one of {where}' if where else ''))
        elif parameter.value != self._node.get_parameter(parameter.name).value:
            converted.append(parameter)

    def _may_change(self, spec: ParameterSpec) -> bool:
        stage = self._stage()
        if spec.when is Mutability.FIXED:
            return False
        if spec.when is Mutability.UNCONFIGURED:
            return stage == 'unconfigured'
        return spec.when is Mutability.ALWAYS or stage != 'active'

    def _broken_rules(self, values: Mapping[str, Any]) -> list[str]:
        return [reason for rule in self._rules if (reason := rule(values)) is not None]


def refusal(problems: Iterable[str]) -> SetParametersResult:
    """Return the answer that refuses for these reasons, all in one line."""
    return SetParametersResult(successful=False, reason='; '.join(map(one_line, problems)))


def one_line(text: str) -> str:
    """Return a text without line breaks, and without its middle where it is very long."""
    line = ' '.join(text.split())
    half = _LONGEST_REASON // 2
    return line if len(line) <= _LONGEST_REASON else f'{line[:half]} .. {line[-half:]}'


def _all_texts(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _show(value: Any) -> str:
    return f'{value:g}' if isinstance(value, float) else str(value) or "''"
