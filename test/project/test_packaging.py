# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The commands that build and test from a checkout, where they are most easily broken."""
from collections.abc import Callable, Iterator
import contextlib
import fcntl
import os
from pathlib import Path
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0  # [s], far more than anything here takes


def colcon_test(results: Path, expression: str) -> tuple[int, int]:
    """Run `colcon test` with the tests of that name; return its status and how many ran."""
    if shutil.which('colcon') is None:
        pytest.skip('no colcon')
    status = subprocess.call(
        ['colcon', '--log-base', results, 'test', '--test-result-base', results,
         '--pytest-args', '-k', expression],
        cwd=ROOT, timeout=PATIENCE)
    cases = [case for file in results.rglob('*.xml')
             for case in ElementTree.parse(file).iter('testcase')]
    return status, sum(case.find('skipped') is None for case in cases)


def test_colcon_runs_the_tests(tmp_path: Path) -> None:
    assert colcon_test(tmp_path, 'copyright_and_licence') == (0, 1)


def test_colcon_fails_without_a_test(tmp_path: Path) -> None:
    status, ran = colcon_test(tmp_path, 'no_test_has_this_name')
    assert status != 0 and ran == 0


def bootstrap(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the bootstrap of a checkout outside a ROS 2, where only wheels can help."""
    variables = {name: value for name, value in os.environ.items()
                 if name not in ('ROS_DISTRO', 'PYTHONPATH')}
    return subprocess.run(
        [sys.executable, checkout / 'tools' / 'bootstrap.py', 'run'],
        env={**variables, **environment}, timeout=PATIENCE, capture_output=True, text=True)


def test_missing_tools_are_named(tmp_path: Path) -> None:
    result = bootstrap(ROOT, PATH=str(tmp_path))
    assert result.returncode == 1
    for tool in ('g++', 'cmake', 'make'):
        assert f'sudo apt install {tool}\n' in result.stderr


def test_interrupted_installation_is_not_used(tmp_path: Path) -> None:
    shutil.copytree(ROOT / 'tools', tmp_path / 'tools')
    leftover = tmp_path / '.env' / 'bin' / 'python3'
    leftover.parent.mkdir(parents=True)
    leftover.write_text('half written')
    # Without a package index the second attempt cannot succeed either: it must say so.
    result = bootstrap(tmp_path, PIP_NO_INDEX='1', PIP_FIND_LINKS=str(tmp_path))
    assert result.returncode == 1
    assert 'failed with status' in result.stderr
    for word in ('pip download -d wheels', '-r tools/ros.txt', 'PIP_FIND_LINKS='):
        assert word in result.stderr, 'the way without a network is named'
    assert not leftover.exists() or leftover.read_bytes() != b'half written'
    assert not (tmp_path / '.env' / 'complete').exists()


def run_tool(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run what `make run` runs after the bootstrap, to its end."""
    return subprocess.run(
        [sys.executable, ROOT / 'tools' / 'run.py', *arguments],
        env={**os.environ, **environment}, timeout=PATIENCE, capture_output=True, text=True)


@pytest.mark.parametrize('arguments', [
    ['led=3'], ['--nonsense'], ['nonsense'], ['--session', '/nowhere.yaml'],
    ['led:=3', '--session', 'setup.cfg']])
def test_make_run_refuses_what_it_does_not_know(arguments: list[str]) -> None:
    result = run_tool(*arguments)
    assert result.returncode == 2
    assert 'usage: make run' in result.stderr


@contextlib.contextmanager
def running(*arguments: str | Path, **streams: int) -> Iterator['subprocess.Popen[bytes]']:
    """Start what `make run` runs after the bootstrap; a test that fails does not wait for it."""
    with subprocess.Popen(
            [sys.executable, ROOT / 'tools' / 'run.py', *arguments], start_new_session=True,
            **streams) as process:
        try:
            yield process
        except BaseException:
            process.kill()  # its programs end with it
            raise


def read_and_interrupt(
        process: 'subprocess.Popen[bytes]', source: int, shows: Callable[[str], bool]) -> str:
    """Return all that a process writes; press Ctrl-C once that shows what it has to."""
    text, pressed = '', False
    deadline = time.monotonic() + PATIENCE
    while select.select([source], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            piece = os.read(source, 65536)
        except OSError:  # a terminal whose other end is closed
            piece = b''
        if not piece:
            assert pressed, text
            return text
        text += piece.decode(errors='replace')
        if not pressed and shows(text):
            pressed = True
            process.send_signal(signal.SIGINT)
    raise AssertionError(f'it writes nothing more, and does not end: {text}')


def test_make_run_starts_scope_and_panel() -> None:
    state = re.compile(r'frame \d+, .*/s, .* lost, led 33, orientation')
    with running('led:=33', stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        text = read_and_interrupt(
            process, process.stdout.fileno(), lambda text: state.search(text) is not None)
        assert process.wait(PATIENCE) == 0, text
    assert re.match(r'Panel: http://127.0.0.1:\d+/\n', text), 'the address comes first'
    assert 'ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST' in text and 'setup.bash' in text
    assert 'scope 0, panel 0' in text, text


def test_make_run_ends_where_the_scope_cannot_start() -> None:
    result = run_tool('led:=500')
    assert result.returncode == 1
    assert 'led cannot be' in result.stdout


def test_make_run_with_a_session_of_two_scopes_on_a_narrow_terminal(tmp_path: Path) -> None:
    file = tmp_path / 'session.yaml'
    file.write_text(yaml.safe_dump({
        'record': {'folder': str(tmp_path / '{time}')},
        'scopes': [{'name': name, 'parameters': {'source': 'simulated', 'led': led}}
                   for name, led in (('left', 3.0), ('right', 4.0))]}))
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    states = [re.compile(rf'/{name}: frame \d+, .*, led {led}, orientation')
              for name, led in (('left', 3), ('right', 4))]
    with running('--session', file, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        text = read_and_interrupt(
            process, ours, lambda text: all(state.search(text) for state in states))
        os.close(ours)
        assert process.wait(PATIENCE) == 0, text
    assert re.search(r'Ended, with exit status: session 0, panel 0\.\s*$', text), (
        'the end is the last line, and no state is shown that is over')


def test_make_run_ends_where_the_session_file_is_broken(tmp_path: Path) -> None:
    file = tmp_path / 'session.yaml'
    file.write_text('scopes:\n- name: a\n  bogus: 1\n')
    result = run_tool('--session', str(file))
    assert result.returncode == 1
    assert 'scopes[0].bogus: is unknown; there are name' in result.stdout
