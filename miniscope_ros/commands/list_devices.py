# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""List the Miniscope DAQ boxes of this computer, for people or (--json) for programs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
import json
import sys

from miniscope_ros.transports import discovery

_HEADINGS = ('DEVICE', 'USB PORT', 'NAME', 'BY PATH')


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the boxes; return 1 if a person asked and there is none, else 0."""
    parser = argparse.ArgumentParser(
        prog='list_devices', description=__doc__,
        epilog='Each of the first and last column can be given to scope_node as device; the last '
        'stays the same when boxes are plugged in again. Without a box the exit status is 1, '
        'with --json it is 0 and the list is empty.')
    parser.add_argument(
        '--json', action='store_true',
        help='print a list of objects: path, usb_port, name, by_path, vendor, product')
    as_json = parser.parse_args(arguments).json
    boxes = discovery.boxes()
    if as_json:
        print(json.dumps([asdict(box) for box in boxes], indent=2))
        return 0
    if not boxes:
        print(discovery.NOTHING_FOUND, file=sys.stderr)
        return 1
    rows = [_HEADINGS, *((box.path, box.usb_port, box.name, box.by_path) for box in boxes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = map(str.ljust, row, widths)
        print('  '.join(cells).rstrip())
    return 0


if __name__ == '__main__':
    sys.exit(main())
