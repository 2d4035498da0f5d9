# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Each frame of a camera knows the frame of a scope that belongs to it."""
from dataclasses import dataclass
from pathlib import Path

from exported_tables import read_table
from miniscope_ros.commands.export_bag import DONE, main
from miniscope_ros.recordings.export.scope_frames import COLUMNS, jitter_ms, nearest
import numpy as np
import pytest
from recorded_bag import EPOCH_NS, Scope, write_bag
from recorded_camera import Camera


@dataclass
class Early(Camera):
    """A camera that begins before the scope and ends after it."""

    node: str = '/camera'
    start_ns: int = EPOCH_NS - 1_000_000_000
    period_ms: float = 20.0
    frames: int = 200


def test_the_table_of_a_camera(tmp_path: Path) -> None:
    scopes = [Scope(frames=40, lost={20: 5}), Scope(node='/rat2/miniscope', frames=30,
                                                    period_ms=33.3, orientation=False)]
    bag = write_bag(tmp_path / 'bag', *scopes, Early())
    assert main([str(bag), str(tmp_path / 'out')]) == DONE
    folder = tmp_path / 'out' / 'BehavCam_0'
    table = read_table(folder / 'scope_frames.csv')
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 2 * 200
    stamps = read_table(folder / 'timeStamps.csv')
    assert np.array_equal(table['Time Stamp (ms)'][::2].round(), stamps['Time Stamp (ms)'])
    for number, scope in enumerate(scopes):
        name = scope.node.strip('/').replace('/', '_')
        rows = table[table['Scope'] == name]
        assert rows['Frame Number'].tolist() == list(range(200))
        times = np.array([scope.time_ms(n) for n in range(scope.frames)]) + 1000
        distances = times - rows['Time Stamp (ms)'].to_numpy()[:, None]
        best = np.abs(distances).argmin(axis=1)
        inside = ((distances.min(axis=1) < scope.period_ms)
                  & (distances.max(axis=1) > -scope.period_ms))
        assert 0 < inside.sum() < 200, number
        assert rows['Scope Frame Number'].tolist() == np.where(inside, best, -1).tolist()
        assert rows['Difference (ms)'].to_numpy()[inside] == pytest.approx(
            distances[np.arange(200), best][inside], abs=1e-3)
        assert rows['Difference (ms)'][~inside].isna().all()
        assert rows['Uncertainty (ms)'].nunique() == 1
        assert 0.1 < rows['Uncertainty (ms)'].iloc[0] < 1  # both have jitter of 0.28 ms


def test_without_a_scope_there_is_no_table(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(frames=10, device_type='camera'))
    assert main([str(bag), str(tmp_path / 'out')]) == DONE
    assert not list((tmp_path / 'out').rglob('scope_frames.csv'))


def test_a_scope_with_one_frame_only() -> None:
    frames, differences = nearest(np.array([4.0, 5.0, 6.0]), np.array([5.0]))
    assert frames.tolist() == [-1, 0, -1]
    assert differences[1] == 0 and np.isnan(differences[[0, 2]]).all()


def test_jitter_is_that_of_the_stamps_though_some_are_lost() -> None:
    rng = np.random.default_rng(3)
    times = np.arange(20_000) * 33.3 + rng.normal(0, 0.5, 20_000)
    assert jitter_ms(times[rng.random(20_000) > 0.05]) == pytest.approx(0.5, rel=0.05)
    assert np.isnan(jitter_ms(times[:2])) and np.isnan(jitter_ms(np.zeros(9)))
