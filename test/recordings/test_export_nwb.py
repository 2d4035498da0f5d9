# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Bags become NWB files that pynwb reads and nwbinspector accepts."""
from dataclasses import replace
from datetime import timezone
import os
from pathlib import Path
import shutil
import subprocess
from typing import Any

from miniscope_ros.commands.export_bag import DONE, main
import numpy as np
import pytest
from recorded_bag import EPOCH_NS, Scope, SQLITE, write_bag
from recorded_camera import Session

try:
    import ndx_miniscope
    import pynwb
except ImportError:
    ndx_miniscope = pynwb = None

pytestmark = pytest.mark.skipif(
    pynwb is None or ndx_miniscope is None, reason='pynwb or ndx_miniscope is not installed')


def export(tmp_path: Path, *scopes: Scope, expected: int = DONE, **kwargs: Any) -> Path:
    bag = write_bag(tmp_path / 'bag', *scopes, **kwargs)
    assert main([str(bag), str(tmp_path / 'out'), '--format', 'nwb']) == expected
    return tmp_path / 'out'


def assert_equal_series(series: Any, scope: Scope) -> None:
    assert series.data.shape == (scope.frames, *scope.size)  # NWB: time, width, height
    for number in range(scope.frames):
        assert np.array_equal(series.data[number].T, scope.image(number)), f'frame {number}'
    assert series.timestamps[:].tolist() == [
        scope.time_ms(number) / 1000 for number in range(scope.frames)]


@pytest.mark.parametrize('size, frames', [((608, 608), 20), ((48, 32), 200)])
def test_pynwb_reads_everything_back(tmp_path: Path, size: tuple[int, int], frames: int) -> None:
    scope = Scope(size=size, frames=frames, lost={7: 1, 12: 3})
    out = export(tmp_path, scope)
    with pynwb.NWBHDF5IO(out / 'miniscope.nwb', 'r') as io:
        file = io.read()
        series = file.acquisition['OnePhotonSeries']
        assert_equal_series(series, scope)
        assert series.data.compression == 'gzip' and series.data.chunks == (1, *scope.size)
        device = series.imaging_plane.device
        assert (device.deviceType, device.frameRate, device.gain, device.led0) == (
            'Miniscope_V4_BNO', '20FPS', 'Medium', 12)
        assert 'led 12.5, focus -5, gain 2, frame_rate 20' in device.description
        assert series.imaging_plane.imaging_rate == pytest.approx(1000 / 50.6, rel=0.01)
        head = file.processing['behavior']['HeadOrientation']
        assert head.unit == 'au'
        assert [tuple(row) for row in head.data[:]] == [
            scope.quaternion(number) for number in range(scope.frames)]
        assert np.array_equal(head.timestamps[:], series.timestamps[:])
        lost = file.intervals['lost_frames'].to_dataframe()
        assert lost['lost'].tolist() == [1, 3]
        assert lost['evidence'].tolist() == ['counter', 'counter']
        assert lost['start_time'].tolist() == [scope.time_ms(6) / 1000, scope.time_ms(11) / 1000]
        assert lost['stop_time'].tolist() == [scope.time_ms(7) / 1000, scope.time_ms(12) / 1000]
        start = file.session_start_time.astimezone(timezone.utc).timestamp()
        assert start == pytest.approx(EPOCH_NS / 1e9, abs=1e-5)


def test_nwbinspector_finds_nothing_critical(tmp_path: Path) -> None:
    nwbinspector = pytest.importorskip('nwbinspector')
    scopes = [Scope(frames=200, lost={50: 2}), Scope(node='/rat2/miniscope', frames=150,
                                                     orientation=False)]
    out = export(tmp_path, *scopes, storage=SQLITE)
    for name in ('miniscope.nwb', 'rat2_miniscope.nwb'):
        findings = list(nwbinspector.inspect_nwbfile(nwbfile_path=str(out / name)))
        assert findings  # it looked: nobody has told the experimenter, for one
        grave = [finding for finding in findings if finding.importance.name in (
            'CRITICAL', 'PYNWB_VALIDATION', 'ERROR')]
        assert not grave, grave
        assert not pynwb.validate(path=str(out / name))


def test_both_formats_at_once(tmp_path: Path) -> None:
    scope = Scope(frames=40)
    bag = write_bag(tmp_path / 'bag', scope)
    out = tmp_path / 'out'
    assert main([str(bag), str(out), '--format', 'nwb', '--format', 'miniscope_daq']) == DONE
    assert sorted(path.name for path in out.iterdir()) == [
        'export.json', 'metaData.json', 'miniscope', 'miniscope.nwb', 'report.png',
        'report.txt', 'userConfig.json']
    with pynwb.NWBHDF5IO(out / 'miniscope.nwb', 'r') as io:
        assert_equal_series(io.read().acquisition['OnePhotonSeries'], scope)


def test_colour_is_an_image_series(tmp_path: Path) -> None:
    scope = Scope(encoding='bgr8')
    out = export(tmp_path, scope, Scope(node='/grey'))
    assert sorted(path.name for path in out.glob('*.nwb')) == ['grey.nwb', 'miniscope.nwb']
    with pynwb.NWBHDF5IO(out / 'miniscope.nwb', 'r') as io:
        series = io.read().acquisition['ImageSeries']
        for number in range(scope.frames):  # time, column, row, and red, green, blue
            assert np.array_equal(
                series.data[number].transpose(1, 0, 2)[:, :, ::-1], scope.image(number))


