# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The command `panel`: help, refusals, and its end."""
from pathlib import Path
import signal
import subprocess
import sys

from node_process import PATIENCE
from panel_process import ENTRY_POINT, panel
import pytest


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, '-c', ENTRY_POINT, *arguments], capture_output=True, text=True,
        timeout=PATIENCE)


def test_help_needs_nothing() -> None:
    result = command('--help')
    assert result.returncode == 0
    for word in ('--host', '--port', 'token', '8642'):
        assert word in result.stdout


@pytest.mark.parametrize('arguments', [
    ['--nonsense'], ['nonsense'], ['--port', 'x'], ['--port', '70000'], ['--port', '-1']])
def test_unknown_arguments_are_refused(arguments: list[str]) -> None:
    result = command(*arguments)
    assert result.returncode == 2
    assert 'usage: panel' in result.stderr


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with panel(tmp_path) as served:
        served.process.send_signal(number)
        assert served.process.wait() == 0
        assert 'Traceback' not in served.process.output


def test_first_line_is_the_address(tmp_path: Path) -> None:
    with panel(tmp_path) as served:
        assert served.process.lines[0] == f'Panel: http://127.0.0.1:{served.port}/'


def test_port_that_is_taken(tmp_path: Path) -> None:
    with panel(tmp_path) as served:
        result = command('--port', str(served.port))
        assert result.returncode == 1
        assert f'cannot serve at port {served.port}' in result.stderr
        assert 'Traceback' not in result.stderr


def test_host_asks_for_a_token(tmp_path: Path) -> None:
    with panel(tmp_path, '--host', '0.0.0.0') as served:
        assert '?token=' in served.process.lines[0]
