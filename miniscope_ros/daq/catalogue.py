# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The types of Miniscope, read from data.

The format is described at the head of device_types.yaml; a user's file adds types to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
import os
from pathlib import Path
import re
import reprlib
from typing import Any, NoReturn

from miniscope_ros.daq.control import Control, LIGHTS, show, Slot, Template
from miniscope_ros.daq.packets import check, Packet, parse, START_ORIENTATION
from miniscope_ros.errors import ConfigurationError, DeviceError
from miniscope_ros.regular import read_bytes
from miniscope_ros.yaml_text import FAULTS
import yaml

__all__ = ['Control', 'DeviceType', 'LIGHTS', 'load_catalogue', 'SIZES']

SIZES = ((608, 608), (752, 480), (800, 800), (1000, 1000), (1024, 768), (1296, 972),
         (1500, 1500), (1800, 1800), (2592, 1944))
"""The image sizes (width, height) [px] that the DAQ box offers."""

DARKNESS = ('full', 'residual', 'unknown')

_CONTROLS = (*LIGHTS, 'focus', 'gain', 'frame_rate')
_RANGED = (*LIGHTS, 'focus')  # what has to be a range; frame_rate has to be a choice
_LARGEST_FILE = 1 << 20  # bytes; that of the package has 14 kB
_CELL = re.compile(r'(?P<literal>[0-9A-Fa-f]{2})|\{(?P<second>b?)(?P<byte>[0-3])\}')


@dataclass(frozen=True)
class DeviceType:
    """What there is to know about one type of scope."""

    name: str
    sensor: str
    width: int  # [px]
    height: int  # [px]
    pixel_clock: float  # [MHz]
    orientation: bool  # whether it has the sensor
    dark: str  # how dark the lights are at value 0: one of DARKNESS
    controls: Mapping[str, Control]
    init: tuple[Packet, ...]

    @property
    def lights(self) -> tuple[Control, ...]:
        """Return the controls that are lights."""
        return tuple(self.controls[name] for name in LIGHTS if name in self.controls)


def load_catalogue(user_file: str | os.PathLike[str] | None = None) -> dict[str, DeviceType]:
    """
    Return the package's device types by name, and those of the user's file if one is given.

    Raises DeviceError for a file that cannot be read and ConfigurationError, naming file, type,
    key and remedy, for one whose content is at fault.
    """
    built_in = resources.files('miniscope_ros.daq').joinpath('device_types.yaml')
    catalogue = _read_types('device_types.yaml', built_in.read_bytes())
    if not user_file:
        return catalogue
    file = os.fspath(user_file)
    try:
        content = read_bytes(Path(file), _LARGEST_FILE)
    except OSError as error:
        raise DeviceError(
            f'the device catalogue {file} cannot be read: {error.strerror}; correct that, or set '
            "device_catalog to another file or to ''") from error
    added = _read_types(file, content)
    for name in added:
        if name in catalogue:
            _fail(f'{file}: {name}', 'the package has a type of this name; choose another name')
    return catalogue | added


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses what YAML would overwrite in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                raise yaml.MarkedYAMLError(
                    problem=f'{key} stands twice in one place; remove one of the two',
                    problem_mark=key_node.start_mark)
            keys.append(key)
        return super().construct_mapping(node, deep)


def _read_types(file: str, content: bytes) -> dict[str, DeviceType]:
    try:
        data = yaml.load(content, _Loader)
    except FAULTS as error:
        mark = getattr(error, 'problem_mark', None)
        line = f'line {mark.line + 1}: ' if mark else ''
        problem = ' '.join(str(getattr(error, 'problem', None) or error).split())
        _fail(file, f'{line}no valid YAML: {problem}; correct that')
    if not isinstance(data, dict) or not data:
        _fail(file, f'holds {_name(data)}; it has to map names of device types to their entries')
    for name in data:
        if not isinstance(name, str) or not name:
            _fail(file, f'{_name(name)} is no name of a type; write it in quotes')
    return {name: _read_type(f'{file}: {name}', name, entry) for name, entry in data.items()}


