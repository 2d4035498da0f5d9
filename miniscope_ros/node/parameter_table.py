# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The parameters in words: for --help, and as the page docs/parameters.md.

Run as a program it prints the page; a test compares it with the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from miniscope_ros.daq.catalogue import DeviceType, load_catalogue
from miniscope_ros.daq.control import show
from miniscope_ros.node.parameter_specs import (
    CAMERA_SPECS,
    common_specs,
    control_specs,
    DAQ_SPECS,
    DEVICE_CATALOG,
    device_type_spec,
    REPLAY_SPECS,
    SOURCE,
    TRIGGER_SPECS,
)
from miniscope_ros.node.parameters import Mutability, ParameterSpec

_DEFAULT_TYPE = 'Miniscope_V4_BNO'

_WHEN = {
    Mutability.FIXED: 'at start only',
    Mutability.UNCONFIGURED: 'while unconfigured',
    Mutability.INACTIVE: 'while not active',
    Mutability.ALWAYS: 'at any time',
}

_USAGE = """\
usage: {program} [--help] [--ros-args -p NAME:=VALUE ... [-r __ns:=/NAMESPACE] [-r __node:=NAME]
                  [--params-file FILE]]

The lifecycle node of a Miniscope: it streams frames, head orientation and frame accounting.
Examples:
  {program} --ros-args -p source:=simulated -p led:=20.0
  {program} --ros-args -p device:=/dev/video0 -p frame_rate:=20.0 -p led:=15.0
  {program} --ros-args -p source:=replay -p replay.path:=/data/mouse7
"""

_PAGE = """\
# Parameters

This page is made from the node's own descriptors. `python3 -m miniscope_ros.node.parameter_table`
prints it; a test compares the two.

`ros2 param describe /miniscope NAME` shows limits and choices of a running node. A value that
cannot be used is refused with a reason that names the valid ones, and the refusal is one warning
in the log. A value that is in force already is always accepted.
"""


def _groups(catalogue: dict[str, DeviceType]) -> list[tuple[str, list[ParameterSpec]]]:
    """Return the parameters of all sources by what has them."""
    default = catalogue[_DEFAULT_TYPE]
    return [
        ('every source', [
            SOURCE, DEVICE_CATALOG, device_type_spec(tuple(catalogue)), *common_specs('NODE')]),
        (f'source daq or simulated (here of a {_DEFAULT_TYPE})', [
            *control_specs(default), *TRIGGER_SPECS]),
        ('source daq', DAQ_SPECS),
        ('source camera', CAMERA_SPECS),
        ('source replay', REPLAY_SPECS),
    ]


def usage(program: str) -> str:
    """Return what --help prints."""
    lines = [_USAGE.format(program=program)]
    for title, specs in _groups(load_catalogue()):
        lines.append(f'parameters of {title}:')
        for spec in specs:
            default = _default(spec)
            lines.append(f'  {spec.name:<32} {default:<22} {spec.text}')
        lines.append('')
    return '\n'.join(lines).rstrip()


def page() -> str:
    """Return docs/parameters.md as Markdown."""
    catalogue = load_catalogue()
    parts = [_PAGE]
    for title, specs in _groups(catalogue):
        parts += [
            f'## Parameters of {title}\n',
            _table(('name', 'default', 'values', 'may change', 'meaning'), (
                (f'`{spec.name}`', _code(_default(spec)), _values(spec), _WHEN[spec.when],
                 spec.text) for spec in specs))]
    parts += [
        '## Controls by device type\n',
        'The unit of `led` is percent, but 0 to 255 for a `Miniscope_V3`. The first number of '
        '`frame_rate`, `focus` and `gain` is the default.\n',
        _table(('device_type', 'frame_rate', 'led', 'led2', 'focus', 'gain'), (
            (f'`{device_type.name}`', *(
                _control(device_type, name)
                for name in ('frame_rate', 'led', 'led2', 'focus', 'gain')))
            for device_type in catalogue.values()))]
    return '\n'.join(parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return ''.join(
        '| ' + ' | '.join(cell.replace('|', '\\|') for cell in line) + ' |\n' for line in lines)


def _default(spec: ParameterSpec) -> str:
    if isinstance(spec.default, bool):
        return str(spec.default).lower()
    if isinstance(spec.default, list):
        return ', '.join(spec.default)
    return str(spec.default) or "''"


def _code(text: str) -> str:
    return f'`{text}`'


def _values(spec: ParameterSpec) -> str:
    if spec.name == 'device_type':
        return 'a name of the table below, or of device_catalog'
    return spec.allowed


def _control(device_type: DeviceType, name: str) -> str:
    control = device_type.controls.get(name)
    if control is None:
        return ''
    if control.choices is None:
        limits = f'{show(control.minimum)} to {show(control.maximum)}'
        return limits if name.startswith('led') else f'{show(control.start)}; {limits}'
    choices = ', '.join(show(choice) for choice in sorted(control.choices))
    return f'{show(control.start)}; {choices}'


if __name__ == '__main__':
    print(page(), end='')
