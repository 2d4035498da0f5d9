# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""How long the check of a night's recording takes, beside a bare walk over its records."""
from collections.abc import Iterator, Sequence
import math
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time

from miniscope_ros.recordings.export.exit_status import ExitStatus

from .effort import Effort
from .exports import EXPORT, PERIOD_S, pictures, Recorded, SIZE
from .long_bag import write_long_bag
from .report import Row

LIMIT_H, LIMIT_S = 8.0, 60.0  # the goal: so many hours are checked in so many seconds
PICTURES_LOOKED_AT = 3000  # by a check of a long recording; only these have to be there
LOSS_EVERY = 20_000  # frames
# Goes into each chunk (opcode 6), as the check has to, and reads the head of each record.
WALK = """
import os, struct, sys
file = os.open(sys.argv[1], os.O_RDONLY)
head, size, place = struct.Struct('<BQ'), os.fstat(file).st_size, 8
while place < size - 8:
    opcode, length = head.unpack(os.pread(file, head.size, place))
    place += head.size + (40 if opcode == 6 else length)
"""


class Night(Recorded):
    """A scope that loses a frame from time to time, on a head that turns."""

    def quaternion(self, number: int) -> tuple[float, float, float, float]:
        """Return the orientation of a frame: w, x, y, z."""
        angle = 0.4 * math.sin(number / 211) + 0.8 * math.sin(number / 9001)
        return math.cos(angle), 0.6 * math.sin(angle), 0.0, 0.8 * math.sin(angle)


def check(effort: Effort) -> Iterator[Row]:
    """Figure 12: time of export_bag --check."""
    frames = round(effort.checked_h * 3600 / PERIOD_S)
    scope = Night(size=SIZE, frames=frames, period_ms=1000 * PERIOD_S, frame_rate=1 / PERIOD_S,
                  lost=dict.fromkeys(range(LOSS_EVERY, frames, LOSS_EVERY), 1))
    with tempfile.TemporaryDirectory() as folder:
        bag = write_long_bag(Path(folder) / 'night', scope, pictures(),
                             max(1, frames // PICTURES_LOOKED_AT))
        file, = bag.glob('*.mcap')
        size = file.stat().st_size
        spent = [(_spent_s([*EXPORT, '--check', '.'], bag), _spent_s(
            [sys.executable, '-c', WALK, file.name], bag)) for _ in range(effort.repeats)]
    (time_s, cpu_s), (_, walk_s) = min(spent)
    is_night = effort.checked_h >= LIMIT_H
    yield Row(
        12, f'--check of {effort.checked_h:g} h, {size / 1e9:.0f} GB: time, CPU',
        f'{time_s:.1f} s, {cpu_s:.1f} s ({cpu_s / walk_s:.1f} x a bare walk over the records)',
        f'{walk_s:.1f} s of CPU', f'<= {LIMIT_S:g} s' if is_night else '',
        time_s <= LIMIT_S if is_night else None, {'spent_s': spent})


def _spent_s(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Return the time and the CPU time that a command takes in a folder [s]."""
    before, began = os.times(), time.monotonic()
    ended = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
    if ended.returncode not in (ExitStatus.DONE, ExitStatus.NOT_GOOD):
        raise OSError(f'{command} ended with status {ended.returncode}')
    after = os.times()
    return time.monotonic() - began, (
        after.children_user - before.children_user
        + after.children_system - before.children_system)
