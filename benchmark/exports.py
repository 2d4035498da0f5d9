# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What an export costs, beside the encoder alone with the same pictures."""
from collections.abc import Iterator, Sequence
import os
from pathlib import Path
import shutil
from statistics import median
import subprocess
import sys
import tempfile

from miniscope_ros.simulation.head_motion import HeadPath
from miniscope_ros.simulation.scene import Exposure, Scene
import numpy as np
from numpy.typing import NDArray
from recorded_bag import Scope, write_bag

from .effort import Effort
from .report import Row

SIZE = (608, 608)
PICTURES = 250  # that differ; a longer recording repeats them
PERIOD_S = 1 / 30
LIT = Exposure(brightness=0.2, gain=1.0, defocus=0.0)
FFV1_RATIO, NWB_RATIO = 1.1, 1.3
EXPORT = (sys.executable, '-m', 'miniscope_ros.commands.export_bag')
FFMPEG = ('ffmpeg', '-y', '-threads', '1', '-f', 'rawvideo', '-pix_fmt', 'gray', '-s', '608x608')
# Chunks and filter are those of our NWB files.
H5PY = """
import sys, h5py, numpy as np
frames = np.memmap(sys.argv[1], np.uint8, 'r').reshape(-1, 608, 608)
with h5py.File(sys.argv[2], 'w') as file:
    data = file.create_dataset('data', (0, 608, 608), 'u1', maxshape=(None, 608, 608),
                               chunks=(1, 608, 608), compression='gzip', compression_opts=1)
    for number, frame in enumerate(frames):
        data.resize(number + 1, 0)
        data[number] = frame
"""


class Recorded(Scope):
    """A scope whose pictures are those of the simulation."""

    def image(self, number: int) -> NDArray[np.uint8]:
        """Return one of the pictures."""
        return pictures()[number % PICTURES]


def pictures() -> NDArray[np.uint8]:
    """Return the pictures of the simulated scope, shape (PICTURES, height, width)."""
    if not _PICTURES:
        scene, yuyv = Scene(*SIZE, seed=1, head=HeadPath(1)), np.empty((*SIZE[::-1], 2), np.uint8)
        made = np.empty((PICTURES, *SIZE[::-1]), np.uint8)
        for number in range(PICTURES):
            scene.render(number * PERIOD_S, LIT, yuyv)
            made[number] = yuyv[..., 0]
        _PICTURES.append(made)
    return _PICTURES[0]


_PICTURES: list[NDArray[np.uint8]] = []  # are made once


def export(effort: Effort) -> Iterator[Row]:
    """Figure 10: CPU time of an export per frame, start and report apart."""
    with tempfile.TemporaryDirectory(dir=_memory(effort)) as folder:
        commands = {}
        for frames in effort.exported:
            bag, raw, out = (Path(folder) / f'{name}{frames}' for name in ('bag', 'raw', 'out'))
            write_bag(bag, Recorded(size=SIZE, frames=frames))
            with raw.open('wb') as file:
                for number in range(frames):
                    file.write(Recorded().image(number).tobytes())
            commands['ffv1', frames] = ([*EXPORT, str(bag), str(out)], out)
            commands['nwb', frames] = ([*EXPORT, str(bag), str(out), '--format', 'nwb'], out)
            commands['h5py', frames] = (
                [sys.executable, '-c', H5PY, str(raw), f'{out}.h5'], Path(f'{out}.h5'))
            if shutil.which('ffmpeg'):
                avi = Path(f'{out}.avi')
                commands['ffmpeg', frames] = (
                    [*FFMPEG, '-i', str(raw), '-c:v', 'ffv1', str(avi)], avi)
        spent: dict[tuple[str, int], list[float]] = {key: [] for key in commands}
        for _ in range(effort.repeats):
            for key, (command, made) in commands.items():
                spent[key].append(_cpu_s(command))
                shutil.rmtree(made) if made.is_dir() else made.unlink()
    yield _row('export to FFV1', 'ffv1', 'ffmpeg', FFV1_RATIO, spent, effort)
    yield _row('export to NWB', 'nwb', 'h5py', NWB_RATIO, spent, effort)


def _row(what: str, own: str, other: str, most: float, spent: dict[tuple[str, int], list[float]],
         effort: Effort) -> Row:
    few, many = effort.exported

    def cost(name: str) -> tuple[float, float]:
        """Return what a frame costs [ms], and the whole without any frame [s]."""
        low, high = median(spent[name, few]), median(spent[name, many])
        each = (high - low) / (many - few)
        return each * 1000, low - few * each

    each_ms, once_s = cost(own)
    what = f'{what}: CPU per frame of 608x608; start and report once, of {many} frames'
    if (other, few) not in spent:
        return Row(10, what, f'{each_ms:.2f} ms; {once_s:.1f} s', f'{other} is not installed')
    floor_ms, _ = cost(other)
    return Row(
        10, what, f'{each_ms:.2f} ms ({each_ms / floor_ms:.2f} x {other}); {once_s:.1f} s',
        f'{floor_ms:.2f} ms', f'<= {most:g} x {other}', each_ms <= most * floor_ms,
        {'spent_s': {f'{name} {frames}': values for (name, frames), values in spent.items()}})


def _cpu_s(command: Sequence[str]) -> float:
    """Return the CPU time that a command takes [s]."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    return (after.children_user - before.children_user
            + after.children_system - before.children_system)


def _memory(effort: Effort) -> str | None:
    """Return a folder in memory, so that the disk does not count, if there is room for all."""
    folder = '/dev/shm'
    needed = 4 * sum(effort.exported) * SIZE[0] * SIZE[1]  # bytes: raw, bag and exports
    if os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > needed:
        return folder
    return None
