# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Figure 11: the error of the stamps of transport usb: when a frame began.

The virtual box knows when a frame's first payload was due and when it was sent, which is what its
V4L2 buffers are stamped with. As a program, `python3 -m benchmark.stamps FRAMES` takes frames from
the box at USB port 1-1 and prints sequence number and stamp of each whole one.
"""
from collections.abc import Iterator
from contextlib import closing, ExitStack
import os
from pathlib import Path
import sys
import tempfile

from miniscope_ros.transports.usb_uvc import UsbTransport
import numpy as np
from numpy.typing import NDArray
from virtual_daq import BoxConfig, VirtualDaq

from .effort import Effort
from .processes import Process
from .report import Row

IDLE_MS, LOADED_MS = 1.0, 3.0  # 99 % of the errors
RATE = 30.0  # [frames/s]
SIZE = (608, 608)
LEARNING = 31  # frames after which the pace of the payloads is known
RING = 16  # frames
# Who was started in the background ignores SIGINT, and so would the loop.
HOG = ('-c', 'import signal\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\nwhile True: pass')


def stamps(effort: Effort) -> Iterator[Row]:
    """Compare the stamps with the box's, beside nothing of ours and beside a hog on each core."""
    cores = len(os.sched_getaffinity(0))
    for hogs, goal in ((0, IDLE_MS), (cores, LOADED_MS)):
        errors = _errors_ms(round(RATE * effort.latency) + LEARNING, hogs)
        most, nearly = float(errors.max()), float(np.quantile(errors, 0.99))
        beside = f'{hogs} endless loops on {cores} cores' if hogs else 'nothing of ours'
        yield Row(
            11, f'error of the stamps over transport usb beside {beside}: 99 %, maximum',
            f'{nearly:.2f}, {most:.2f} ms', '', f'99 % <= {goal:g} ms', nearly <= goal,
            {'ms': [nearly, most], 'load': os.getloadavg()[0]})


def _errors_ms(frames: int, hogs: int) -> NDArray[np.float64]:
    """
    Return by how much stamps lie before the time when the payload was due, or after it was sent.

    The box is a thread of this computer: where it is late itself, both times are true.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        for number in range(hogs):
            stack.enter_context(Process(HOG, folder / f'hog{number}.log'))
        rig = VirtualDaq(folder, [BoxConfig(rate=RATE, kernel='new_kernel')])
        told = np.array([
            [int(word) for word in line.split()] for line in rig.run(
                '-m', 'benchmark.stamps', str(frames), timeout=3 * frames / RATE + 60
            ).splitlines()])[LEARNING:]
        records = rig.box.frames
        places = np.searchsorted(records['sequence'], told[:, 0])
        due, sent = (records[field][places] for field in ('stamp_ns', 'reported_ns'))
        return np.maximum(0, np.maximum(due - told[:, 1], told[:, 1] - sent)) / 1e6


def main() -> None:
    """Take as many whole frames as the argument says."""
    with closing(UsbTransport('1-1')) as transport:
        transport.open(*SIZE)
        transport.start(RING)
        taken = 0
        while taken < int(sys.argv[1]):
            buffer = transport.dequeue(1.0)
            if buffer is None:
                continue
            if not buffer.damaged:
                print(buffer.sequence, buffer.stamp_ns)
                taken += 1
            transport.requeue(buffer)


if __name__ == '__main__':
    main()
