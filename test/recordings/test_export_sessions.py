# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Several acquisitions of one scope are the sessions that a converter finds."""
from dataclasses import replace
from datetime import datetime
import json
from pathlib import Path

from exported_tables import read_table
from miniscope_ros.commands.export_bag import DONE, main, PARTLY
from miniscope_ros.recordings.formats import open_recording
import numpy as np
import pytest
from recorded_bag import EPOCH_NS, Scope, write_bag
from recorded_camera import Camera

LATER_NS = EPOCH_NS + 95_000_000_000
SIZE = (64, 48)
FIRST = Scope(size=SIZE, frames=30)
OTHER = Scope(
    node='/rat2/miniscope', size=SIZE, frames=25, start_ns=EPOCH_NS + 700_000_000, seed=2)
SECOND = Scope(size=SIZE, frames=20, start_ns=LATER_NS, seed=1)
CAMERA = Camera(node='/room', size=SIZE, frames=12)


def session_folder(start_ns: int) -> str:
    return f'{datetime.fromtimestamp(start_ns // 10**9):%Y_%m_%d/%H_%M_%S}'


def exported(tmp_path: Path, *scopes: Scope, options: tuple[str, ...] = ()) -> Path:
    bag = write_bag(tmp_path / 'bag', *scopes)
    assert main([str(bag), str(tmp_path / 'out'), *options]) == DONE
    return tmp_path / 'out'


