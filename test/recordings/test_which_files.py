# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Which files of a folder are one recording, and in which order."""
from collections.abc import Sequence
from pathlib import Path
import shutil

from miniscope_ros.commands.export_bag import FAILED, main, PARTLY
from miniscope_ros.errors import DeviceError
from miniscope_ros.recordings.bag.zstd import zstd
from miniscope_ros.recordings.formats import open_recording
import pytest
from recorded_bag import EPOCH_NS, Scope, SQLITE, write_bag
from recording_folders import (
    scenes,
    write_avi,
    write_miniscope_daq,
    write_pomidaq,
    write_pomidaq_rows,
    write_syntalos,
)

MS = 1_000_000
UNIT = (1.0, 0.0, 0.0, 0.0)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path_factory: pytest.TempPathFactory,
                            monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a report go where it is in nobody's way."""
    monkeypatch.chdir(tmp_path_factory.mktemp('here'))


def times_ms(path: Path) -> list[int]:
    """Return the times of the frames of a recording [ms]."""
    return [frame.time_ns // MS for frame in open_recording(str(path)).frames()]


# rosbag2

def crashed(folder: Path, names: Sequence[str], scope: Scope) -> Path:
    """Write a split bag whose files get these names, without metadata."""
    bag = write_bag(folder, scope, files=len(names))
    (bag / 'metadata.yaml').unlink()
    for number, name in enumerate(names):
        (bag / f'{folder.name}_{number}.mcap').rename(bag / name)
    return bag


@pytest.mark.parametrize('names', [
    ['0_mouse_2026_03_01-10_00_50.mcap', '1_mouse_2026_03_01-10_01_12.mcap',
     '2_mouse_2026_03_01-10_02_34.mcap'],
    [f'{number}_rat_2_2026_03_01-10_{number:02}_{59 - number}.mcap' for number in range(12)],
    [f'mouse_{number}.mcap' for number in range(12)],
    ['rosbag2_2026_03_01-10_00_50_0.mcap', 'rosbag2_2026_03_01-10_00_50_1.mcap'],
], ids=['new', 'new of 12', 'old of 12', 'old with a date'])
def test_the_counter_in_the_name_orders_a_crashed_bag(
        tmp_path: Path, names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    scope = Scope(frames=2 * len(names), counter=0)
    bag = crashed(tmp_path / 'bag', names, scope)
    recording = open_recording(str(bag))
    assert [frame.device_count for frame in recording.frames()] == list(range(scope.frames))
    assert main(['--check', str(bag)]) == PARTLY
    assert f'frames        {scope.frames}\n' in capsys.readouterr().out


def test_two_recordings_in_one_folder_are_told_apart(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = tmp_path / 'both'
    both.mkdir()
    for name, frames in (('mouse', 6), ('rat', 4)):
        bag = write_bag(tmp_path / name, Scope(frames=frames), files=2)
        for file in bag.glob('*.mcap'):
            file.rename(both / file.name)
    assert main([str(both), str(tmp_path / 'out')]) == FAILED
    assert f'several recordings; name one of: {both}/mouse, {both}/rat' in (
        capsys.readouterr().err)
    for name, frames in (('mouse', 6), ('rat', 4)):
        assert len(times_ms(both / name)) == frames
    shutil.copy(tmp_path / 'mouse' / 'metadata.yaml', both)
    assert main([str(both), str(tmp_path / 'out')]) == PARTLY
    output = capsys.readouterr()
    assert 'rat is another recording' in output.err and 'frames        6\n' in output.out


def test_a_missing_file_of_a_crashed_bag_is_said(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = crashed(tmp_path / 'bag', [f'bag_{number}.mcap' for number in range(4)], Scope(frames=8))
    (bag / 'bag_1.mcap').unlink()
    assert main([str(bag), str(tmp_path / 'out')]) == PARTLY
    assert '1 of 4 files of bag are missing' in capsys.readouterr().err


def test_dates_in_names_are_no_counters(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = tmp_path / 'days'
    days.mkdir()
    for name in ('mouse_20231117', 'mouse_20231118', 'rat_2026_03_01', 'rat_2026_03_02'):
        bag = write_bag(tmp_path / 'bag', Scope(frames=2))
        (bag / 'bag_0.mcap').rename(days / f'{name}.mcap')
        shutil.rmtree(bag)
    assert main([str(days), str(tmp_path / 'out')]) == FAILED
    assert ', '.join(f'{days}/{name}' for name in (
        'mouse_20231117', 'mouse_20231118', 'rat_2026_03_01')) in capsys.readouterr().err
    assert main([str(days / 'mouse_20231118'), str(tmp_path / 'out')]) == PARTLY
    output = capsys.readouterr()
    assert 'frames        2\n' in output.out and 'are missing' not in output.err


@pytest.mark.parametrize('whole', [True, False])
def test_a_file_that_is_there_compressed_too_is_read_once(
        tmp_path: Path, whole: bool, capsys: pytest.CaptureFixture[str]) -> None:
    bag = crashed(tmp_path / 'bag', ['mouse_0.mcap', 'mouse_1.mcap'], Scope(frames=8))
    compressed = zstd.compress((bag / 'mouse_1.mcap').read_bytes())
    (bag / 'mouse_1.mcap.zstd').write_bytes(compressed if whole else compressed[:-3])
    for place in (bag, bag / 'mouse'):
        assert main(['--check', str(place)]) == PARTLY
        output = capsys.readouterr()
        assert 'frames        8\n' in output.out
        assert ('mouse_1.mcap.zstd is not read: mouse_1.mcap has the same name and number'
                in output.err)


def test_recordings_that_do_not_follow_each_other_are_told(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mice = tmp_path / 'mice'
    mice.mkdir()
    for number, start_ns in enumerate((EPOCH_NS + 3600 * 10**9, EPOCH_NS)):
        scope = Scope(frames=4, start_ns=start_ns, inputs={0: number}, led_change=(1, 20.0))
        bag = write_bag(tmp_path / 'bag', scope)
        (bag / 'bag_0.mcap').rename(mice / f'mouse_{number}.mcap')
        shutil.rmtree(bag)
    assert main([str(mice), str(tmp_path / 'out')]) == PARTLY
    assert 'is earlier than miniscope, which was written before it' in capsys.readouterr().out
    # Each is a session of its own, in folders of date and time.
    folders = sorted(path.parent for path in (tmp_path / 'out').rglob('controls.csv'))
    for folder, level in zip(folders, (1, 0), strict=True):
        controls = (folder / 'controls.csv').read_text()
        assert ',led,12.5,' in controls.splitlines()[1]
        inputs = (folder / 'inputs.csv').read_text().splitlines()
        assert inputs[1].split(',')[-1] == str(level)


# Miniscope-DAQ

def renumbered(folder: Path, first: int) -> None:
    """Let the numbers of the files begin with another one."""
    for file in sorted(folder.glob('*.avi'), key=lambda path: -int(path.stem)):
        file.rename(folder / f'{int(file.stem) + first}.avi')


@pytest.mark.parametrize('first, stamps', [(1, 30), (1, 31), (20231117, 30)])
def test_files_may_be_numbered_from_any_number(tmp_path: Path, first: int, stamps: int) -> None:
    images = scenes(30)
    folder = write_miniscope_daq(tmp_path / 'scope', images, range(0, 1500, 50), per_file=10)
    if stamps > 30:
        with (folder / 'timeStamps.csv').open('a') as file:
            file.write('30,1500,0\n')
    renumbered(folder, first)
    frames = list(open_recording(str(folder)).frames())
    assert [frame.time_ns // MS for frame in frames] == list(range(0, 1500, 50))
    assert [frame.image.tobytes() for frame in frames] == [image.tobytes() for image in images]


def test_zeros_before_the_numbers_do_not_matter(tmp_path: Path) -> None:
    images = scenes(30)
    folder = write_miniscope_daq(tmp_path / 'scope', images, range(0, 1500, 50), per_file=10)
    for file in folder.glob('*.avi'):
        file.rename(folder / f'{int(file.stem):03}.avi')
    frames = list(open_recording(str(folder)).frames())
    assert [frame.time_ns // MS for frame in frames] == list(range(0, 1500, 50))
    assert [frame.image.tobytes() for frame in frames] == [image.tobytes() for image in images]


def test_a_missing_first_file_does_not_shift_the_rest(tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(30), range(0, 1500, 50), per_file=10)
    (folder / '0.avi').unlink()
    assert times_ms(folder) == list(range(500, 1500, 50))


@pytest.mark.parametrize('name', ['20231001.avi', '99999999999.avi'])
def test_a_strange_file_is_left_out_and_named(tmp_path: Path, name: str) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(6), range(0, 300, 50), per_file=2)
    write_avi(folder / name, scenes(2), 'FFV1')
    recording = open_recording(str(folder))
    assert len(list(recording.frames())) == 6
    assert any(name in warning for warning in recording.warnings)


@pytest.mark.parametrize('digits, stranger', [(1, '00'), (1, '01'), (2, '0'), (2, '1')])
def test_of_two_files_of_one_number_the_one_named_like_the_others_is_played(
        tmp_path: Path, digits: int, stranger: str) -> None:
    images = scenes(6)
    folder = write_miniscope_daq(tmp_path / 'scope', images, range(0, 300, 50), per_file=2)
    for file in sorted(folder.glob('*.avi')):
        file.rename(folder / f'{int(file.stem):0{digits}}.avi')
    write_avi(folder / f'{stranger}.avi', scenes(9)[7:], 'FFV1')
    recording = open_recording(str(folder))
    assert [frame.image.tobytes() for frame in recording.frames()] == [
        image.tobytes() for image in images]
    right = f'{int(stranger):0{digits}}.avi'
    assert any(f'{stranger}.avi is not played: {right} has the same number' in warning
               for warning in recording.warnings)


@pytest.mark.parametrize('names', [['0', '00'], ['0', '1', '00', '01'], ['10', '010'],
                                   ['0', '00', '000']])
def test_files_of_one_number_that_nothing_tells_apart_are_refused(
        tmp_path: Path, names: list[str]) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(2), [0, 50])
    for name in names:
        write_avi(folder / f'{name}.avi', scenes(2), 'FFV1')
    if '0' not in names:
        (folder / '0.avi').unlink()
    with pytest.raises(DeviceError, match=r'0\.avi and \d+\.avi') as refused:
        open_recording(str(folder))
    assert 'have the same number' in str(refused.value)


def test_digits_that_no_program_writes_name_no_file_of_a_recording(tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(2), [0, 50])
    write_avi(folder / '\N{ARABIC-INDIC DIGIT ZERO}.avi', scenes(2), 'FFV1')
    assert times_ms(folder) == [0, 50]


# Folders in folders

def test_a_folder_with_a_recording_is_that_one_and_not_one_below_it(tmp_path: Path) -> None:
    pomidaq = tmp_path / 'pomidaq'
    pomidaq.mkdir()
    write_pomidaq(pomidaq, 'mouse', scenes(5), range(0, 250, 50))
    bag = write_bag(tmp_path / 'bag', Scope(frames=6))
    device = write_miniscope_daq(tmp_path / 'scope', scenes(4), range(0, 200, 50))
    for folder, frames in ((pomidaq, 5), (bag, 6), (device, 4)):
        below = write_miniscope_daq(folder / 'below', scenes(3), [0, 50, 100])
        recording = open_recording(str(folder))
        assert len(list(recording.frames())) == frames
        assert any(f'what is below {folder} is not played: {below}' in warning
                   for warning in recording.warnings)
        assert len(times_ms(below)) == 3


def test_a_second_recording_in_a_folder_is_named(tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(4), range(0, 200, 50))
    write_pomidaq(folder, 'mouse', scenes(5), range(0, 250, 50))
    recording = open_recording(str(folder))
    assert len(list(recording.frames())) == 4
    assert any('holds a PoMiDAQ video' in warning for warning in recording.warnings)
    assert len(times_ms(folder / 'mouse')) == 5


# PoMiDAQ

def slices(folder: Path, name: str, count: int, start_ms: int = 0) -> None:
    """Write slices of two frames each, and the orientation of the whole."""
    for number in range(1, count + 1):
        first = 100 * (number - 1) + start_ms
        write_pomidaq(folder, f'{name}_{number}', scenes(2), [first, first + 50])
    write_pomidaq_rows(folder, name, [[50 * n + start_ms, *UNIT] for n in range(2 * count)])


def test_animals_of_one_folder_are_played_one_by_one(tmp_path: Path) -> None:
    slices(tmp_path, 'mouse', 11)
    slices(tmp_path, 'rat', 2)
    write_pomidaq(tmp_path, 'vole', scenes(1), [0])
    with pytest.raises(DeviceError, match='several recordings.*/mouse, .*/rat, .*/vole.mkv'):
        open_recording(str(tmp_path))
    for name, count in (('mouse', 22), ('rat', 4), ('rat.mkv', 4), ('vole.mkv', 1)):
        assert times_ms(tmp_path / name) == list(range(0, 50 * count, 50))


def test_a_slice_alone_has_the_orientation_of_the_whole(tmp_path: Path) -> None:
    slices(tmp_path, 'mouse', 3)
    frames = list(open_recording(str(tmp_path / 'mouse_2.mkv')).frames())
    assert [frame.time_ns // MS for frame in frames] == [100, 150]
    assert [frame.orientation for frame in frames] == [UNIT, UNIT]


def test_slices_left_of_another_recording_are_not_played(tmp_path: Path) -> None:
    slices(tmp_path, 'mouse', 4)
    slices(tmp_path, 'mouse', 2, start_ms=1000)  # over the first two
    recording = open_recording(str(tmp_path))
    assert [frame.time_ns // MS for frame in recording.frames()] == [1000, 1050, 1100, 1150]
    assert any('mouse_3, mouse_4 is not played' in warning for warning in recording.warnings)


@pytest.mark.parametrize('frames', [20, 60])
def test_recordings_that_begin_anew_are_no_slices(tmp_path: Path, frames: int) -> None:
    write_pomidaq(tmp_path, 'mouse_1', scenes(20), range(0, 1000, 50))
    write_pomidaq(tmp_path, 'mouse_2', scenes(frames), range(0, 50 * frames, 50))
    recording = open_recording(str(tmp_path))
    assert [frame.time_ns // MS for frame in recording.frames()] == list(range(0, 1000, 50))
    assert any('mouse_2 is not played' in warning for warning in recording.warnings)


def test_a_missing_slice_is_said(tmp_path: Path) -> None:
    slices(tmp_path, 'mouse', 4)
    for file in tmp_path.glob('mouse_2*'):
        file.unlink()
    recording = open_recording(str(tmp_path))
    assert recording.frame_count == 6
    assert any('1 slices are missing: mouse_2' in warning for warning in recording.warnings)


# Folders above, and paths that are not there

def test_a_folder_above_several_recordings_says_which(tmp_path: Path) -> None:
    write_miniscope_daq(tmp_path / 'mouse' / '2026_03_01' / '10_00' / 'scope', scenes(2), [0, 50])
    write_pomidaq(tmp_path / 'rat', 'rat', scenes(2), [0, 50])
    write_bag(tmp_path / 'vole' / 'bag', Scope(frames=2), storage=SQLITE)
    with pytest.raises(DeviceError) as caught:
        open_recording(str(tmp_path))
    for place in ('mouse/2026_03_01/10_00', 'rat', 'vole/bag'):
        assert str(tmp_path / place) in str(caught.value)


def test_a_folder_above_a_device_and_other_recordings_says_which(tmp_path: Path) -> None:
    write_miniscope_daq(tmp_path / 'scope', scenes(2), [0, 50])
    write_pomidaq(tmp_path / 'rat', 'rat', scenes(2), [0, 50])
    write_bag(tmp_path / 'bag', Scope(frames=2))
    with pytest.raises(DeviceError, match='is above .*/scope, .*/bag, .*/rat; name one'):
        open_recording(str(tmp_path))
    shutil.rmtree(tmp_path / 'rat')
    shutil.rmtree(tmp_path / 'bag')
    assert times_ms(tmp_path) == [0, 50]


def test_a_folder_above_several_syntalos_recordings_says_which(tmp_path: Path) -> None:
    for name in ('a', 'b'):
        write_syntalos(tmp_path / name, [scenes(2)], [[0, 50_000]])
    with pytest.raises(DeviceError, match=f'{tmp_path}/a, {tmp_path}/b'):
        open_recording(str(tmp_path))


def test_export_names_the_bags_below(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bag(tmp_path / 'bags' / 'one', Scope(frames=2))
    write_bag(tmp_path / 'bags' / 'mouse' / '2026_03_01' / '10_00', Scope(frames=2))
    assert main([str(tmp_path / 'bags'), str(tmp_path / 'out')]) == FAILED
    assert (f'name one of: {tmp_path}/bags/mouse/2026_03_01/10_00, {tmp_path}/bags/one'
            in capsys.readouterr().err)


@pytest.mark.parametrize('path, said', [
    ('bag/rat', 'bag/rat does not exist; .*bag holds 1 acquisitions.*bag/miniscope'),
    ('bga', 'bga does not exist; beside it there is .*/bag'),
    ('more/of/it', 'there is .*, but no more in it')])
def test_a_path_that_is_not_there_says_so(tmp_path: Path, path: str, said: str) -> None:
    write_bag(tmp_path / 'bag', Scope(frames=2))
    with pytest.raises(DeviceError, match=said):
        open_recording(str(tmp_path / path))
