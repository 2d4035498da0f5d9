# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Print the README's table of device types, made from the catalogue."""
from miniscope_ros.daq.catalogue import DeviceType, load_catalogue
from miniscope_ros.daq.control import Control

HEAD = ('| device_type | image [px] | frames/s | gain | LED | focus | orientation | dark at 0 |',
        '|---|---|---|---|---|---|---|---|')


def choices(control: Control) -> str:
    return ', '.join(f'{value:g}' for value in sorted(control.choices or ()))


def light(device_type: DeviceType) -> str:
    lights = device_type.lights
    unit = ' %' if lights[0].maximum == 100 else ''
    return f'{len(lights)} x 0..{lights[0].maximum:g}{unit}'.removeprefix('1 x ')


def row(name: str, device_type: DeviceType) -> str:
    controls = device_type.controls
    focus = controls.get('focus')
    return ' | '.join((
        f'| `{name}`', f'{device_type.width}x{device_type.height}',
        choices(controls['frame_rate']), choices(controls['gain']), light(device_type),
        f'{focus.minimum:g}..{focus.maximum:g}' if focus else 'no',
        'yes' if device_type.orientation else 'no', f'{device_type.dark} |'))


def table() -> str:
    """Return the table as Markdown."""
    rows = [row(name, one) for name, one in load_catalogue().items()]
    return '\n'.join([*HEAD, *rows]) + '\n'


if __name__ == '__main__':
    print(table(), end='')
