# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Run the benchmark: tools/env python3 -m benchmark --help."""
import argparse
import itertools
import os
from pathlib import Path
import signal
import sys
import time

from domain_coordinator import domain_id

from . import figures, report
from .effort import FULL, QUICK

ROOT = Path(__file__).parent.parent


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='python3 -m benchmark', description='Measure what the driver costs and can do.')
    parser.add_argument(
        '--quick', action='store_true', help='seconds in place of minutes, for a first look')
    parser.add_argument(
        '--figures', type=int, nargs='+', choices=figures.FIGURES,
        default=list(figures.FIGURES), metavar='N',
        help='which of the figures 1 to 12; default all')
    parser.add_argument(
        '--cpus', type=int, default=2, help='how many cores to use; default 2, 0 = all')
    parser.add_argument(
        '--output', type=Path, default=ROOT / 'build' / 'benchmark.json',
        help='the JSON file; the table is written beside it, in .md')
    return parser.parse_args()


def pin(count: int) -> set[int]:
    """Keep this process and its children to so many cores, the last ones."""
    available = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, available[-count:])
    return os.sched_getaffinity(0)


def measure(arguments: argparse.Namespace) -> bool:
    """Run the figures, print each row as soon as it is known; return whether all could be run."""
    effort = QUICK if arguments.quick else FULL
    description = report.machine(pin(arguments.cpus))
    print(report.heading(description), flush=True)
    rows: list[report.Row] = []
    complete = True
    for number in dict.fromkeys(arguments.figures):
        began = time.monotonic()
        try:
            for row in figures.FIGURES[number](effort):
                print(row, flush=True)
                rows.append(row)
                report.write(arguments.output, description, rows)
        except (*figures.FAILURES, OSError, ZeroDivisionError, IndexError) as error:
            # OSError of a full disk; the last two where nothing was heard in the time that counts.
            print(f'figure {number} failed: {type(error).__name__}: {error}', file=sys.stderr)
            complete = False
        print(f'figure {number} took {time.monotonic() - began:.0f} s', file=sys.stderr)
    return complete


def main() -> int:
    """Return 0 if all was measured, met or not; 1 if a figure failed; 130 after Ctrl-C."""
    arguments = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A domain of its own, on this computer alone; not one that was used a moment ago.
    numbers = itertools.count(os.getpid())
    with domain_id(lambda: next(numbers) % 100 + 1) as domain:
        os.environ['ROS_DOMAIN_ID'] = str(domain)
        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
        os.environ['ROS_LOCALHOST_ONLY'] = '1'  # Humble's word for the same
        try:
            return 0 if measure(arguments) else 1
        except KeyboardInterrupt:
            print('interrupted', file=sys.stderr)
            return 130


if __name__ == '__main__':
    sys.exit(main())
