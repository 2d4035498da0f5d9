# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What stands beside the frames: read by pandas, neuroconv and PyAV, row by row as recorded."""
import json
from pathlib import Path
import re

from exported_tables import read_table
from miniscope_ros.commands.export_bag import DONE, FAILED, main, NOT_GOOD
from miniscope_ros.model import Content
import numpy as np
import pytest
from recorded_bag import EPOCH_NS, Scope, write_bag
from recorded_camera import Camera, Session

SESSION = {'session': {
    'researcher': 'Ada', 'experiment': 'maze', 'animal': 'M7', 'species': 'mouse', 'sex': 'male',
    'age': '90 days', 'genotype': 'wt', 'indicator': 'GCaMP6f', 'brain_area': 'CA1',
    'diet': 'ad lib'}}
RICH = Scope(
    frames=40, lost={7: 1, 20: 3}, led_change=(10, 40.0), still={5, 6, 7, 30},
    uncounted={7, 12, 13, 39}, inputs={0: 0, 15: 1, 17: 0}, notes={3: 'it grooms, then "rests"'})


def exported(tmp_path: Path, *scopes: Scope, options: tuple[str, ...] = ()) -> Path:
    bag = write_bag(tmp_path / 'bag', *scopes)
    assert main([str(bag), str(tmp_path / 'out'), *options]) == DONE
    return tmp_path / 'out'


def test_frames_as_recorded(tmp_path: Path) -> None:
    late = Scope(node='/late', start_ns=EPOCH_NS + 700_000_123, frames=5)
    out = exported(tmp_path, RICH, late)
    table = read_table(out / 'miniscope' / 'frames.csv', float_precision='round_trip')
    numbers = range(RICH.frames)
    whole = Scope(frames=40, lost=RICH.lost)
    expected = {
        'Frame Number': [*numbers], 'Time Stamp (ms)': [RICH.time_ms(n) for n in numbers],
        'Capture Index': [n + RICH.lost_until(n) for n in numbers],
        'Lost Before': [RICH.lost.get(n, 0) for n in numbers],
        'Loss Evidence': ['counter' if n in RICH.lost else 'none' for n in numbers],
        'Content': ['ok'] * 40, 'Sync Edge': [*numbers],
        'Digital Inputs': [RICH.levels(n) for n in numbers],
        'Device Frame Count': [whole.device_count(n) for n in numbers],
        'Stamp Source': ['buffer'] * 40, 'ROS Time (ns)': [RICH.stamp(n) for n in numbers],
        'Device Frame Count Filled': [int(n in RICH.uncounted) for n in numbers],
        'Orientation': ['repeated' if n in RICH.still else 'published' for n in numbers]}
    for column, values in expected.items():
        assert table[column].tolist() == values, column
    assert table['Device Time (ms)'].isna().all()
    times = read_table(out / 'late' / 'frames.csv')['Time Stamp (ms)']
    assert times.tolist() == pytest.approx([late.time_ms(n) + 700.000123 for n in range(5)])
    old = read_table(out / 'miniscope' / 'timeStamps.csv')
    assert list(old) == ['Frame Number', 'Time Stamp (ms)', 'Buffer Index', 'DAQ Frame Number']
    assert old['DAQ Frame Number'].tolist() == expected['Device Frame Count']


def test_every_content_is_in_table_and_report(tmp_path: Path) -> None:
    kinds = [kind for kind in Content if kind not in (Content.NOT_CHECKED, Content.OK)]
    content = {2 * n: int(kind) for n, kind in enumerate(kinds)}
    out = exported(tmp_path, Scope(frames=10, content=content))
    table = read_table(out / 'miniscope' / 'frames.csv')
    assert table['Content'].tolist() == [
        Content(content.get(n, Content.OK)).name.lower() for n in range(10)]
    report = (out / 'report.txt').read_text()
    assert re.search(rf'pictures +{10 - len(kinds)} whole, 0 not checked', report)
    assert len(re.findall(r'\b1 pictures ', report)) == len(kinds) == 4