RICH = Scope(
    frames=40, lost={7: 1, 20: 3}, led_change=(10, 40.0), still={5, 6, 30}, uncounted={12},
    inputs={0: 0, 15: 1, 17: 0}, notes={3: 'it grooms', 9: 'it rests'})
SESSION = {'session': {
    'researcher': 'Ada Byron', 'experiment': 'maze', 'animal': 'M7', 'species': 'mouse',
    'sex': 'male', 'age': '90 days', 'genotype': 'wt', 'indicator': 'GCaMP6f',
    'wavelengths': [470, 525], 'brain_area': 'CA1', 'diet': 'ad lib'}}


def test_all_that_was_recorded_is_in_the_file(tmp_path: Path) -> None:
    out = export(tmp_path, RICH, Session(content=SESSION))
    numbers = range(RICH.frames)
    times = [RICH.time_ms(number) / 1000 for number in numbers]
    with pynwb.NWBHDF5IO(out / 'miniscope.nwb', 'r') as io:
        file = io.read()
        series = file.acquisition
        for name, expected in (
                ('CaptureIndex', [n + RICH.lost_until(n) for n in numbers]),
                ('LostBefore', [RICH.lost.get(n, 0) for n in numbers]), ('SyncEdge', [*numbers]),
                ('DigitalInputsOfFrame', [RICH.levels(n) for n in numbers]),
                ('FrameContent', [1] * 40),
                ('DeviceFrameCount', [65_500 + n + RICH.lost_until(n) for n in numbers])):
            assert series[name].data[:].tolist() == expected, name
            assert series[name].timestamps[:].tolist() == times, name
        assert np.flatnonzero(series['DeviceFrameCount'].control[:]).tolist() == [12]
        led = series['Control_led']
        assert led.data[:].tolist() == [12.5, 40, 0]
        assert led.timestamps[:] == pytest.approx([times[0], times[10], times[39] + .001],
                                                  abs=1e-6)
        assert series['DigitalInputs'].data[:].tolist() == [0, 1, 0]
        assert series['Notes'].data[:].tolist() == ['it grooms', 'it rests']
        assert series['Notes'].timestamps[:] == pytest.approx(
            [times[3] - .003, times[9] - .003], abs=1e-6)
        head = file.processing['behavior']['HeadOrientation']
        assert [tuple(row) for row in head.data[:]] == [RICH.quaternion(n) for n in numbers]
        assert np.flatnonzero(head.control[:]).tolist() == [5, 6, 30]
        assert 'roll' in head.description.lower() and 'z is up' in head.description
        images = series['OnePhotonSeries']
        assert 'end of the exposure' in images.description
        plane = images.imaging_plane
        # The rate that the report tells: lost frames are counted.
        assert plane.imaging_rate == pytest.approx(43 / times[-1])
        assert f'measured rate {plane.imaging_rate:.3f}' in (out / 'report.txt').read_text()
        assert (plane.excitation_lambda, plane.indicator, plane.location) == (
            470, 'GCaMP6f', 'CA1')
        assert plane.optical_channel[0].emission_lambda == 525
        subject = file.subject
        assert (subject.subject_id, subject.species, subject.sex, subject.age,
                subject.genotype) == ('M7', 'Mus musculus', 'M', 'P90D', 'wt')
        assert file.experimenter == ('Ada Byron',) and file.experiment_description == 'maze'
        assert 'PYTHON480' in plane.device.model.description


def test_nwbinspector_finds_nothing_that_could_be_filled(tmp_path: Path) -> None:
    nwbinspector = pytest.importorskip('nwbinspector')
    content = {'session': {**SESSION['session'], 'researcher': 'Byron, Ada', 'lab': 'L',
                           'institution': 'I'}}
    # Longer than it is wide: else the inspector takes the width for the time.
    scope = replace(RICH, frames=60)
    out = export(tmp_path, scope, Session(content=content))
    findings = list(nwbinspector.inspect_nwbfile(nwbfile_path=str(out / 'miniscope.nwb')))
    grave = [f'{finding.check_function_name} {finding.object_name}: {finding.message}'
             for finding in findings
             if finding.importance.name in (
                 'CRITICAL', 'PYNWB_VALIDATION', 'ERROR', 'BEST_PRACTICE_VIOLATION')]
    assert not grave, grave


def test_dandi_takes_the_file(tmp_path: Path) -> None:
    dandi = shutil.which('dandi')
    if dandi is None:
        pytest.skip('dandi is not installed: pip install dandi')
    content = {'session': {**SESSION['session'], 'researcher': 'Byron, Ada'}}
    out = export(tmp_path, replace(RICH, frames=60), Session(content=content))
    archive = tmp_path / 'archive'
    archive.mkdir()
    (archive / 'dandiset.yaml').write_text('name: day 3\ndescription: one recording\n')

    def run(*arguments: Any) -> None:
        result = subprocess.run(
            [dandi, *arguments], cwd=archive, env={**os.environ, 'DANDI_NO_ET': '1'}, timeout=250,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert result.returncode == 0, result.stdout

    run('organize', '--files-mode', 'copy', '-d', '.', out / 'miniscope.nwb')
    assert [path.parent.name for path in archive.rglob('*.nwb')] == ['sub-M7']
    run('validate', '.')
