# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Command that opens a scope, makes it dark, and closes it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import sys
import time

from miniscope_ros.daq.catalogue import DeviceType, load_catalogue
from miniscope_ros.errors import ConfigurationError, DeviceError, MiniscopeError
from miniscope_ros.sources.darken import darken, darken_unknown
from miniscope_ros.stop import Stop
from miniscope_ros.transports import discovery
from miniscope_ros.watch.note import DeviceHeld, DeviceLock, LIGHTS_OFF, NODE, Note, read_note

_LOOK_AGAIN_S = 0.25
_WAIT_AFTER_S = 30.0
"""The longest wait for a box that a node has left: it may be about to return."""
_OTHERS_S = 15.0
"""The longest wait for another lights_off."""
LOUD = 'THE LIGHT MAY STILL BE ON'


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Make a scope dark.

    Exit status 0: its light is known to be dark; 1, with the reason: it is not; 2: the arguments
    are not understood.
    """
    options = _parser().parse_args(arguments)
    # A signal must not leave the job half done: it is over in seconds, whatever happens.
    stop = Stop()
    stop.install()
    try:
        print(_lights_off(options), flush=True)
    except DeviceHeld as error:
        print(f'lights_off: {error}', file=sys.stderr)
        if not options.after or error.holder.role != NODE:
            # What a node opens it makes dark first.
            print(f'lights_off: {LOUD}', file=sys.stderr)
        sys.exit(1)
    except MiniscopeError as error:
        print(f'lights_off: {error}\nlights_off: {LOUD}', file=sys.stderr)
        sys.exit(1)
    finally:
        stop.finish()


def _lights_off(options: argparse.Namespace) -> str:
    """Make it dark; return what is known now."""
    if options.device_type:
        _type(options.device_type, options.device_catalog)  # a mistake is said at once
    deadline = time.monotonic() + (_WAIT_AFTER_S if options.after else 0.0)
    while True:
        try:
            return _attempt(options)
        except DeviceHeld:
            raise
        except DeviceError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_LOOK_AGAIN_S)


def _attempt(options: argparse.Namespace) -> str:
    found = _find(options)
    lock = _lock(found)
    try:
        note = read_note(found.usb_port)
        if options.after and (note is None or note.pid != options.after):
            return (f'The light of the scope at USB port {found.usb_port} is dark: another '
                    'program has seen to it.')
        text = _make_dark(found, options, note)
        if lock is not None:
            lock.remove_note()
        return text
    finally:
        if lock is not None:
            lock.release()


def _lock(found: discovery.FoundBox) -> DeviceLock | None:
    path = found.video.path if found.video else ''
    try:
        return DeviceLock(found.usb_port, path, LIGHTS_OFF, _OTHERS_S)
    except OSError:
        return None  # without a folder for notes there is no node that has left one


def _find(options: argparse.Namespace) -> discovery.FoundBox:
    if not options.usb_port:
        return discovery.find_box(options.device)
    found = discovery.find_box_at(options.usb_port)
    if found is None:
        raise DeviceError(f'no DAQ box at USB port {options.usb_port}')
    return found


def _make_dark(
    box: discovery.FoundBox, options: argparse.Namespace, note: Note | None,
) -> str:
    if options.device_type:
        return _darken(box, _type(options.device_type, options.device_catalog))
    if note is not None and not options.device_catalog:
        return _darken(box, _type(note.device_type, note.device_catalog))
    types = darken_unknown(box, load_catalogue(options.device_catalog))
    names = ', '.join(kind.name for kind in types)
    return (f'Every type with frames of {types[0].width}x{types[0].height} was sent its dark '
            f'commands, and they were executed: if the scope is one of {names}, its light is '
            f'{_how_dark(types)}.')


def _darken(box: discovery.FoundBox, device_type: DeviceType) -> str:
    darken(box, device_type)
    return f'The light of the {device_type.name} is {_how_dark([device_type])}.'


def _how_dark(types: Sequence[DeviceType]) -> str:
    if all(kind.dark == 'full' for kind in types):
        return 'dark'
    return 'as dark as this type can be made'


def _type(name: str, catalogue_file: str) -> DeviceType:
    catalogue = load_catalogue(catalogue_file)
    if name not in catalogue:
        raise ConfigurationError(
            f'device type {name} is unknown; there are {", ".join(sorted(catalogue))}')
    return catalogue[name]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='lights_off', description='Opens a Miniscope, makes its light dark, closes it. The '
        'type of the scope is the one that is given, else the one that a node has left a note '
        'of, else every type is tried whose frames have the size of those that come.',
        epilog='Exit status: 0 the light is known to be dark, 1 it is not (the reason is said), '
        '2 the arguments are not understood.', allow_abbrev=False)
    parser.add_argument(
        'device', nargs='?', default='',
        help='a path, a name in /dev/v4l/by-path or a number; without it the only one found')
    parser.add_argument(
        '--device-type', default='', metavar='NAME', help='a type of the catalogue')
    parser.add_argument(
        '--device-catalog', default='', metavar='FILE', help='a file with more device types')
    parser.add_argument(
        '--usb-port', default='', metavar='PORT',
        help='instead of device: the USB port, as list_devices shows it')
    # For the watcher and the launch file: a node with this process id is gone.
    parser.add_argument('--after', type=int, default=0, help=argparse.SUPPRESS)
    return parser
