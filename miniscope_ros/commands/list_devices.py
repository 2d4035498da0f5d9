# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""List the Miniscope DAQ boxes and cameras of this computer, for people or (--json) programs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
import json
import sys
from typing import Any

from miniscope_ros.errors import DeviceError
from miniscope_ros.transports import discovery
from miniscope_ros.transports.v4l2_formats import list_formats

_HEADINGS = ('DEVICE', 'USB PORT', 'NAME', 'BY PATH')


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what there is; return 1 if a person asked and there is no usable box, else 0."""
    options = _parser().parse_args(arguments)
    boxes = discovery.boxes()
    if options.json:
        listed = discovery.scan() if options.cameras else boxes
        print(json.dumps([_as_dict(one, options.cameras) for one in listed], indent=2))
        return 0
    unusable = [box for box in discovery.usb_boxes() if box.problem]
    if boxes:
        _print_table(boxes)
    for box in unusable:
        print(f'{box.usb_port}: {box.problem}', file=sys.stderr)
    if not boxes and not unusable:
        print(discovery.NOTHING_FOUND, file=sys.stderr)
    cameras = [camera for camera in discovery.scan() if not camera.is_box]
    if cameras:
        print('\nOther cameras (source: camera):')
    for camera in cameras:
        print(f'{camera.path}  {camera.name}  {camera.by_path}')
        for line in _formats(camera.path):
            print(f'    {line}')
    return 0 if boxes else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='list_devices', description=__doc__,
        epilog='Each of the first and last column can be given to scope_node as device; the last '
        'stays the same when boxes are plugged in again. Without a usable box the exit status is '
        '1; with --json it is 0 and the list is empty.')
    parser.add_argument(
        '--json', action='store_true',
        help='print a list of objects: path, usb_port, name, by_path, vendor, product')
    parser.add_argument(
        '--cameras', action='store_true',
        help='with --json: all cameras, each with its formats (pixel_format, width, height, '
        'frame_rates)')
    return parser


def _print_table(boxes: Sequence[discovery.VideoNode]) -> None:
    rows = [_HEADINGS, *((box.path, box.usb_port, box.name, box.by_path) for box in boxes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = map(str.ljust, row, widths)
        print('  '.join(cells).rstrip())


def _formats(path: str) -> list[str]:
    try:
        return [str(one) for one in list_formats(path)]
    except DeviceError as error:
        return [str(error)]


def _as_dict(node: discovery.VideoNode, with_formats: bool) -> dict[str, Any]:
    result = asdict(node)
    if with_formats:
        try:
            result['formats'] = [asdict(one) for one in list_formats(node.path)]
        except DeviceError as error:
            result['formats'], result['problem'] = [], str(error)
    return result


if __name__ == '__main__':
    sys.exit(main())
