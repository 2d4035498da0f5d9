# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""An image that cannot be used is in no video, and no table counts it as a frame."""
from pathlib import Path
from typing import Any

from exported_tables import read_table
from miniscope_ros.commands.export_bag import main, PARTLY
from miniscope_ros.recordings.formats import open_recording
import numpy as np
import pytest
from recorded_bag import EPOCH_NS, Scope, write_bag
from recorded_camera import Camera
from sync_rig import UNFINISHED
from test_export_checks import Damaged

try:
    import ndx_miniscope
    import pynwb
except ImportError:
    ndx_miniscope = pynwb = None

EMPTY = {'data': np.zeros(3, np.uint8)}


class DamagedCamera(Damaged, Camera):
    """A camera one of whose images cannot be used."""


def damaged(scope: Any, number: int) -> Any:
    scope.topic, scope.number, scope.values = 'image_raw', number, EMPTY
    return scope


def usable(scope: Damaged) -> list[int]:
    return [number for number in range(scope.frames) if number != scope.number]


def exported(tmp_path: Path, *scopes: Scope, options: tuple[str, ...] = ()) -> Path:
    bag = write_bag(tmp_path / 'bag', *scopes)
    assert main([str(bag), str(tmp_path / 'out'), *options]) == PARTLY
    return tmp_path / 'out'


def test_every_table_has_the_numbers_of_the_videos(tmp_path: Path) -> None:
    scope = damaged(Damaged(frames=240, size=(16, 16), lost=UNFINISHED, uncounted={6, 8}), 7)
    camera = damaged(DamagedCamera(node='/room', frames=90, period_ms=131.0), 20)
    edges = tmp_path / 'edges.csv'
    np.savetxt(edges, [scope.time_ms(number) / 1000 + 5 for number in range(240)])
    out = exported(tmp_path, scope, camera, options=('--align', str(edges)))
    kept = usable(scope)
    frames = list(open_recording(str(out / 'miniscope')).frames())
    assert [frame.image.tobytes() for frame in frames] == [
        scope.image(number).tobytes() for number in kept]
    times = [scope.time_ms(number) for number in kept]
    table = read_table(out / 'miniscope' / 'frames.csv')
    assert table['Frame Number'].tolist() == list(range(239))
    assert table['Time Stamp (ms)'].tolist() == pytest.approx(times)
    assert table['Sync Edge'].tolist() == kept
    counts = read_table(out / 'miniscope' / 'timeStamps.csv')['DAQ Frame Number']
    assert table['Device Frame Count'].tolist() == counts.tolist()
    assert (counts >= 0).all()
    aligned = read_table(out / 'miniscope' / 'aligned.csv')
    assert aligned['Frame Number'].tolist() == list(range(239))
    assert aligned['Time Stamp (ms)'].tolist() == pytest.approx(times)
    assert aligned['Other Edge'].tolist() == kept
    assert aligned['Other Clock (s)'].tolist() == pytest.approx(
        [time / 1000 + 5 for time in times], abs=1e-3)


def test_the_frames_of_a_scope_that_belong_to_those_of_a_camera(tmp_path: Path) -> None:
    scope, camera = damaged(Damaged(frames=40), 7), damaged(
        DamagedCamera(node='/room', frames=60, period_ms=33.0, start_ns=EPOCH_NS + 2_000_000), 20)
    folder = exported(tmp_path, scope, camera) / 'BehavCam_0'
    table = read_table(folder / 'scope_frames.csv')
    assert len(table) == 59
    assert table['Time Stamp (ms)'].round().tolist() == read_table(
        folder / 'timeStamps.csv')['Time Stamp (ms)'].tolist()
    times = np.array([scope.time_ms(number) for number in usable(scope)])
    nearest = table['Scope Frame Number'].to_numpy()
    inside = nearest >= 0
    assert inside[:55].all()
    assert table['Difference (ms)'].to_numpy()[inside] == pytest.approx(
        (times[nearest] - table['Time Stamp (ms)'].to_numpy())[inside])


@pytest.mark.skipif(pynwb is None or ndx_miniscope is None,
                    reason='pynwb or ndx_miniscope is not installed')
def test_every_series_of_frames_has_the_numbers_of_the_images(tmp_path: Path) -> None:
    scope = damaged(Damaged(frames=30, uncounted={12}), 7)
    out = exported(tmp_path, scope, options=('--format', 'nwb'))
    kept = usable(scope)
    with pynwb.NWBHDF5IO(out / 'miniscope.nwb', 'r') as io:
        series = io.read().acquisition
        times = series['OnePhotonSeries'].timestamps[:].tolist()
        assert times == [scope.time_ms(number) / 1000 for number in kept]
        for name in ('CaptureIndex', 'LostBefore', 'LostUncertainty', 'SyncEdge', 'FrameContent',
                     'DigitalInputsOfFrame', 'StampSource', 'DeviceFrameCount'):
            assert series[name].timestamps[:].tolist() == times, name
            assert len(series[name].data) == 29, name
        assert series['SyncEdge'].data[:].tolist() == kept
        assert series['DeviceFrameCount'].control[:].tolist() == [n == 12 for n in kept]
