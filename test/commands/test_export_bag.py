# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The command export_bag: what it refuses, leaves behind, reports, and costs."""
from collections.abc import Callable
import fcntl
import json
import os
from pathlib import Path
import pty
import resource
import signal
import struct
import subprocess
import sys
import termios
import time

import cv2
from miniscope_ros.commands.export_bag import DONE, FAILED, INTERRUPTED, main, NOT_GOOD
from miniscope_ros.recordings.bag.contents import read_contents
from miniscope_ros.recordings.bag.reader import Bag
import pytest
from recorded_bag import MCAP, Scope, SQLITE, write_bag
from recording_folders import scenes, write_miniscope_daq
from rosbags.rosbag2 import CompressionMode, StoragePlugin

COMMAND = [sys.executable, '-m', 'miniscope_ros.commands.export_bag']


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(name='bag')
def fixture_bag(tmp_path: Path) -> Path:
    return write_bag(tmp_path / 'bag', Scope(lost={30: 2}, led_change=(40, 55.0)))


def test_an_existing_folder_is_replaced_only_by_force(
        bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'out'
    content = ['export.json', 'metaData.json', 'miniscope', 'report.png', 'report.txt',
               'userConfig.json']
    assert main([str(bag), str(out), '--animal', 'Fritz']) == DONE
    assert names(out) == content
    assert main([str(bag), str(out)]) == FAILED
    assert f'{out} exists; choose another name, or replace it with --force' in (
        capsys.readouterr().err)
    assert 'Fritz' in (out / 'metaData.json').read_text()
    assert main([str(bag), str(out), '--force', '--animal', 'Max']) == DONE
    assert 'Max' in (out / 'metaData.json').read_text()
    assert names(out) == content
    assert names(tmp_path) == ['bag', 'out']


def another_programs_recording(out: Path) -> str:
    write_miniscope_daq(out / 'scope', scenes(2), [0, 50])
    return 'scope'


def papers(out: Path) -> str:
    out.mkdir()
    (out / 'thesis.odt').write_text('years of work')
    return 'thesis.odt'


def a_result_beside_the_export(out: Path) -> str:
    (out / 'miniscope' / 'minian.zarr').mkdir(parents=True)
    (out / 'miniscope' / 'minian.zarr' / '0').write_text('a day of computing')
    return 'miniscope/minian.zarr'


def a_changed_file(out: Path) -> str:
    with (out / 'miniscope' / 'timeStamps.csv').open('a') as file:
        file.write('60,3100,0,7\n')
    return 'miniscope/timeStamps.csv, changed since'


def a_video_that_is_a_link(out: Path) -> str:
    (out / 'miniscope' / '0.avi').rename(out.parent / 'elsewhere.avi')
    (out / 'miniscope' / '0.avi').symlink_to(out.parent / 'elsewhere.avi')
    return 'miniscope/0.avi, a link'


def a_folder_that_is_a_link(out: Path) -> str:
    (out.parent / 'elsewhere').mkdir()
    (out.parent / 'elsewhere' / 'data').write_text('data')
    (out / 'more').symlink_to(out.parent / 'elsewhere')
    return 'more, a link'


def another_list_of_files(out: Path) -> str:
    (out / 'export.json').write_text('{"program": "another", "files": {}}')
    return 'metaData.json'


@pytest.mark.parametrize('there', [
    another_programs_recording, papers, a_result_beside_the_export, a_changed_file,
    a_video_that_is_a_link, a_folder_that_is_a_link, another_list_of_files])
def test_force_replaces_nothing_but_an_export(
        bag: Path, tmp_path: Path, there: Callable[[Path], str],
        capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'out'
    if there not in (another_programs_recording, papers):
        assert main([str(bag), str(out)]) == DONE
    found = there(out)
    before = {path: path.lstat().st_ino for path in tmp_path.rglob('*')}
    capsys.readouterr()
    assert main([str(bag), str(out), '--force']) == FAILED
    errors = capsys.readouterr().err
    assert f'{out} is not replaced' in errors and found in errors
    assert {path: path.lstat().st_ino for path in tmp_path.rglob('*')} == before


def test_force_replaces_no_file_and_goes_through_no_link(
        bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = bag / 'bag_0.mcap'
    before = file.read_bytes()
    assert main([str(file), str(file), '--force']) == FAILED
    assert 'is a file, which is never replaced' in capsys.readouterr().err
    assert main([str(bag), str(tmp_path / 'out')]) == DONE
    (tmp_path / 'link').symlink_to(tmp_path / 'out')
    assert main([str(bag), str(tmp_path / 'link'), '--force']) == FAILED
    assert 'is a link to' in capsys.readouterr().err
    assert file.read_bytes() == before and names(tmp_path) == ['bag', 'link', 'out']


def test_an_empty_folder_is_filled(bag: Path, tmp_path: Path) -> None:
    (tmp_path / 'out').mkdir()
    assert main([str(bag), str(tmp_path / 'out')]) == DONE


@pytest.mark.parametrize('out, found', [
    ('bag', 'but bag_0.mcap, metadata.yaml'), ('.', 'but bag'), ('/', 'but ')])
def test_force_deletes_no_recording(
        bag: Path, tmp_path: Path, out: str, found: str,
        capsys: pytest.CaptureFixture[str]) -> None:
    before = (bag / 'bag_0.mcap').read_bytes()
    assert main([str(bag), str(tmp_path / out), '--force']) == FAILED
    assert f'no export.json of an export, {found}' in capsys.readouterr().err
    assert (bag / 'bag_0.mcap').read_bytes() == before


_LIST_SCANS = """
import os, sys
from miniscope_ros.commands.export_bag import main
bag, out = sys.argv[1:]
sys.addaudithook(lambda event, arguments: event in ('os.scandir', 'os.listdir') and str(
    arguments[0]).startswith(out) and print('scanned', os.path.relpath(arguments[0], out)))
sys.exit(main([bag, out, '--force']))
"""


@pytest.mark.parametrize('exported', [False, True])
def test_what_is_not_of_an_export_is_not_searched(
        bag: Path, tmp_path: Path, exported: bool) -> None:
    out = tmp_path / 'out'
    if exported:
        assert main([str(bag), str(out)]) == DONE
    for number in range(3):
        (out / f'results{number}' / 'many' / 'folders').mkdir(parents=True)
    done = subprocess.run([sys.executable, '-c', _LIST_SCANS, str(bag), str(out)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == FAILED and 'is not replaced' in done.stderr
    scanned = {line.removeprefix('scanned ') for line in done.stdout.splitlines()}
    assert '.' in scanned and scanned <= ({'.', 'miniscope'} if exported else {'.'})


def test_a_list_of_files_elsewhere_deletes_nothing(
        bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, precious = tmp_path / 'out', tmp_path / 'precious'
    precious.write_text('data')
    out.mkdir()
    for name in ('../precious', str(precious), 'no/../../precious'):
        (out / 'export.json').write_text(json.dumps(
            {'program': 'miniscope_ros export_bag', 'files': {name: 4}}))
        assert main([str(bag), str(out), '--force']) == FAILED
        assert f'there is no {name}' in capsys.readouterr().err
    assert precious.read_text() == 'data'


def test_a_failed_export_keeps_what_was_there(bag: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    assert main([str(bag), str(out)]) == DONE
    before = (out / 'miniscope' / '0.avi').read_bytes()
    empty = write_bag(tmp_path / 'empty', Scope(), without=('image_raw',))
    assert main([str(empty), str(out), '--force']) == FAILED
    assert (out / 'miniscope' / '0.avi').read_bytes() == before
    assert names(tmp_path) == ['bag', 'empty', 'out']


@pytest.mark.parametrize('arguments', [
    ['bag'], ['--check', 'bag', 'out'], ['bag', 'out', '--codec', 'xvid'],
    ['bag', 'out', '--format', 'tiff'], ['bag', 'out', '--frames-per-file', '0'], []])
def test_wrong_command_lines(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize('missing, message', [
    (['h5py'], 'module h5py is missing: {} -m pip install h5py\n'),
    (['rosbags'], 'module rosbags is missing: {} -m pip install rosbags\n'),
    (['yaml'], 'module yaml is missing: {} -m pip install pyyaml\n'),
    (['pynwb', 'lz4', 'cv2', 'ndx_miniscope'],
     'modules cv2, lz4, ndx_miniscope, pynwb are missing: {} -m pip install '
     'opencv-python-headless lz4 ndx-miniscope pynwb\n')])
def test_missing_libraries_are_named_at_once_with_the_cure(
        bag: Path, tmp_path: Path, missing: list[str], message: str) -> None:
    code = (f'import sys; sys.modules.update(dict.fromkeys({missing}))\n'
            'from miniscope_ros.commands.export_bag import main; sys.exit(main(sys.argv[1:]))')
    run = subprocess.run(
        [sys.executable, '-c', code, str(bag), str(tmp_path / 'out'), '--format', 'nwb'],
        capture_output=True, text=True, timeout=60)
    assert run.returncode == FAILED and 'Traceback' not in run.stderr
    assert run.stderr == 'export_bag: the Python ' + message.format(sys.executable)
    assert names(tmp_path) == ['bag']


def test_a_missing_matplotlib_costs_the_picture_only(bag: Path, tmp_path: Path) -> None:
    code = ('import sys; sys.modules["matplotlib"] = None; '
            'from miniscope_ros.commands.export_bag import main; sys.exit(main(sys.argv[1:]))')
    run = subprocess.run([sys.executable, '-c', code, str(bag), str(tmp_path / 'out')],
                         capture_output=True, text=True, timeout=60)
    assert run.returncode == DONE and 'no picture: it needs matplotlib' in run.stderr
    assert names(tmp_path / 'out') == [
        'export.json', 'metaData.json', 'miniscope', 'report.txt', 'userConfig.json']


@pytest.mark.parametrize('fault', [
    'import matplotlib.figure as m; m.Figure.subfigures = None',
    'import matplotlib.axes as m; m.Axes.legend = lambda *a, **k: 1 // 0',
    'import sys, types; sys.modules["matplotlib.figure"] = types.ModuleType("figure")'])
def test_no_fault_of_a_picture_costs_an_export(bag: Path, tmp_path: Path, fault: str) -> None:
    pytest.importorskip('matplotlib')
    code = (f'{fault}\nimport sys\n'
            'from miniscope_ros.commands.export_bag import main; sys.exit(main(sys.argv[1:]))')
    run = subprocess.run([sys.executable, '-c', code, str(bag), str(tmp_path / 'out')],
                         capture_output=True, text=True, timeout=60)
    assert run.returncode == DONE and 'no picture: ' in run.stderr
    assert names(tmp_path / 'out') == [
        'export.json', 'metaData.json', 'miniscope', 'report.txt', 'userConfig.json']


def test_the_picture_is_drawn_as_matplotlib_3_5_can(bag: Path, tmp_path: Path) -> None:
    pytest.importorskip('matplotlib')
    # What 3.6 added, by name: https://matplotlib.org/stable/users/prev_whats_new/whats_new_3.6.0
    code = ('import matplotlib.legend as m; whole = m.Legend.__init__\n'
            'def old(self, *given, **named):\n'
            '    assert "ncols" not in named\n'
            '    whole(self, *given, **named)\n'
            'm.Legend.__init__ = old\nimport sys\n'
            'from miniscope_ros.commands.export_bag import main; sys.exit(main(sys.argv[1:]))')
    run = subprocess.run([sys.executable, '-c', code, str(bag), str(tmp_path / 'out')],
                         capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (DONE, '')
    assert (tmp_path / 'out' / 'report.png').exists()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('formats', [['miniscope_daq'], ['nwb', 'miniscope_daq']])
def test_an_interrupted_export_leaves_nothing(
        tmp_path: Path, number: signal.Signals, formats: list[str]) -> None:
    if 'nwb' in formats:
        pytest.importorskip('pynwb')
        pytest.importorskip('ndx_miniscope')
    bag = write_bag(tmp_path / 'bag', Scope(size=(608, 608), frames=400))
    out = tmp_path / 'out'
    assert main([str(write_bag(tmp_path / 'old', Scope())), str(out)]) == DONE
    before = names(out)
    options = [word for name in formats for word in ('--format', name)]
    process = subprocess.Popen([*COMMAND, str(bag), str(out), '--force', *options],
                               stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not any(file.stat().st_size > 1 << 20 for file in tmp_path.glob('.out*/*/*.avi')):
            assert process.poll() is None and time.monotonic() < deadline
        assert names(out) == before
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == INTERRUPTED
    assert errors == 'export_bag: interrupted; nothing was exported\n'
    assert names(tmp_path) == ['bag', 'old', 'out'] and names(out) == before


def test_a_full_disk_is_no_success(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(size=(608, 608), frames=12))
    limit = 1 << 20  # OpenCV itself says nothing of what it could not write

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    run = subprocess.run([*COMMAND, str(bag), str(tmp_path / 'out')], capture_output=True,
                         text=True, timeout=60, preexec_fn=limit_files)
    assert run.returncode == FAILED
    assert 'is the disk full?' in run.stderr and 'Traceback' not in run.stderr
    assert names(tmp_path) == ['bag']


def test_the_report_tells_what_was_recorded(
        bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip('matplotlib')
    assert main([str(bag), str(tmp_path / 'out')]) == DONE
    text = (tmp_path / 'out' / 'report.txt').read_text()
    assert capsys.readouterr().out == text
    for line in ('frames        60', 'duration      0:00:03.1, from ', 'frames/s (set: 20)',
                 'measured rate 19.7', 'lost          2 of 62 (3.23 %)', 'longest 152.',
                 'at 0:00:01.5', 'controls      led 12.5, focus -5, gain 2, frame_rate 20; 1 ch',
                 'orientation   60 rows', '! 3.2 % of the frames were lost'):
        assert line in text
    picture = cv2.imread(str(tmp_path / 'out' / 'report.png'))
    assert picture.shape[1] == 1500 and picture.std() > 10


def test_check_reports_and_exports_nothing(
        bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    before = {path: path.read_bytes() for path in bag.iterdir()}
    assert main(['--check', str(bag)]) == NOT_GOOD  # frames are lost
    assert 'frames        60' in capsys.readouterr().out
    assert names(tmp_path / 'here') == ['bag_report.png']
    assert {path: path.read_bytes() for path in bag.iterdir()} == before
    (bag / 'metadata.yaml').unlink()
    assert main(['--check', str(bag)]) == NOT_GOOD
    (bag / 'bag_0.mcap').unlink()
    assert main(['--check', str(bag)]) == FAILED


def test_check_matches_the_export(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main(['--check', str(bag)])
    checked = capsys.readouterr().out
    main([str(bag), 'out'])
    assert capsys.readouterr().out == checked


def bytes_read() -> int:
    """Return how much this process has read from files."""
    return int(Path('/proc/self/io').read_text().split()[1])


@pytest.mark.parametrize('storage', [MCAP, SQLITE])
def test_describing_a_bag_does_not_read_the_images(tmp_path: Path, storage: StoragePlugin) -> None:
    path = write_bag(tmp_path / 'bag', Scope(size=(608, 608), frames=100), storage=storage)
    read_contents(Bag(path), lambda done: None)  # loads what is loaded once
    before = bytes_read()
    acquisition, = read_contents(Bag(path), lambda done: None)
    read = bytes_read() - before
    assert len(acquisition.images) == 100
    assert read < sum(file.stat().st_size for file in path.iterdir()) / 10


def peak_memory(bag: Path, out: Path, *options: str) -> int:
    """Return the largest resident size of an export [bytes]."""
    # Not from getrusage, which counts what the parent had before the exec.
    code = ('import sys; from miniscope_ros.commands.export_bag import main; '
            'status = main(sys.argv[1:]); '
            'print(open("/proc/self/status").read()); sys.exit(status)')
    run = subprocess.run([sys.executable, '-c', code, str(bag), str(out), *options],
                         capture_output=True, text=True, timeout=240, check=True)
    return 1024 * int(run.stdout.partition('VmHWM:')[2].split()[0])


@pytest.mark.parametrize('storage, compression', [
    (MCAP, CompressionMode.NONE), (MCAP, CompressionMode.STORAGE),
    (MCAP, CompressionMode.FILE), (SQLITE, CompressionMode.NONE)])
def test_memory_does_not_grow_with_the_bag(
        tmp_path: Path, storage: StoragePlugin, compression: CompressionMode) -> None:
    options = ['--codec', 'grey']
    if storage == MCAP and compression == CompressionMode.NONE:
        options += ['--format', 'miniscope_daq']
        if pynwb_is_there():
            options += ['--format', 'nwb']
    sizes = []
    for number, frames in enumerate((50, 450)):
        bag = write_bag(tmp_path / f'bag{number}', Scope(size=(608, 608), frames=frames),
                        storage=storage, compression=compression)
        sizes.append(peak_memory(bag, tmp_path / f'out{number}', *options))
    images = 400 * 608 * 608
    assert sizes[1] - sizes[0] < images / 10, sizes


def pynwb_is_there() -> bool:
    try:
        import ndx_miniscope  # noqa: F401
    except ImportError:
        return False
    return True


def test_a_bar_is_shown_on_a_terminal_only(bag: Path, tmp_path: Path) -> None:
    pytest.importorskip('tqdm')
    run = subprocess.run([*COMMAND, str(bag), str(tmp_path / 'out')], capture_output=True,
                         text=True, timeout=60)
    assert run.returncode == DONE and run.stderr == ''
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 100, 0, 0))
    process = subprocess.Popen([*COMMAND, str(bag), str(tmp_path / 'out2')], stderr=slave,
                               stdout=subprocess.DEVNULL)
    os.close(slave)
    shown = b''
    try:
        while part := os.read(master, 65536):
            shown += part
    except OSError:  # the terminal's other end was closed
        pass
    finally:
        os.close(master)
    assert process.wait(60) == DONE
    assert b'exporting: 100%' in shown and b'60/60' in shown
