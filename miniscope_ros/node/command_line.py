# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What scope_node makes of its command line before ROS sees it."""

from __future__ import annotations

from collections.abc import Sequence
import re
import shlex
import sys

_PROGRAM = 'scope_node'
_ASSIGNMENT = re.compile(r'-{0,2}(?P<name>[A-Za-z_][\w.]*)(?::=|=)(?P<value>.*)')
_OPTION = re.compile(r'--?(?P<name>[A-Za-z_][\w.]*)')


def check_command_line(arguments: Sequence[str]) -> None:
    """
    Print the usage for --help, and refuse arguments that are not ROS's.

    Raises SystemExit with status 0 or 2; returns if the node may start with these arguments.
    """
    own = _without_ros_arguments(arguments)
    if not own:
        return
    if any(argument in ('-h', '--help') for argument in own):
        from miniscope_ros.node.parameter_table import usage
        print(usage(_PROGRAM))
        raise SystemExit(0)
    print(f'{_PROGRAM}: unknown argument {shlex.join(own)}; {_remedy(own)}', file=sys.stderr)
    raise SystemExit(2)


def _without_ros_arguments(arguments: Sequence[str]) -> list[str]:
    """Return what is not between --ros-args and --, or the end."""
    own, ros = [], False
    for argument in arguments:
        if argument == '--ros-args':
            ros = True
        elif ros and argument == '--':
            ros = False
        elif not ros:
            own.append(argument)
    return own


def _remedy(own: Sequence[str]) -> str:
    """Return the line that was probably meant: `--source simulated` and `source:=simulated`."""
    parameters: list[str] = []
    rest = list(own)
    while rest:
        argument = rest.pop(0)
        assignment, option = _ASSIGNMENT.fullmatch(argument), _OPTION.fullmatch(argument)
        if assignment:
            parameters.append(f'{assignment["name"]}:={assignment["value"]}')
        elif option and rest and not rest[0].startswith('--'):
            if option['name'] == 'p':
                continue  # `-p name:=value` without --ros-args
            parameters.append(f'{option["name"]}:={rest.pop(0)}')
        else:
            return f'--help lists what there is; parameters come as in: {_EXAMPLE}'
    given = ' '.join(f'-p {shlex.quote(parameter)}' for parameter in parameters)
    return f'parameters come after --ros-args: {_PROGRAM} --ros-args {given}'


_EXAMPLE = f'{_PROGRAM} --ros-args -p source:=simulated -p led:=20.0'