def test_a_resting_animal_has_an_orientation(tmp_path: Path) -> None:
    table = read_table(exported(tmp_path, RICH) / 'miniscope' / 'headOrientation.csv')
    assert table.to_numpy().tolist() == [
        [round(RICH.time_ms(n)), *RICH.quaternion(n)] for n in range(RICH.frames)]


def test_controls_inputs_and_notes(tmp_path: Path) -> None:
    folder = exported(tmp_path, RICH) / 'miniscope'
    controls = read_table(folder / 'controls.csv')
    start = controls[controls['Reason'] == 'start']
    assert dict(zip(start['Control'], start['Value'], strict=True)) == {
        'led': 12.5, 'focus': -5, 'gain': 2, 'frame_rate': 20}
    assert start['Raw Value'].tolist() == [223, 122, 228, 5000]
    sent = controls[controls['Reason'] != 'start']
    assert sent[['Control', 'Value', 'Reason']].to_numpy().tolist() == [
        ['led', 40.0, 'user'], ['led', 0.0, 'stop']]
    assert sent['ROS Time (ns)'].tolist() == [RICH.stamp(10) - 1, RICH.stamp(39) + 1_000_000]
    inputs = read_table(folder / 'inputs.csv')
    assert inputs['Digital Inputs'].tolist() == [0, 1, 0]
    assert inputs['ROS Time (ns)'].tolist() == [RICH.stamp(n) - 2 for n in (0, 15, 17)]
    notes = read_table(folder / 'notes.csv')
    assert notes.astype(str).to_numpy().tolist() == [
        [str(round(RICH.time_ms(3) - 3)), 'user', 'note', 'it grooms, then "rests"'],
        [str(round(RICH.time_ms(10))), 'miniscope', 'led', '40'],
        [str(round(RICH.time_ms(39) + 1)), 'miniscope', 'led', '0']]


@pytest.mark.parametrize('unknown', [{7, 8, 9}, {0, 1}, {19, 20, 21}, {28, 29}])
def test_a_count_that_a_neighbour_determines_is_filled(
        tmp_path: Path, unknown: set[int]) -> None:
    scope = Scope(frames=30, lost={20: 2}, uncounted=unknown)
    table = read_table(exported(tmp_path, scope) / 'miniscope' / 'frames.csv')
    whole = Scope(frames=30, lost={20: 2})
    assert table['Device Frame Count'].tolist() == [whole.device_count(n) for n in range(30)]
    assert set(np.flatnonzero(table['Device Frame Count Filled'])) == unknown


class Unfinished(Scope):
    """The box never finished the frame before number 15, so that it did not count it."""

    def device_count(self, number: int) -> int:
        count = super().device_count(number)
        return count if count < 0 else count - (number >= 15)


