# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What runs in the guest: the scenarios, for both transports. Called by init."""
from __future__ import annotations

import inspect
import os
import sys
import traceback

from .scenarios import SCENARIOS

_TRANSPORTS = ('v4l2', 'usb')


def main() -> int:
    """Run the scenarios that are named, all without names; return how many failed."""
    wanted = sys.argv[1:] or list(SCENARIOS)
    failed = 0
    print(f'Linux {os.uname().release}', flush=True)
    for name in wanted:
        function = SCENARIOS[name]
        takes_transport = next(iter(inspect.signature(function).parameters)) == 'kind'
        for kind in _TRANSPORTS if takes_transport else ('both',):
            try:
                print(f'PASS {kind:5} {name}: {function(kind)}', flush=True)
            except Exception as error:
                failed += 1
                print(f'FAIL {kind:5} {name}: {type(error).__name__}: {error}', flush=True)
                traceback.print_exc(file=sys.stdout)
    return failed


if __name__ == '__main__':
    sys.exit(main())
