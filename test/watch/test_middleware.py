# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The start of the middleware: large images get through, and one that hangs is ended."""
from collections.abc import Iterator
import contextlib
import itertools
import os
from pathlib import Path
from typing import Any

from broken_shared_memory import leave_half_made
from domain_coordinator import domain_id
from miniscope_ros.watch.middleware import remove_half_made_ports
from node_process import NodeProcess
import psutil
import pytest

SIMULATED = {'source': 'simulated', 'auto_start': False}
PROGRAMS = ('scope_node', 'session', 'panel')  # as they name themselves
VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
FIRST_PORT, PER_DOMAIN = 7400, 250  # of RTPS
PROGRAM = (  # without the arguments of ROS, which every process of ours gets here
    'import sys; from miniscope_ros.{} import main; '
    "main(sys.argv[1:sys.argv.index('--ros-args')])")
OFFSETS = (0, 10, 11)  # multicast, and the first participant's own two


@contextlib.contextmanager
def half_made_port() -> Iterator[int]:
    """Yield a domain in which a program died while it made the ports of a first participant."""
    numbers = itertools.count(os.getpid() + 50)
    with domain_id(lambda: next(numbers) % 100 + 1) as domain:
        files = [
            Path('/dev/shm', f'{name}_port{FIRST_PORT + PER_DOMAIN * domain + offset}')
            for offset in OFFSETS for name in ('fastrtps', 'fastdds')]  # of Fast DDS 2 and 3
        for file in files:
            leave_half_made(file, begun=True)
        try:
            yield domain
        finally:
            for file in files:
                file.unlink(missing_ok=True)


def started(program: str, folder: Path, *ros: str, **options: Any) -> NodeProcess:
    """Start one of the programs that speak ROS, with arguments for ROS."""
    if program == 'scope_node':
        return NodeProcess(SIMULATED, arguments=['--ros-args', *ros], **options)
    file = folder / 'session.yaml'
    file.write_text('scopes: [{name: a}]')
    given = {'session': ('session_node', str(file)), 'panel': ('panel', '--port', '0')}
    module, *rest = given[program]
    return NodeProcess(python=('-m', f'miniscope_ros.commands.{module}', *rest),
                       arguments=['--ros-args', *ros], **options)


@pytest.mark.parametrize('program', PROGRAMS)
def test_what_ros_refuses_is_one_line_without_its_own_files(program: str, tmp_path: Path) -> None:
    node = started(program, tmp_path, '-r', '__node:=a b')
    assert node.wait() == 1
    line, = node.said(f'^{program}: ')
    assert '__node:=a b' in line and '.c:' not in line
    assert 'Traceback' not in node.output


@pytest.mark.skipif(
    'fastrtps' not in os.environ.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp'),
    reason='only Fast DDS has such files')
def test_a_half_made_port_ends_each_program_with_the_cure(tmp_path: Path) -> None:
    programs = {}
    with contextlib.ExitStack() as domains:
        for name, (given, python) in {
                'record_x': ({}, ('commands.record_scope', '/x', str(tmp_path / 'one'),
                                  '--min-free-gb=0', '--stop-free-gb=0')),
                'recorder': ({}, ('session.builtin_recorder', '--output', str(tmp_path / 'two'),
                                  '/x/image_raw')),
                'panel': ({}, ('commands.panel', '--port', '0')),
                'scope_node': (SIMULATED, ())}.items():
            # In one domain, some would take each other's locks away.
            domain = domains.enter_context(half_made_port())
            command = {'python': ('-c', PROGRAM.format(python[0]), *python[1:])} if python else {}
            programs[name] = NodeProcess(
                given, environment={'ROS_DOMAIN_ID': str(domain)}, **command)
        statuses = {name: program.wait() for name, program in programs.items()}
    assert statuses == dict.fromkeys(programs, 1), [one.output for one in programs.values()]
    for name, program in programs.items():
        line, = program.said(f'{name}: the middleware has not started within 10 s')
        assert 'delete /dev/shm/fast*' in line
    assert len(programs['scope_node'].lines) == 1


def test_only_ports_that_nobody_will_finish_are_removed(
        monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count(os.getpid() + 50)
    with domain_id(lambda: next(numbers) % 100 + 1) as domain:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
        first = FIRST_PORT + PER_DOMAIN * domain
        old, young, made, other = (
            Path('/dev/shm', f'fastrtps_port{first + offset}') for offset in (100, 102, 104, 400))
        try:
            for file in old, made, other:
                leave_half_made(file)
                file.write_bytes(b'x' * (file == made))
                os.utime(file, (0, 0))
            leave_half_made(young, begun=True)
            remove_half_made_ports()
            assert [file.exists() for file in (old, young, made, other)] == [False] + 3 * [True]
        finally:
            for file in old, young, made, other:
                file.unlink(missing_ok=True)


@pytest.mark.parametrize(('distribution', 'given', 'expected'), [
    ('jazzy', {}, [True, False]), ('humble', {}, [True, False]), ('kilted', {}, [False, True]),
    ('jazzy', {VARIABLES[1]: '/own.xml'}, [True, '/own.xml']),
    ('jazzy', {VARIABLES[0]: '/own.xml'}, ['/own.xml', False])])
def test_the_profile_is_loaded_where_the_user_has_none(
        monkeypatch: pytest.MonkeyPatch, distribution: str, given: dict[str, str],
        expected: list[bool | str]) -> None:
    from miniscope_ros.watch.middleware import load_profile
    for variable in VARIABLES:
        monkeypatch.setenv(variable, '')  # put back afterwards
        monkeypatch.delenv(variable)
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv('ROS_DISTRO', distribution)
    load_profile()
    for variable, wanted in zip(VARIABLES, expected, strict=True):
        found = os.environ.get(variable)
        if isinstance(wanted, str):
            assert found == wanted
        elif wanted:
            assert found is not None and Path(found).name == 'fastdds.xml'
            assert Path(found).is_file()
        else:
            assert found is None


def test_a_node_by_itself_has_room_for_large_images(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    node = NodeProcess({**SIMULATED, 'auto_start': True})
    try:
        node.wait_for_output('configured')
        segments = [
            os.stat(area.path).st_size for area in psutil.Process(node.pid).memory_maps()
            if area.path.startswith('/dev/shm/') and os.path.exists(area.path)]
        # Of Fast DDS's own it would be half a megabyte.
        assert max(segments) >= 64 << 20
    finally:
        assert node.stop() == 0