def _read_type(where: str, name: str, data: object) -> DeviceType:
    entry = _mapping(where, data, required=(
        'sensor', 'size', 'pixel_clock', 'orientation', 'dark', 'controls', 'init'))
    width, height = _size(f'{where}: size', entry['size'])
    pixel_clock = _number(f'{where}: pixel_clock', entry['pixel_clock'])
    if pixel_clock <= 0:
        _fail(f'{where}: pixel_clock', f'{show(pixel_clock)} MHz; it has to be above 0')
    if not isinstance(entry['orientation'], bool):
        _fail(f'{where}: orientation', f'{_name(entry["orientation"])}; write true or false')
    if entry['dark'] not in DARKNESS:
        _fail(f'{where}: dark', f'{_name(entry["dark"])}; write one of {", ".join(DARKNESS)}')
    controls = _mapping(
        f'{where}: controls', entry['controls'], required=('frame_rate',), optional=_CONTROLS)
    init = tuple(
        _packet(f'{where}: init', text) for text in _list(f'{where}: init', entry['init']))
    if entry['orientation'] and START_ORIENTATION not in init:
        _fail(f'{where}: init', "'FE 00' is missing, which starts the orientation sensor; add it, "
                                'or write orientation: false')
    return DeviceType(
        name, _text(f'{where}: sensor', entry['sensor']), width, height, pixel_clock,
        entry['orientation'], entry['dark'],
        {key: _read_control(f'{where}: controls: {key}', key, controls[key])
         for key in controls},
        init)


def _read_control(where: str, name: str, data: object) -> Control:
    keys = ('min', 'max', 'scale', 'offset', 'shift', 'choices')
    entry = _mapping(where, data, required=('start', 'packets'), optional=keys)
    if 'choices' in entry:
        if len(entry) != 3:
            surplus = ', '.join(key for key in keys[:-1] if key in entry)
            _fail(where, f'choices and {surplus}; keep choices or the others')
        if name in _RANGED:
            _fail(where, 'choices; this control needs min and max')
        minimum = maximum = None
        choices = _choices(f'{where}: choices', entry['choices'])
    else:
        if 'min' not in entry or 'max' not in entry:
            _fail(where, 'neither choices nor both of min and max; add them')
        if name == 'frame_rate':
            _fail(where, 'min and max; this control needs choices')
        minimum, maximum = (_number(f'{where}: {key}', entry[key]) for key in ('min', 'max'))
        if not minimum < maximum:
            _fail(where, f'min {show(minimum)} is not below max {show(maximum)}')
        choices = None
    shift = entry.get('shift', 0)
    if type(shift) is not int or not 0 <= shift < 32:
        _fail(f'{where}: shift', f'{_name(shift)}; write a whole number from 0 to 31')
    control = Control(
        name, minimum, maximum, choices,
        _number(f'{where}: start', entry['start']),
        _number(f'{where}: scale', entry.get('scale', 1)),
        _number(f'{where}: offset', entry.get('offset', 0)),
        shift,
        tuple(_template(f'{where}: packets', text)
              for text in _list(f'{where}: packets', entry['packets'])))
    _check_control(where, control)
    return control


def _check_control(where: str, control: Control) -> None:
    """Check what concerns more than one key of a control."""
    if control.scale == 0:
        _fail(f'{where}: scale', '0; it has to differ from 0')
    if control.name in LIGHTS and control.minimum != 0:
        _fail(f'{where}: min', f'{show(control.minimum)}; a light starts at 0, its darkest')
    if control.name == 'focus' and ((control.minimum or 0) % 1 or (control.maximum or 0) % 1):
        _fail(where, f'{control.allowed}; min and max of focus are whole numbers')
    if control.name == 'frame_rate' and min(control.choices or ()) <= 0:
        _fail(f'{where}: choices', f'{control.allowed}; frame rates are above 0')
    try:
        control.check(control.start)
    except ValueError as error:
        _fail(f'{where}: start', str(error))
    if control.choices is None:
        assert control.minimum is not None and control.maximum is not None
        raws = [control.raw(control.minimum), control.raw(control.maximum)]
    else:
        raws = list(control.choices.values())
    _check_slots(f'{where}: packets', control.templates, raws)


