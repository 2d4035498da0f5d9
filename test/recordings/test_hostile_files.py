# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Pipes, devices, endless files and bombs are refused, or end when the program is to end."""
from collections.abc import Callable
import itertools
import os
from pathlib import Path
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

from miniscope_ros.commands.export_bag import DONE, FAILED, main, PARTLY
from miniscope_ros.errors import DeviceError, Interrupted
from miniscope_ros.model import Reason
from miniscope_ros.recordings.bag.zstd import zstd
from miniscope_ros.recordings.formats import open_recording
from miniscope_ros.sources.background import interruptibly
from miniscope_ros.sources.replay import ReplaySource
import pytest
from recorded_bag import MCAP, Scope, SQLITE, write_bag
from recording_folders import scenes, write_miniscope_daq, write_pomidaq, write_syntalos
from rosbags.rosbag2 import CompressionMode

LIMIT = 1 << 30  # bytes that reading may take


def opened_within_limit(path: Path) -> str:
    """Open a recording in a process of its own; return how it ended, and its peak memory."""
    code = ('import sys; from miniscope_ros.recordings.formats import open_recording\n'
            'try:\n    count = sum(1 for _ in open_recording(sys.argv[1]).frames())\n'
            'except Exception as error:\n    print(type(error).__name__, error)\n'
            'else:\n    print(count, "frames")\n'
            'print(open("/proc/self/status").read())')
    run = subprocess.run([sys.executable, '-c', code, str(path)], capture_output=True, text=True,
                         timeout=200, check=True)
    assert 1024 * int(run.stdout.partition('VmHWM:')[2].split()[0]) < LIMIT
    return run.stdout.splitlines()[0]


@pytest.mark.parametrize('kind', ['pipe', 'zeros', 'hole', 'socket'])
@pytest.mark.parametrize('name', ['timeStamps.csv', 'headOrientation.csv', 'metaData.json',
                                  '0.avi'])
def test_what_is_no_file_is_not_read(tmp_path: Path, name: str, kind: str) -> None:
    rows = [[0, 1, 0, 0, 0], [50, 1, 0, 0, 0]]
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(4), [0, 50, 100, 150], per_file=2,
                                 rows=rows)
    replace(folder / name, kind)
    said = opened_within_limit(folder)
    if name == 'timeStamps.csv':
        assert said.startswith('DeviceError') and str(folder / name) in said
    else:
        assert said == ('2 frames' if name == '0.avi' else '4 frames')


def replace(path: Path, kind: str) -> None:
    """Put something else in the place of a file."""
    path.unlink(missing_ok=True)
    if kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'zeros':
        path.symlink_to('/dev/zero')
    elif kind == 'hole':
        with path.open('wb') as file:
            file.truncate(1 << 40)
    else:
        import socket
        with socket.socket(socket.AF_UNIX) as server, tempfile.TemporaryDirectory() as short:
            server.bind(f'{short}/s')
            Path(short, 's').rename(path)


@pytest.mark.parametrize('name', ['scope_0.tsync', 'scope_0.mkv', 'manifest.toml',
                                  'attributes.toml'])
@pytest.mark.parametrize('kind', ['pipe', 'zeros'])
def test_no_file_of_a_syntalos_recording_is_waited_for(
        tmp_path: Path, name: str, kind: str) -> None:
    root = write_syntalos(tmp_path / 'run', [scenes(2)], [[0, 50_000]])
    replace(root / 'videos' / 'miniscope' / name, kind)
    assert opened_within_limit(root).startswith(('DeviceError', '2 frames'))


@pytest.mark.parametrize('kind', ['pipe', 'zeros'])
def test_a_bag_that_is_no_file_is_not_waited_for(
        tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(frames=4))
    replace(bag / 'bag_1.mcap', kind)
    assert main([str(bag), str(tmp_path / 'out')]) == PARTLY
    assert 'bag_1.mcap: cannot be read: it is a' in capsys.readouterr().err
    replace(bag / 'bag_0.mcap', kind)
    replace(bag / 'metadata.yaml', kind)
    assert main([str(bag), str(tmp_path / 'out2')]) == FAILED
    with pytest.raises(DeviceError, match='bag_0.mcap: cannot be read: it is a'):
        open_recording(str(bag))


def long_line(path: Path) -> None:
    with path.open('ab') as file:
        file.write(b'1,' * (1 << 22))