def test_a_count_that_nothing_determines_stays_unknown(
        tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the report goes
    scope = Unfinished(frames=30, lost={15: 1, 17: 1}, uncounted={15, 16})
    table = read_table(exported(tmp_path, scope) / 'miniscope' / 'frames.csv')
    assert np.flatnonzero(table['Device Frame Count'] < 0).tolist() == [15, 16]
    assert '6.7 % of the DAQ frame numbers are unknown' in capsys.readouterr().out
    assert main(['--check', str(tmp_path / 'bag')]) == NOT_GOOD


def test_session_data_of_the_recording_and_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / 'mouse.yaml'
    file.write_text('animal: M8\nsex: F\nwavelengths: [470, 525]\n')
    out = exported(tmp_path, RICH, Session(content=SESSION), options=('--metadata', str(file)))
    data = json.loads((out / 'metaData.json').read_text())
    assert data['researcherName'] == 'Ada' and data['experimentName'] == 'maze'
    assert (data['animalName'], data['species'], data['sex'], data['age'], data['brainArea']) == (
        'M8', 'Mus musculus', 'F', 'P90D', 'CA1')
    assert data['diet'] == 'ad lib'


@pytest.mark.parametrize('content, said', [
    ('sex: perhaps', "sex is 'perhaps'"), ('age: old', "age is 'old'"), ('- a', 'NAME: VALUE'),
    ('wavelengths: green', 'two numbers [nm]'), ('a: [', 'is no YAML file'),
    ('age: !!int ""', 'is no YAML file'), ('age: 2026-99-99', 'is no YAML file'),
    ('[' * 100_000, 'is no YAML file')])
def test_a_metadata_file_that_cannot_be_used_is_refused(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str) -> None:
    file = tmp_path / 'mouse.yaml'
    file.write_text(content)
    bag = write_bag(tmp_path / 'bag', Scope(frames=3))
    assert main([str(bag), str(tmp_path / 'out'), '--metadata', str(file)]) == FAILED
    assert said in capsys.readouterr().err and not (tmp_path / 'out').exists()


@pytest.mark.parametrize('frames', [1, 12])
@pytest.mark.parametrize('topic', ['image_raw', 'image_raw/compressed', 'rgb/image'])
def test_cameras_keep_their_colours(tmp_path: Path, topic: str, frames: int) -> None:
    av = pytest.importorskip('av')
    camera = Camera(node='/room', topic=topic, size=(64, 48), frames=frames)
    out = exported(tmp_path, Scope(size=(64, 48)), camera)
    names = json.loads((out / 'metaData.json').read_text())
    assert (names['miniscopes'], names['cameras']) == (['miniscope'], ['BehavCam_0'])
    folder = out / 'BehavCam_0'
    with av.open(str(folder / '0.avi')) as video:
        pictures = [frame.to_ndarray(format='bgr24') for frame in video.decode(video=0)]
    assert len(pictures) == frames
    for number, frame in enumerate(pictures):
        assert np.array_equal(frame, camera.picture(number))
    times = read_table(folder / 'timeStamps.csv')['Time Stamp (ms)']
    assert times.tolist() == [round(camera.time_ms(n)) for n in range(frames)]


def test_cameras_without_a_scope(tmp_path: Path) -> None:
    out = exported(tmp_path, Camera(node='/hall', topic='rgb/image', frames=3),
                   Camera(node='/room', topic='image_raw/compressed', frames=4))
    assert json.loads((out / 'metaData.json').read_text())['cameras'] == [
        'BehavCam_0', 'BehavCam_1']
    assert [len(read_table(out / f'BehavCam_{number}' / 'timeStamps.csv'))
            for number in (0, 1)] == [3, 4]


def test_what_is_left_out_is_said(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = exported(tmp_path, Scope(), Camera(node='/bare', info=False, frames=3),
                   Camera(node='/room', frames=3),
                   Camera(node='/room', topic='image_raw/compressed', frames=3, info=False))
    assert json.loads((out / 'metaData.json').read_text())['cameras'] == ['BehavCam_0']
    said = capsys.readouterr().out
    assert 'left out: /bare/image_raw: no camera_info' in said
    assert 'left out: /room/image_raw/compressed: /room/image_raw has the same pictures' in said


def test_neuroconv_converts_the_whole_session(tmp_path: Path) -> None:
    converters = pytest.importorskip('neuroconv.converters')
    pynwb = pytest.importorskip('pynwb')
    scope = Scope(size=(64, 48), frames=30, device_type='')
    out = exported(tmp_path, scope, Camera(node='/room', size=(64, 48), frames=12),
                   Session(content=SESSION))
    assert 'deviceType' not in json.loads((out / 'miniscope' / 'metaData.json').read_text())
    converter = converters.MiniscopeConverter(
        folder_path=str(out), user_configuration_file_path=str(out / 'userConfig.json'))
    result = tmp_path / 'converted.nwb'
    converter.run_conversion(nwbfile_path=str(result), overwrite=True)
    with pynwb.NWBHDF5IO(result, 'r') as io:
        file = io.read()
        series = [one for one in file.acquisition.values()
                  if isinstance(one, pynwb.ophys.OnePhotonSeries)]
        assert len(series) == 1 and series[0].data.shape[0] == scope.frames
        assert any(isinstance(one, pynwb.image.ImageSeries) and one.external_file is not None
                   for one in file.acquisition.values())
