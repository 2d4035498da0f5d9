# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The truth behind a simulated session is that of its seed, and other programs read it."""
from functools import cache
from pathlib import Path
from typing import Any

from miniscope_ros.commands.ground_truth import main
from miniscope_ros.simulation.head_motion import HeadPath
from miniscope_ros.simulation.scene import Scene
import numpy as np
import pytest
from recorded_bag import Scope, write_bag
from recorded_camera import Session
from rosbags.typesys.store import Typestore

SIZE = (200, 160)
SEED = 3


@cache
def head() -> HeadPath:
    return HeadPath(SEED)


class Simulated(Scope):
    """A scope whose head and device time are those of a scene."""

    def time_s(self, number: int) -> float:
        return 2.0 + self.time_ms(number) / 1000

    def quaternion(self, number: int) -> tuple[float, float, float, float]:
        return tuple(np.round(  # type: ignore[return-value]
            head().orientation(self.time_s(number)) * np.array(16384.0)) / 16384)

    def messages(self, types: Typestore) -> Any:
        number = 0
        for topic, stamp, message in super().messages(types):
            if topic == 'frame_info':
                message.device_time_ms = 1000 * self.time_s(number)
                number += 1
            yield topic, stamp, message


SCOPE = Simulated(size=SIZE, frames=60, lost={20: 4})


def told(device: str) -> Session:
    return Session(content={'parameters': {'/miniscope': {
        'source': 'simulated', 'device': device}}})


def test_the_truth_is_that_of_the_scene(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', SCOPE, told(f'seed={SEED}'))
    assert main([str(bag), str(tmp_path / 'truth')]) == 0
    with np.load(tmp_path / 'truth.npz') as truth:
        times = [SCOPE.time_s(number) for number in range(60)]
        assert truth['time_s'] == pytest.approx(times)
        scene = Scene(*SIZE, seed=SEED, head=head())
        assert np.array_equal(truth['positions'], scene.cell_positions)
        assert truth['activity'] == pytest.approx(
            np.stack([scene.activity(time) for time in times]), rel=1e-5)
        for frame, time in zip(truth['spike_frame'], truth['spike_time_s'], strict=True):
            assert frame == np.searchsorted(truth['time_s'], time)
        arrays = {name: truth[name] for name in truth}
    pynwb = pytest.importorskip('pynwb')
    with pynwb.NWBHDF5IO(tmp_path / 'truth.nwb', 'r') as io:
        ophys = io.read().processing['ophys']
        cells = ophys['ImageSegmentation']['PlaneSegmentation']
        assert len(cells) == len(arrays['positions'])
        assert np.array_equal(cells['image_mask'][0].T, arrays['footprints'][0])
        activity = ophys['Truth']['Activity']
        assert np.array_equal(activity.data[:], arrays['activity'])
        assert activity.timestamps[:].tolist() == [
            SCOPE.time_ms(number) / 1000 for number in range(60)]
        spikes = ophys['Truth']['Spikes'].data[:]
        seen = arrays['spike_frame'] < 60
        assert spikes.sum() == pytest.approx(arrays['spike_size'][seen].sum(), rel=1e-4)


@pytest.mark.parametrize('device', ['seed=4', ''])
def test_another_seed_is_refused(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str) -> None:
    bag = write_bag(tmp_path / 'bag', SCOPE)
    assert main([str(bag), str(tmp_path / 'truth'), '--device', device]) == 1
    assert 'are not those of seed' in capsys.readouterr().err
    assert not list(tmp_path.glob('truth*'))


def test_the_device_is_given_where_the_bag_does_not_tell_it(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag', SCOPE)
    assert main([str(bag), str(tmp_path / 'truth.npz'), '--device', f'seed={SEED}']) == 0
    assert [path.name for path in tmp_path.glob('truth*')] == ['truth.npz']
    assert main([str(bag), str(tmp_path / 'truth.npz'), '--device', f'seed={SEED}']) == 1
    assert '--force' in capsys.readouterr().err


def test_a_real_scope_has_no_truth(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(frames=3))
    assert main([str(bag), str(tmp_path / 'truth')]) == 1
    assert 'simulated scope' in capsys.readouterr().err