def many_rows(path: Path) -> None:
    path.write_text('Frame Number,Time Stamp (ms),Buffer Index\n' + '0,50,0\n' * 2_000_000)


@pytest.mark.parametrize('fault, said', [
    (long_line, 'DeviceError .*is no table: a line has'), (many_rows, '4 frames')])
def test_tables_take_bounded_memory(
        tmp_path: Path, fault: Callable[[Path], None], said: str) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(4), [0, 50, 100, 150])
    fault(folder / 'timeStamps.csv')
    assert re.match(said, opened_within_limit(folder))


def test_a_video_that_says_it_is_enormous_is_refused(tmp_path: Path) -> None:
    folder = write_miniscope_daq(tmp_path / 'scope', scenes(2), [0, 50], codec='MJPG')
    data = bytearray((folder / '0.avi').read_bytes())
    place = data.index(b'strf') + 12  # width and height of the stream
    data[place:place + 8] = (60_000).to_bytes(4, 'little') * 2
    place = data.index(b'avih') + 40
    data[place:place + 8] = (60_000).to_bytes(4, 'little') * 2
    (folder / '0.avi').write_bytes(data)
    assert opened_within_limit(folder).startswith(('DeviceError', '2 frames'))


@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_bombs_cost_themselves(tmp_path: Path, mode: CompressionMode) -> None:
    storage = MCAP if mode is CompressionMode.FILE else SQLITE
    bag = write_bag(tmp_path / 'bag', Scope(frames=4), compression=mode, storage=storage)
    if mode is CompressionMode.FILE:
        file, = bag.glob('*.zstd')
        packer = zstd.ZstdCompressor()
        with file.open('wb') as stream:
            stream.write(packer.compress(b'\x89MCAP0\r\n\x7f' + (1 << 31).to_bytes(8, 'little')))
            for _ in range(2048):
                stream.write(packer.compress(bytes(1 << 20)))
            stream.write(packer.flush())
    else:
        file, = bag.glob('*.db3')
        with sqlite3.connect(file) as connection:
            row, data = connection.execute(
                'SELECT messages.id, data FROM messages JOIN topics ON topics.id = topic_id '
                "WHERE name LIKE '%/image_raw'").fetchall()[2]
            bomb = zstd.compress(zstd.decompress(data) + bytes(1 << 30))
            assert len(bomb) < 1 << 20
            connection.execute('UPDATE messages SET data = ? WHERE id = ?', (bomb, row))
    said = opened_within_limit(bag)
    assert said.startswith('DeviceError') if mode is CompressionMode.FILE else said == '3 frames'


# The end of the program

def test_opening_gives_up_when_the_program_is_to_end() -> None:
    stop, go_on = threading.Event(), threading.Event()
    threading.Timer(0.1, stop.set).start()
    begin = time.monotonic()
    with pytest.raises(Interrupted):
        interruptibly(lambda: go_on.wait(60), stop)
    assert time.monotonic() - begin < 30
    go_on.set()
    assert interruptibly(lambda: 7, threading.Event()) == 7
    with pytest.raises(ZeroDivisionError):
        interruptibly(lambda: 1 // 0, threading.Event())


def test_what_is_given_up_takes_no_more_of_the_interpreter() -> None:
    stop = threading.Event()
    workers: list[threading.Thread] = []

    def work() -> None:
        workers.append(threading.current_thread())
        for _ in itertools.count():
            stop.set()

    with pytest.raises(Interrupted):
        interruptibly(work, stop)
    workers[0].join(60)
    assert not workers[0].is_alive()


def test_a_source_gives_up_opening_and_reading(tmp_path: Path) -> None:
    write_pomidaq(tmp_path, 'mouse', scenes(3), [0, 50, 3_000_000])
    stop = threading.Event()
    source = ReplaySource(str(tmp_path), rate=1.0, loop=False, stamps='now', stop=stop)
    source.open(Reason.START)
    source.activate(Reason.START)
    assert source.read(20.0) is not None
    stop.set()
    with pytest.raises(Interrupted):
        source.read(20.0)
    source.close()
    with pytest.raises(Interrupted):
        source.open(Reason.START)


def test_recordings_beside_hostile_ones_are_exported(tmp_path: Path) -> None:
    assert main([str(write_bag(tmp_path / 'bag', Scope(frames=3))), str(tmp_path / 'out')]) == DONE
    with pytest.raises(DeviceError):
        open_recording('/dev/zero')
