# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Boot each kernel there is and run the scenarios in it: make kernel-test.

Time in the guest is virtual: computing takes none, and the clock runs on when all sleep. Stamps
are exact and the result does not depend on this machine's load. Every source package
linux-source-* that is installed is built and booted; what is missing is named.
"""
from __future__ import annotations

import argparse
from pathlib import Path
import subprocess
import sys

from .build import kernels, Missing
from .scenarios import SCENARIOS

_INIT = Path(__file__).parent / 'init'
_LONGEST_S = 3600.0
_UDEV = ('/lib/systemd/systemd-udevd', '/usr/lib/systemd/systemd-udevd')


def boot(linux: Path, scenarios: list[str]) -> bool:
    """Run scenarios in one kernel, show its console, and return whether all passed."""
    command = [
        str(linux), 'mem=3G', 'root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'ro',
        f'init={_INIT}', 'con=null', 'con0=null,fd:1', 'ssl=null', 'quiet', 'seccomp=auto',
        'time-travel=inf-cpu', f'MINISCOPE_SCENARIOS={",".join(scenarios)}']
    passed = False
    with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True) as guest:
        assert guest.stdout is not None
        for line in guest.stdout:
            if line.startswith(('PASS', 'FAIL', 'Linux', ' ', 'Traceback', 'AssertionError')):
                print(line.rstrip(), flush=True)
            passed |= line.startswith('guest: status 0')
    return passed


def main() -> int:
    """Run what was asked for; exit status 1 if anything failed, 2 if something is missing."""
    parser = argparse.ArgumentParser(prog='make kernel-test', description=__doc__)
    parser.add_argument('scenarios', nargs='*', metavar='SCENARIO', help=', '.join(SCENARIOS))
    parser.add_argument('--kernel', default='', help='the version of one kernel, as 6.1')
    options = parser.parse_args()
    if unknown := [name for name in options.scenarios if name not in SCENARIOS]:
        parser.error(f'{unknown[0]} is unknown; there are {", ".join(SCENARIOS)}')
    try:
        if not any(Path(path).exists() for path in _UDEV):
            raise Missing('the guest needs udev: apt install udev')
        found = kernels()
        if options.kernel and options.kernel not in found:
            raise Missing(
                f'no Linux {options.kernel}: apt install linux-source-{options.kernel}; '
                f'there is {", ".join(found)}')
    except Missing as error:
        print(f'make kernel-test: {error}', file=sys.stderr)
        return 2
    chosen = [options.kernel] if options.kernel else list(found)
    passed = [boot(found[version], options.scenarios) for version in chosen]
    return 0 if all(passed) else 1


if __name__ == '__main__':
    sys.exit(main())
