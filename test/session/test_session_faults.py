# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Whatever happens to the recorder or the disk: told soon, dark, FAILED, exit status 1."""
from collections.abc import Callable, Iterator, Sequence
import contextlib
from dataclasses import dataclass
import json
from pathlib import Path
import random
import resource
import shutil
import signal
import subprocess
import sys
from threading import Event, Thread
import time

from listening import is_dark, Listener
from mcap.stream_reader import StreamReader
from miniscope_msgs.msg import RecordingStatus
from miniscope_ros.recordings import certificate
from node_process import NodeProcess, scope_node
import psutil
import pytest
from recording_sessions import messages, only_bag, RECORDERS, Session, SIMULATED, write_session
from small_disk import small_disk

PROMISED_S = 6.0
SPAWN = 4  # times that the machine needs to start a Python that imports rclpy, at the most

# Run Python without the right to write where its user may not, which root has.
MORTAL = """
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
SESSION_NODE = ('-m', 'miniscope_ros.commands.session_node')
# The same with a guard that waits for ever for a recorder that takes nothing.
PATIENT = ('-c', """
import math, sys
from miniscope_ros.commands.session_node import main
from miniscope_ros.session import guard
guard.PATIENCE_S = math.inf
main(sys.argv[1:])
""")


@contextlib.contextmanager
def recording(
    place: Path, *, recorder: str = 'builtin', environment: dict[str, str] | None = None,
    program: Sequence[str] = SESSION_NODE, **record: object,
) -> Iterator[tuple[Session, Listener]]:
    """Have a simulated scope recorded, and yield once frames are."""
    file = write_session(place, {'a': {}}, record={'recorder': recorder, **record})
    with scope_node({**SIMULATED, 'auto_start': False}, remap={'__node': 'a'}), \
            Listener('/a') as ear:
        node = NodeProcess(
            python=('-c', MORTAL, *program, str(file), '--start', '--once'),
            environment=environment)
        try:
            yield Session(node, ear), ear
        finally:
            if node.alive:
                node.kill()


def slowness() -> float:
    """Return how long this machine takes now for what every process here begins with [s]."""
    begin = time.monotonic()
    subprocess.run([sys.executable, '-c', 'import rclpy'], check=True)
    return time.monotonic() - begin


@dataclass
class Fault:
    """What is done to a recording, and what is said of it."""

    name: str
    act: Callable[[Session, Path], Callable[[], None]]  # returns what takes it back
    said: str
    bag_is_left: bool = True


def kill(session: Session, bag: Path) -> Callable[[], None]:
    session.recorder().kill()
    return lambda: None


def suspend(session: Session, bag: Path) -> Callable[[], None]:
    session.recorder().suspend()
    return lambda: None


def delete_folder(session: Session, bag: Path) -> Callable[[], None]:
    shutil.rmtree(bag)
    return lambda: None


def make_read_only(session: Session, bag: Path) -> Callable[[], None]:
    bag.chmod(0o500)
    return lambda: bag.chmod(0o700)


def starve(session: Session, bag: Path) -> Callable[[], None]:
    """Let the recorder run for a hundredth of the time."""
    recorder = session.recorder()
    over = Event()

    def hold() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            while not over.is_set():
                recorder.suspend()
                over.wait(1.0)
                recorder.resume()
                over.wait(0.01)

    thread = Thread(target=hold)
    thread.start()

    def relieve() -> None:
        over.set()
        thread.join()

    return relieve


FAULTS = [
    Fault('killed', kill, 'the recorder has died, exit code -9'),
    Fault('stopped', suspend, 'the recorder does not take what is published'),
    Fault('deleted', delete_folder, 'deleted', bag_is_left=False),
    Fault('read-only', make_read_only, 'read-only'),
    Fault('starved', starve, 'the recorder does not take what is published'),
]


def check_fault(fault: Fault, folder: Path, frames: int, recorder: str = 'builtin') -> None:
    """Let a fault befall a recording after so many frames, and look at what is said and left."""
    with recording(folder, recorder=recorder) as (session, ear):
        changes = ear.listen('control_changes')
        ear.wait_for(ear.listen('frame_info'), frames)
        bag = only_bag(folder / 'bags')
        slow = slowness()
        take_back = fault.act(session, bag)
        begin = time.monotonic()
        try:
            ear.wait_until(lambda: is_dark(changes), 'the light is dark')
        finally:
            took = time.monotonic() - begin
            take_back()
        assert took < PROMISED_S + SPAWN * slow
        assert session.node.wait() == 1
        status = session.wait_for(RecordingStatus.FAILED)
        assert fault.said in status.message
        assert fault.said in session.node.output
        assert ear.state == 'inactive'
    if fault.bag_is_left:
        assert certificate.read(bag)['verdict'] == 'failed'
        assert certificate.read(bag)['topics']['/a/frame_info']['recorded'] > 0
        assert any(fault.said in problem for problem in certificate.verify(bag))
    else:
        assert not bag.exists()


@pytest.mark.parametrize('recorder', RECORDERS)
@pytest.mark.parametrize('fault', FAULTS, ids=lambda fault: fault.name)
def test_a_recorder_that_fails_is_told_soon_and_the_light_goes_dark(
        fault: Fault, recorder: str, tmp_path: Path) -> None:
    check_fault(fault, tmp_path, 20, recorder)


@pytest.mark.soak
@pytest.mark.parametrize('seed', range(80))
def test_whenever_a_recorder_fails_it_is_told(seed: int, tmp_path: Path) -> None:
    check_fault(FAULTS[seed % len(FAULTS)], tmp_path, random.Random(seed).randrange(20, 250))


@pytest.mark.parametrize('megabytes', [
    12, 25, *(pytest.param(random.Random(seed).randrange(50, 201), marks=pytest.mark.soak, id=str(
        seed)) for seed in range(20))])
def test_a_disk_that_fills_up_is_told_and_what_fitted_can_be_read(
        megabytes: int, tmp_path: Path) -> None:
    with small_disk(tmp_path / 'disk', megabytes) as disk:
        with recording(tmp_path, folder=str(disk / 'bag')) as (session, ear):
            changes = ear.listen('control_changes')
            assert session.node.wait() == 1
            assert 'No space left on device' in session.wait_for(RecordingStatus.FAILED).message
            assert is_dark(changes)
        recorded = messages(disk / 'bag')
        indexes = [info.frame_index for info in recorded['/a/frame_info']]
        assert len(indexes) > 0.5 * megabytes * 1e6 / 608 ** 2
        assert indexes == list(range(len(indexes)))
        assert len(recorded['/a/image_raw']) - len(indexes) in (0, 1)


def test_a_disk_that_is_nearly_full_ends_the_recording_in_order(tmp_path: Path) -> None:
    with small_disk(tmp_path / 'disk', 60) as disk:
        with recording(tmp_path, folder=str(disk / 'bag'), min_free_gb=0.05,
                       stop_free_gb=0.03) as (session, ear):
            assert session.node.wait() == 0
            status = session.wait_for(RecordingStatus.IDLE)
            assert 'GB are free, and stop_free_gb is 0.03' in status.message
            told = [status for status in session.statuses
                    if status.state == RecordingStatus.RECORDING and status.bytes_per_s > 0]
            assert told[-1].seconds_left < 30
        assert certificate.verify(disk / 'bag') == []


def test_a_disk_with_too_little_room_is_refused(tmp_path: Path) -> None:
    with recording(tmp_path, min_free_gb=1e6) as (session, ear):
        assert session.node.wait() == 1
        assert 'min_free_gb is 1e+06: delete something' in session.node.output
        assert ear.state == 'unconfigured'
    assert not (tmp_path / 'bags').exists()


def test_a_limit_of_the_file_size_is_a_write_error(tmp_path: Path) -> None:
    """The same on computers where nothing can be mounted: EFBIG in place of ENOSPC."""
    limit = 8_000_000
    program = f"""
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from miniscope_ros.session.builtin_recorder import main
main(sys.argv[1:])
"""
    bag = tmp_path / 'bag'
    with scope_node(SIMULATED, remap={'__node': 'a'}):
        result = subprocess.run(
            [sys.executable, '-c', program, '--output', str(bag), '/a/image_raw', '/a/frame_info'],
            capture_output=True, text=True, timeout=60)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != limit
    assert result.returncode == 1
    assert 'the disk does not take the recording: [Errno 27] File too large' in result.stderr
    recorded = messages(bag)
    indexes = [info.frame_index for info in recorded['/a/frame_info']]
    assert indexes == list(range(indexes[0], indexes[0] + len(indexes)))
    assert len(recorded['/a/image_raw']) >= 0.7 * limit / 608 ** 2
    # The library that the format comes with reads it to its end, too.
    with (bag / 'bag_0.mcap').open('rb') as file:
        kinds = [type(record).__name__ for record in StreamReader(file).records]
    assert kinds[-1] == 'Footer'


def test_what_finds_no_room_in_the_queue_is_counted_as_lost(tmp_path: Path) -> None:
    with scope_node(SIMULATED, remap={'__node': 'a'}):
        process = subprocess.Popen(
            [sys.executable, '-m', 'miniscope_ros.session.builtin_recorder', '--output',
             str(tmp_path / 'bag'), '--queue-mb', '0.1', '/a/image_raw', '/a/frame_info'],
            stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        books = next(books for books in map(json.loads, process.stdout)
                     if books['lost'].get('/a/image_raw') and books['recorded'])
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 0
    # What is small finds room, and an image never does.
    assert '/a/image_raw' not in books['recorded']
    assert books['recorded']['/a/frame_info'] > 0
    assert '/a/frame_info' not in books['lost']


def test_lost_frames_make_the_recording_fail(tmp_path: Path) -> None:
    """
    The recorder is held until frames are missing, no more.

    A busy scope needs longer than the guard's patience to publish so many frames.
    """
    with recording(tmp_path, program=PATIENT) as (session, ear):
        infos = ear.wait_for(ear.listen('frame_info'), 20)
        recorder = session.recorder()
        # A publisher keeps the last 10 for a subscriber that it has to wait for.
        recorder.suspend()
        ear.wait_for(infos, len(infos) + 110)
        recorder.resume()
        ear.wait_until(lambda: any('MESSAGES ARE BEING LOST' in status.message
                                   for status in session.statuses), 'the loss is told')
        assert not session.stop().success
        assert session.node.wait() == 1
        status = session.wait_for(RecordingStatus.FAILED)
        assert 'messages were lost on their way to the disk' in status.message
    bag = only_bag(tmp_path / 'bags')
    content = certificate.read(bag)
    assert content['verdict'] == 'failed'
    image, info = (content['topics'][f'/a/{topic}'] for topic in ('image_raw', 'frame_info'))
    assert 0 < image['lost'] == image['published'] - image['recorded']
    assert 0 < info['lost'] == info['published'] - info['recorded']
    # The bag's own numbers show the gap that was told.
    run, = info['runs']
    assert run[1] - run[0] + 1 - run[2] == info['lost']
    assert any('MESSAGES ARE BEING LOST' in text for text in content['warnings'])