def _check_slots(
        where: str, templates: Iterable[Template], raws: list[tuple[int, ...]]) -> None:
    """Check that the packets carry the raw values, whole and nothing else."""
    slots = set().union(*(template.slots for template in templates))
    words = len(raws[0])
    for word, letter in enumerate(('', 'b')):
        held = sorted(slot.byte for slot in slots if slot.word == word)
        if word >= words:
            if held:
                _fail(where, f'{{b{held[0]}}} stands for a second raw value, which the control '
                             'does not have; remove it')
            continue
        if not held or held != list(range(len(held))):
            _fail(where, f'{{{letter}0}} and the bytes above it, each up to the highest in use, '
                         'have to be in the packets; add what is missing')
        for raw in raws:
            if not 0 <= raw[word] < 1 << 8 * len(held):
                _fail(where, f'raw value {raw[word]} does not fit into the {8 * len(held)} bits '
                             f'that the packets carry; let them carry more, up to {{{letter}3}}, '
                             'or change the value')


def _choices(where: str, data: object) -> dict[float, tuple[int, ...]]:
    if not isinstance(data, dict) or not data:
        _fail(where, f'holds {_name(data)}; write values with their raw values, as in {{1: 225}}')
    choices = {}
    for key, raw in data.items():
        value = _number(where, key)
        raws = raw if isinstance(raw, list) else [raw]
        if not 1 <= len(raws) <= 2 or any(type(number) is not int for number in raws):
            _fail(f'{where}: {show(value)}', f'{_name(raw)}; write one raw value or a list of '
                                             'two, each a whole number')
        choices[value] = tuple(raws)
    if len({len(raw) for raw in choices.values()}) > 1:
        _fail(where, 'some have one raw value and some two; write the same number for all')
    return choices


def _template(where: str, text: object) -> Template:
    cells: list[int | Slot] = []
    for part in _text(where, text).split():
        cell = _CELL.fullmatch(part)
        if cell is None:
            _fail(where, f"'{part}' in '{text}' is neither two hex digits nor one of {{0}} to "
                         '{3}, {b0} to {b3}')
        elif cell['literal']:
            cells.append(int(cell['literal'], 16))
        else:
            cells.append(Slot(len(cell['second']), int(cell['byte'])))
    template = Template(tuple(cells))
    if cells and isinstance(cells[0], Slot):
        _fail(where, f"'{text}' begins with {{..}}; a packet begins with an address")
    try:
        check(template.fill((0, 0)))
    except ValueError as error:
        _fail(where, f"'{text}' is no packet: {error}")
    return template


def _packet(where: str, text: object) -> Packet:
    try:
        return parse(_text(where, text))
    except ValueError as error:
        _fail(where, str(error))


def _mapping(
        where: str, data: object, required: Iterable[str],
        optional: Iterable[str] = ()) -> dict[str, Any]:
    if not isinstance(data, dict):
        _fail(where, f'holds {_name(data)}; write key: value pairs')
    known = (*required, *(key for key in optional if key not in required))
    for key in data:
        if key not in known:
            _fail(where, f'unknown key {_name(key)}; the keys are {", ".join(known)}')
    for key in required:
        if key not in data:
            _fail(where, f'{key} is missing; add it')
    return data


def _list(where: str, data: object) -> list[object]:
    if not isinstance(data, list) or not data:
        _fail(where, f"holds {_name(data)}; write a list of packets, as in ['C0 22 02']")
    return data


def _size(where: str, data: object) -> tuple[int, int]:
    for size in SIZES:
        if data == list(size):
            return size
    sizes = ', '.join(f'[{width}, {height}]' for width, height in SIZES)
    _fail(where, f'{_name(data)}; the DAQ box has {sizes}')


def _text(where: str, data: object) -> str:
    if not isinstance(data, str) or not data:
        _fail(where, f'{_name(data)} is no text; write it in quotes')
    return data


def _number(where: str, data: object) -> float:
    # Beyond 1e9 is no unit of anything, and arithmetic on it could overflow.
    if isinstance(data, bool) or not isinstance(data, (int, float)) or not abs(data) <= 1e9:
        _fail(where, f'{_name(data)} is no number up to 1e9; write one as in 3 or 0.5')
    return float(data)


def _fail(where: str, problem: str) -> NoReturn:
    raise ConfigurationError(f'{where}: {problem}')


def _name(data: object) -> str:
    return 'nothing' if data is None or data in ({}, [], '') else reprlib.repr(data)