def test_a_scope_has_one_name_in_all_sessions(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = exported(tmp_path, FIRST, OTHER, SECOND, CAMERA)
    first, second = (out / session_folder(start) for start in (EPOCH_NS, LATER_NS))
    assert {str(path.parent.relative_to(out)) for path in out.rglob('timeStamps.csv')} == {
        f'{session_folder(EPOCH_NS)}/{name}'
        for name in ('miniscope', 'rat2_miniscope', 'BehavCam_0')
    } | {f'{session_folder(LATER_NS)}/miniscope'}
    sessions = [json.loads((folder / 'metaData.json').read_text()) for folder in (first, second)]
    assert [one['miniscopes'] for one in sessions] == [
        ['miniscope', 'rat2_miniscope'], ['miniscope']]
    assert [one['cameras'] for one in sessions] == [['BehavCam_0'], []]
    assert [one['recordingStartTime']['msecSinceEpoch'] for one in sessions] == [
        EPOCH_NS // 10**6, LATER_NS // 10**6]
    for folder, scope, zero_ns in ((first / 'miniscope', FIRST, EPOCH_NS),
                                   (first / 'rat2_miniscope', OTHER, EPOCH_NS),
                                   (second / 'miniscope', SECOND, LATER_NS)):
        expected = [scope.time_ms(n) + (scope.start_ns - zero_ns) / 1e6
                    for n in range(scope.frames)]
        assert read_table(folder / 'frames.csv')['Time Stamp (ms)'].tolist() == pytest.approx(
            expected, abs=1e-3)
        device = json.loads((folder / 'metaData.json').read_text())
        assert device['deviceName'] == folder.name
        assert device['deviceID'] == (folder.name != 'miniscope')
        frames = list(open_recording(str(folder)).frames())
        assert [frame.image.tobytes() for frame in frames] == [
            scope.image(n).tobytes() for n in range(scope.frames)]
    scopes = read_table(first / 'BehavCam_0' / 'scope_frames.csv')['Scope'].unique().tolist()
    assert scopes == [f'{session_folder(EPOCH_NS)}/miniscope',
                      f'{session_folder(LATER_NS)}/miniscope',
                      f'{session_folder(EPOCH_NS)}/rat2_miniscope']
    assert f'folder        {session_folder(LATER_NS)}/miniscope' in capsys.readouterr().out
    assert main(['--force', str(tmp_path / 'bag'), str(out)]) == DONE


def test_neuroconv_finds_every_session(tmp_path: Path) -> None:
    converters = pytest.importorskip('neuroconv.converters')
    pynwb = pytest.importorskip('pynwb')
    out = exported(tmp_path, FIRST, OTHER, SECOND, CAMERA)
    result = tmp_path / 'converted.nwb'
    converters.MiniscopeConverter(
        folder_path=str(out), user_configuration_file_path=str(out / 'userConfig.json'),
    ).run_conversion(nwbfile_path=str(result), overwrite=True)
    with pynwb.NWBHDF5IO(result, 'r') as io:
        file = io.read()
        found = {}
        for one in file.acquisition.values():
            if isinstance(one, pynwb.ophys.OnePhotonSeries):
                scope, = (scope for scope in (FIRST, OTHER, SECOND) if np.array_equal(
                    one.data[0].T, scope.image(0)))
                found[scope.start_ns] = (one.imaging_plane.device.name, len(one.data),
                                         one.starting_time or one.timestamps[0])
        devices = {name for name, _, _ in found.values()}
        assert len(found) == 3 and len(devices) == 2  # one device for both sessions of a scope
        assert found[EPOCH_NS][0] == found[LATER_NS][0]
        for scope in (FIRST, OTHER, SECOND):
            name, count, begin_s = found[scope.start_ns]
            assert count == scope.frames
            assert begin_s == pytest.approx((scope.start_ns - EPOCH_NS) / 1e9, abs=2e-3)


def test_a_remark_belongs_to_the_session_under_way(tmp_path: Path) -> None:
    first = replace(FIRST, notes={0: 'it sleeps', 20: 'it wakes'})
    second = replace(SECOND, notes={5: 'it runs'})
    out = exported(tmp_path, first, OTHER, second)
    expected = {FIRST.start_ns: [(round(first.time_ms(0) - 3), 'it sleeps'),
                                 (round(first.time_ms(20) - 3), 'it wakes')],
                SECOND.start_ns: [(round(second.time_ms(5) - 3), 'it runs')]}
    for start_ns, device in ((FIRST.start_ns, 'miniscope'), (FIRST.start_ns, 'rat2_miniscope'),
                             (SECOND.start_ns, 'miniscope')):
        table = read_table(out / session_folder(start_ns) / device / 'notes.csv')
        remarks = table[table['Device'] == 'user']
        assert list(zip(remarks['Time Stamp (ms)'], remarks['Value'], strict=True)) == expected[
            start_ns]


def test_the_remarks_in_the_files_of_each_session(tmp_path: Path) -> None:
    pynwb = pytest.importorskip('pynwb')
    pytest.importorskip('ndx_miniscope')
    second = replace(SECOND, notes={5: 'it runs'})
    out = exported(tmp_path, replace(FIRST, notes={20: 'it wakes'}), second,
                   options=('--format', 'nwb'))
    for name, text in (('miniscope', 'it wakes'), ('miniscope_2', 'it runs')):
        with pynwb.NWBHDF5IO(out / f'{name}.nwb', 'r') as io:
            remarks = io.read().acquisition['Notes']
            assert remarks.data[:].tolist() == [text]
            assert remarks.timestamps[0] >= 0


def test_sessions_that_began_in_the_same_second(tmp_path: Path) -> None:
    scopes = [Scope(size=SIZE, frames=5), Scope(
        size=SIZE, frames=4, start_ns=EPOCH_NS + 300_000_000, seed=1)]
    bag = write_bag(tmp_path / 'bag', *scopes)
    assert main([str(bag), str(tmp_path / 'out')]) == DONE
    name = session_folder(EPOCH_NS)
    assert [len(read_table(tmp_path / 'out' / folder / 'miniscope' / 'timeStamps.csv'))
            for folder in (name, f'{name}_2')] == [5, 4]


def test_cameras_of_ours_keep_their_number(tmp_path: Path) -> None:
    room = Scope(node='/room', device_type='camera', size=SIZE, frames=6)
    again = Scope(node='/room', device_type='camera', size=SIZE, frames=7, start_ns=LATER_NS)
    out = exported(tmp_path, FIRST, SECOND, room, again, options=(
        '--format', 'miniscope_daq', '--format', 'nwb'))
    assert [len(read_table(out / session_folder(start) / 'BehavCam_0' / 'timeStamps.csv'))
            for start in (EPOCH_NS, LATER_NS)] == [6, 7]
    assert sorted(path.stem for path in out.glob('*.nwb')) == [
        'BehavCam_0', 'BehavCam_0_2', 'miniscope', 'miniscope_2']


def test_frames_that_no_video_can_hold_leave_no_empty_session(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = Scope(size=(63, 48), frames=5, start_ns=LATER_NS)
    bag = write_bag(tmp_path / 'bag', FIRST, odd)
    assert main([str(bag), str(tmp_path / 'out')]) == PARTLY
    assert 'odd size' in capsys.readouterr().err
    assert not (tmp_path / 'out' / session_folder(LATER_NS)).exists()
    assert len(list((tmp_path / 'out').rglob('metaData.json'))) == 2
