# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The files of a sweep hold what was taken, also where the disk becomes full."""
from pathlib import Path
import resource
import subprocess
import sys
import tempfile

from miniscope_ros.acquisition.sweep_files import SweepFiles
from miniscope_ros.acquisition.sweep_frames import SweepStep
from miniscope_ros.acquisition.sweep_plan import SweepPlan
from miniscope_ros.errors import ConfigurationError, DeviceError
import numpy as np
from PIL import Image, ImageSequence
import pytest

SIDE = 64  # [px]
FRAME = SIDE * SIDE  # bytes


def step(value: float, frames: int = 3) -> SweepStep:
    rng = np.random.default_rng(100 + round(value))
    images = tuple(rng.integers(0, 256, (SIDE, SIDE), np.uint8) for _ in range(frames))
    mean = np.mean(images, axis=0, dtype=np.float32)
    return SweepStep(value, mean, 1.0, float(mean.mean()), 10, 10 + frames - 1, images)


def pages(path: Path) -> list[np.ndarray]:
    with Image.open(path) as file:
        return [np.asarray(page) for page in ImageSequence.Iterator(file)]


def test_each_value_has_its_files(tmp_path: Path) -> None:
    plan = SweepPlan('focus', (-8.0, 0.0), 3, keep_all=True)
    files = SweepFiles(tmp_path, 'sweep', plan, FRAME)
    steps = [step(value) for value in plan.values]
    for one in steps:
        files.add(one)
    found = files.close()
    assert [path.name for path in found] == [
        'sweep_mean.tif', 'sweep_-8.tif', 'sweep_0.tif', 'sweep.csv']
    assert sorted(tmp_path.iterdir()) == sorted(found)
    assert np.array_equal(pages(found[0]), [one.mean_image for one in steps])
    for path, one in zip(found[1:3], steps, strict=True):
        assert np.array_equal(pages(path), one.images)


def test_more_than_the_disk_holds_is_refused() -> None:
    plan = SweepPlan('focus', tuple(map(float, range(200))), 1000, keep_all=True)
    with tempfile.TemporaryDirectory(dir='/dev/shm') as folder:  # no memory is so large
        with pytest.raises(ConfigurationError, match='have 1002.0 GB, and only .* GB are free'):
            SweepFiles(Path(folder), 'sweep', plan, 5_000_000 - 10_000)
        with pytest.raises(ConfigurationError, match='TIFF ends at 4.3 GB'):
            SweepFiles(Path(folder), 'sweep', plan, 10**9)
        assert not list(Path(folder).iterdir())


def fill_up(folder: Path) -> None:
    """Take two values while no file may grow beyond a half of what the second one needs."""
    plan = SweepPlan('focus', (0.0, 8.0), 40, keep_all=True)
    files = SweepFiles(folder, 'sweep', plan, FRAME)
    files.add(step(0.0, 3))
    resource.setrlimit(resource.RLIMIT_FSIZE, (20 * FRAME, resource.RLIM_INFINITY))
    with pytest.raises(DeviceError, match='cannot be written'):
        files.add(step(8.0, 40))
    assert len(files.close()) == 3


def test_a_disk_that_becomes_full_costs_the_value_alone(tmp_path: Path) -> None:
    code = ('import signal, sys; from pathlib import Path\n'
            'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
            'from test_sweep_files import fill_up; fill_up(Path(sys.argv[1]))')
    subprocess.run([sys.executable, '-c', code, str(tmp_path)], check=True, timeout=60,
                   cwd=Path(__file__).parent)
    assert len(pages(tmp_path / 'sweep_mean.tif')) == 1
    assert np.array_equal(pages(tmp_path / 'sweep_0.tif'), step(0.0, 3).images)
    assert (tmp_path / 'sweep.csv').read_text().count('\n') == 2
    assert not (tmp_path / 'sweep_8.tif').exists()
