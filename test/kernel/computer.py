# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The guest as a computer with a DAQ box at its USB: what a scenario works with."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Any

from miniscope_ros.transports import discovery
import numpy as np
from virtual_daq import Box, BoxConfig, VirtualDaq

PORT = '2-1'  # of the box, as this kernel names it: the first USB 3 port of vhci_hcd
_PLUGGED_S = 10.0

HOLDER = """
import sys
from threading import Event
from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.model import Reason
from miniscope_ros.sources.registry import make_daq
kind = load_catalogue()['Miniscope_V4_BNO']
values = {name: control.start for name, control in kind.controls.items()} | {'led': 50.0}
source = make_daq('', kind, Event(), values, transport=sys.argv[1])
source.open(Reason.START)
source.activate(Reason.START)
print('lit', flush=True)
while True:
    source.read(0.5)
"""
"""A program that lights the scope and streams until it is killed."""


class Computer:
    """A box plugged into the real kernel's USB; plugged out at the end."""

    def __init__(self, **config: Any) -> None:
        """Describe the box: see BoxConfig."""
        self.rig = VirtualDaq(Path(tempfile.mkdtemp()), [BoxConfig(**{'rate': 30.0, **config})])
        self.box: Box = self.rig.box
        self._cable = subprocess.Popen(
            [sys.executable, '-m', 'usb_device.usbip', self.box.config.port, '0'],
            env=self.rig.environ())

    def __enter__(self) -> Computer:
        self.wait_plugged()
        return self

    def __exit__(self, *error: object) -> None:
        self._cable.kill()
        self._cable.wait()
        self.wait(lambda: not discovery.usb_boxes())

    def wait_plugged(self) -> None:
        """Wait until the kernel's driver and udev have made the box's nodes."""
        self.wait(lambda: discovery.boxes() and discovery.boxes()[0].by_path, _PLUGGED_S)
        subprocess.run(['udevadm', 'settle'], check=True)

    def wait(self, condition: Callable[[], Any], seconds: float = 10.0) -> None:
        """Wait until condition() is true; TimeoutError."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f'not within {seconds} s')
            time.sleep(0.01)

    def start_lit(self, transport: str) -> subprocess.Popen[str]:
        """Start a program that streams with the light on; return when it is lit."""
        holder = subprocess.Popen(
            [sys.executable, '-c', HOLDER, transport], stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        check(holder.stdout.readline() == 'lit\n', 'the program did not light the scope')
        self.wait(lambda: self.box.led > 0)
        return holder

    def record(self, frame: int) -> np.void:
        """Return the box's record of a frame."""
        records = self.box.frames
        found = records[records['frame'] == frame]
        check(len(found) == 1, f'the box has no frame {frame}')
        return found[0]


def check(condition: Any, text: str) -> None:
    """Raise AssertionError with the text unless the condition holds."""
    if not condition:
        raise AssertionError(text)


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line of one of the driver's executables, as its entry point calls it."""
    start = f'import sys; from miniscope_ros.{module} import main; sys.exit(main())'
    return [sys.executable, '-c', start, *arguments]


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the driver's executables to its end."""
    return subprocess.run(command(module, *arguments), text=True, capture_output=True)
