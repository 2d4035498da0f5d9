# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
A program with the scope's light on: what a check ends in different ways.

Its one argument is JSON: port, device_type, device_catalog, transport, values. It prints "lit"
and goes on reading frames. It ends in order on a signal, and when its input ends, for then the
program that started it is gone.
"""

from __future__ import annotations

import json
import select
import sys

from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.errors import Interrupted
from miniscope_ros.model import Light, Reason
from miniscope_ros.sources.registry import make_daq
from miniscope_ros.stop import Stop


def main() -> int:
    """Light the scope until the end is asked for; return 0 if it is dark then."""
    stop = Stop()
    stop.install()
    wanted = json.loads(sys.argv[1])
    device_type = load_catalogue(wanted['device_catalog'])[wanted['device_type']]
    source = make_daq(
        wanted['port'], device_type, stop.event, wanted['values'], transport=wanted['transport'])
    try:
        source.open(Reason.START)
        source.activate(Reason.START)
        print('lit', flush=True)
        while not stop.event.is_set():
            source.read(0.1)
            source.take_events()
            if select.select([sys.stdin], [], [], 0)[0]:
                break
    except Interrupted:
        pass
    finally:
        source.close()
        stop.finish()
    return int(source.light is not Light.DARK)


if __name__ == '__main__':
    sys.exit(main())
