# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What check_scope does with its arguments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import os
import sys

from miniscope_ros.check import report
from miniscope_ros.check.bench import Bench
from miniscope_ros.check.run import Account, Line, run
from miniscope_ros.check.settings import Settings
from miniscope_ros.check.table import Check, CHECKS
from miniscope_ros.daq.catalogue import DeviceType, load_catalogue
from miniscope_ros.errors import ConfigurationError, MiniscopeError
from miniscope_ros.stop import Stop
from miniscope_ros.transports.choice import TRANSPORTS

_ERASE = '\r\033[K'


def check_scope(arguments: Sequence[str] | None, stop: Stop) -> int:
    """Run the checks that the arguments ask for; return the exit status."""
    options = parser().parse_args(arguments)
    settings = _settings(options)
    try:
        device_type = _type(settings)
        checks = _chosen(settings)
        _try_report(options.report)
    except (MiniscopeError, OSError) as error:
        print(f'check_scope: {error}', file=sys.stderr)
        return 1
    bench = Bench(settings, device_type, stop.event, _progress)
    account = run(bench, _print, checks)
    return _conclude(options.report, account, settings)


def _conclude(path: str, account: Account, settings: Settings) -> int:
    _progress('')
    if account.ended_early:
        print('check_scope: ended before all checks had run', file=sys.stderr)
    if account.light_problem:
        print(f'check_scope: {account.light_problem}', file=sys.stderr)
    print(f'\n{report.summary(report.counts(account.lines))}')
    try:
        markdown, data = report.write(path, account, settings)
    except OSError as error:
        print(f'check_scope: no report could be written: {error}', file=sys.stderr)
        return 1
    print(f'The report to send is in {markdown} and {data}.', flush=True)
    return account.status


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        device=options.device, device_type=options.device_type,
        device_catalog=os.path.abspath(options.device_catalog) if options.device_catalog else '',
        source=options.source, transport=options.transport, quick=options.quick,
        unattended=options.unattended, loopback=options.loopback,
        interactive=options.interactive, only=tuple(options.only))


def _type(settings: Settings) -> DeviceType:
    catalogue = load_catalogue(settings.device_catalog)
    if settings.device_type not in catalogue:
        raise ConfigurationError(
            f'device type {settings.device_type} is unknown; there are '
            f'{", ".join(sorted(catalogue))}')
    return catalogue[settings.device_type]


def _chosen(settings: Settings) -> Sequence[Check]:
    names = [check.name for check in CHECKS]
    unknown = [name for name in settings.only if name not in names]
    if unknown:
        raise ConfigurationError(
            f'there is no check {", ".join(unknown)}; there are {", ".join(names)}')
    return [check for check in CHECKS if not settings.only or check.name in settings.only]


def _try_report(path: str) -> None:
    """Raise OSError now, not after three minutes, if no report can be written."""
    for file in report.files(path):
        with open(file, 'a', encoding='utf-8'):
            pass


def _print(line: Line) -> None:
    _progress('')
    print(line, flush=True)


def _progress(text: str) -> None:
    """Show what is being done, where somebody looks."""
    if sys.stderr.isatty():
        print(f'{_ERASE}{text}', end='', file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(
        prog='check_scope', description='Goes through a real scope and says of each assumption '
        'of the driver whether it holds: PASS, FAIL or CANNOT TELL, with what was measured and '
        'what was expected. No ROS is needed. It lights the scope at up to 40 % of its highest '
        'value, and leaves it dark, also after Ctrl-C.',
        epilog='Exit status: 0 nothing failed, 1 something failed (or not everything ran), 2 the '
        'arguments are not understood.', allow_abbrev=False)
    made.add_argument(
        'device', nargs='?', default='',
        help='a path, a name in /dev/v4l/by-path, a number or a USB port; without it the only '
        'box found')
    made.add_argument(
        '--device-type', default=Settings.device_type, metavar='T',
        help='a type of the catalogue (default: %(default)s)')
    made.add_argument('--device-catalog', default='', metavar='FILE',
                      help='a file with more device types')
    made.add_argument('--source', choices=('daq', 'simulated'), default='daq',
                      help='simulated: try it without hardware')
    made.add_argument('--transport', choices=TRANSPORTS, default='auto',
                      help='as the parameter of the node (default: %(default)s)')
    made.add_argument('--report', default='check_scope', metavar='FILE',
                      help='write FILE.md and FILE.json (default: %(default)s)')
    made.add_argument('--quick', action='store_true', help='count frames for 5 s, not 60')
    made.add_argument('--unattended', action='store_true', help='ask nothing of the user')
    made.add_argument('--loopback', action='store_true',
                      help='the sync output is connected to the trigger input')
    made.add_argument('--interactive', action='store_true',
                      help='also unplug the box and plug it in again')
    made.add_argument('--only', action='append', default=[], metavar='CHECK',
                      help='run this check only; may be given several times')
    return made
