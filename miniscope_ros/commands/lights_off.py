# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Command that opens a scope, makes it dark, and closes it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import sys
from threading import Event

from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.errors import ConfigurationError, MiniscopeError
from miniscope_ros.sources.registry import make_daq
from miniscope_ros.stop import Stop

_FIRST_FRAME = 2.0  # [s]


def main(arguments: Sequence[str] | None = None) -> None:
    """Make a scope dark; exit status 1, with the reason, if it is not known to be dark."""
    options = _parser().parse_args(arguments)
    # A signal must not leave the job half done: it is over in seconds, whatever happens.
    Stop().install()
    try:
        catalogue = load_catalogue(options.device_catalog)
        if options.device_type not in catalogue:
            raise ConfigurationError(
                f'device type {options.device_type} is unknown; there are '
                f'{", ".join(sorted(catalogue))}')
        device_type = catalogue[options.device_type]
        values = {name: control.start for name, control in device_type.controls.items()}
        make_daq(options.device, device_type, Event(), values).make_dark(_FIRST_FRAME)
    except MiniscopeError as error:
        print(f'lights_off: {error}\nlights_off: THE LIGHT MAY STILL BE ON', file=sys.stderr)
        sys.exit(1)
    dark = 'dark' if device_type.dark == 'full' else 'as dark as this type can be made'
    print(f'The light of the {device_type.name} is {dark}.')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='lights_off', description='Opens a Miniscope, makes its light dark, closes it.')
    parser.add_argument(
        'device', nargs='?', default='',
        help='a path, a name in /dev/v4l/by-path or a number; without it the only one found')
    parser.add_argument('--device-type', default='Miniscope_V4_BNO', metavar='NAME')
    parser.add_argument('--device-catalog', default='', metavar='FILE')
    return parser
