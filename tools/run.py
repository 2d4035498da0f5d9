# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Start a scope, what records it and the panel, and show in one line what arrives of them.

Usage: run.py [NAME:=VALUE ..] | run.py --session FILE

The values are parameters of the scope; without a source it is a simulated one. A session file
starts all that it names. Ctrl-C ends everything in order: recording, scopes, panel.
"""
import argparse
from collections.abc import Callable
import contextlib
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import threading

ROOT = Path(__file__).resolve().parent.parent
PORT = 8642
PERIOD_S = 1.0  # between two states of the line
PLAIN_PERIOD_S = 10.0  # the same where the output is no terminal
START_S = 30.0
END_S = {'session': 180.0, 'scope': 15.0, 'panel': 10.0}  # the recorder may have much to write
SIMULATED = ['source:=simulated', 'led:=20.0']
PARAMETER = re.compile(r'[A-Za-z_][\w.]*:=')
RANGE = 'ROS_AUTOMATIC_DISCOVERY_RANGE'
TOPICS = ('image_raw', 'image_raw/metadata', 'camera_info', 'frame_info', 'imu/data',
          'imu/metadata', 'orientation_rows', 'orientation_rows/metadata', 'controls',
          'control_changes', 'digital_inputs')
"""What the README says to record, besides /diagnostics."""


class Terminal:
    """Lines of several programs, and below them one that rewrites itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rewrites = sys.stdout.isatty()
        self._status = ''
        self._turn = 0

    def say(self, text: str) -> None:
        """Print a line above the status."""
        with self._lock:
            if self._rewrites:
                sys.stdout.write('\r\x1b[K')
            sys.stdout.write(f'{text}\n{self._status}')
            sys.stdout.flush()

    def show(self, statuses: list[str]) -> None:
        """Show how things are in place of what was shown before; in turn where they do not fit."""
        status = ' | '.join(statuses)
        with self._lock:
            if self._rewrites:
                width = shutil.get_terminal_size().columns - 1
                if len(status) > width:
                    self._turn += 1
                    status = statuses[self._turn % len(statuses)]
                self._status = status[:width]
                sys.stdout.write(f'\r\x1b[K{self._status}')
            else:
                sys.stdout.write(f'{status}\n')
            sys.stdout.flush()

    def end_status(self) -> None:
        """Take the status away: it is true no more."""
        with self._lock:
            if self._rewrites:
                sys.stdout.write('\r\x1b[K')
                sys.stdout.flush()
            self._status = ''

    @property
    def period(self) -> float:
        """Seconds between two states."""
        return PERIOD_S if self._rewrites else PLAIN_PERIOD_S


class Program:
    """A program of ours; its output goes to the terminal line by line."""

    def __init__(self, name: str, command: list[str], terminal: Terminal) -> None:
        self.name = name
        # Killed, this program would leave the others running and the light on.
        setpriv = ['setpriv', '--pdeathsig', 'INT'] if shutil.which('setpriv') else []
        # Ctrl-C goes to this program alone, which ends the others one after the other.
        self._process = subprocess.Popen(
            [*setpriv, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors='replace', start_new_session=True)
        self._terminal = terminal
        self._first: str | None = None
        self._heard = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.rstrip()
            if self._first is None:
                self._first = text
                self._heard.set()
            self._terminal.say(text)
        self._heard.set()

    def wait_for_line(self) -> str:
        """Return its first line; empty if it ended without one."""
        self._heard.wait(START_S)
        return self._first or ''

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def end(self) -> int:
        """Have it end in order; return its exit status."""
        if self.status is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(END_S[self.name])
        except subprocess.TimeoutExpired:
            self._terminal.say(f'{self.name} does not end and is killed. THE LIGHT MAY BE ON.')
            self._process.kill()
            return self._process.wait()


def options() -> argparse.Namespace:
    """Return what was asked for; end with status 2 where that is unknown."""
    parser = argparse.ArgumentParser(
        prog='make run', usage="make run [ARGS='NAME:=VALUE ..'] [SESSION=FILE]",
        description='Starts a scope and the panel. The values are parameters of the scope, as '
        'source:=daq led:=15; `ros2 param describe` or the panel says what they mean.')
    parser.add_argument('values', nargs='*', metavar='NAME:=VALUE')
    parser.add_argument('--session', metavar='FILE', type=Path, help='starts what it names')
    given = parser.parse_args()
    for value in given.values:
        if not PARAMETER.match(value):
            parser.error(f'{value} is not of the form NAME:=VALUE, as led:=15')
    if given.session and given.values:
        parser.error('parameters stand in the session file: give ARGS or SESSION, not both')
    if given.session and not given.session.is_file():
        parser.error(f'there is no session file {given.session}')
    return given


def executable(name: str) -> list[str]:
    """Return the command of an executable of the package; empty where it is not built."""
    from ament_index_python.packages import get_package_prefix
    path = Path(get_package_prefix('miniscope_ros'), 'lib', 'miniscope_ros', name)
    return [sys.executable, str(path)] if path.exists() else []


def start_panel(terminal: Terminal) -> Program:
    """Start the panel and return it once it has printed its address; end without one."""
    for port in (PORT, 0):  # another panel may have the usual one
        quiet = Quiet()
        panel = Program('panel', [*executable('panel'), '--port', str(port)],
                        terminal if port == 0 else quiet)
        if panel.wait_for_line().startswith('Panel: '):
            quiet.pass_on(terminal)
            return panel
    sys.exit('The panel cannot be started, see above.')


class Quiet(Terminal):
    """Keeps lines to itself until it is known whether they matter."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[str] = []
        self._target: Terminal | None = None

    def say(self, text: str) -> None:
        """Keep a line, or pass it on."""
        with self._lock:
            if self._target is None:
                self._kept.append(text)
                return
        self._target.say(text)

    def pass_on(self, target: Terminal) -> None:
        """Give all lines to a terminal, from now on at once."""
        with self._lock:
            self._target, kept = target, self._kept
        for line in kept:
            target.say(line)


def start(given: argparse.Namespace, terminal: Terminal) -> list[Program]:
    """Start what was asked for, in the order in which it is to end."""
    session = executable('session_node')
    if given.session:
        if not session:
            sys.exit('There is no session_node in this version: give ARGS instead of SESSION.')
        return [Program('session', [*session, '--programs', str(given.session)], terminal)]
    values = given.values
    if not any(value.startswith('source:=') for value in values):
        names = {value.partition(':=')[0] for value in values}
        values = [*(value for value in SIMULATED if value.partition(':=')[0] not in names),
                  *values]
    parameters = [word for value in values for word in ('-p', value)]
    programs = []
    if session:
        programs.append(Program('session', [*session, str(session_file())], terminal))
    programs.append(Program(
        'scope', [*executable('scope_node'), '--ros-args', *parameters], terminal))
    return programs


def session_file() -> Path:
    """Write the session file of a scope alone, and return where it is."""
    path = ROOT / 'build' / 'run_session.yaml'
    path.parent.mkdir(exist_ok=True)
    folder = ROOT / 'recordings' / '{date}_{time}'
    path.write_text(
        f"scopes:\n- name: miniscope\nrecord:\n  folder: '{folder}'\n")
    return path


def hints() -> str:
    """Return what else can be done, from another terminal."""
    distribution = os.environ.get('ROS_DISTRO', 'jazzy')
    command = 'ros2 bag record -s mcap -o my_recording --topics /diagnostics \\\n' + '\n'.join(
        f'                {line}' for line in wrap([f'/miniscope/{name}' for name in TOPICS]))
    if shutil.which('ros2') is None or not has_recorder():
        command = (f'on the page, or with ROS 2: sudo apt install ros-{distribution}-ros2bag '
                   f'ros-{distribution}-rosbag2-storage-mcap')
    return (
        f'{visibility()}\n'
        f'In another terminal, with the same variables and the workspace sourced\n'
        f'    source {workspace()}\n'
        f'  record    {command}\n'
        '  steer     on the page, or: ros2 param set /miniscope led 40.0\n'
        'Ctrl-C ends it.')


def has_recorder() -> bool:
    """Return whether there is `ros2 bag`."""
    from ament_index_python.packages import get_packages_with_prefixes
    return 'ros2bag' in get_packages_with_prefixes()


def workspace() -> Path:
    """Return what another terminal has to source."""
    return ROOT / ('install/setup.bash' if 'ROS_DISTRO' in os.environ else 'tools/setup.bash')


def wrap(topics: list[str]) -> list[str]:
    """Return topics in lines of a shell command."""
    lines = [' '.join(topics[at:at + 3]) for at in range(0, len(topics), 3)]
    return [f'{line} \\' for line in lines[:-1]] + lines[-1:]


def visibility() -> str:
    """Return who sees this scope."""
    domain = os.environ.get('ROS_DOMAIN_ID', '0')
    if os.environ[RANGE] == 'LOCALHOST':
        return (f'Only this computer sees it ({RANGE}=LOCALHOST, ROS_DOMAIN_ID={domain}); '
                f'{RANGE}=SUBNET shows it to the network.')
    return f'Other computers see it ({RANGE}={os.environ[RANGE]}, ROS_DOMAIN_ID={domain}).'


def run(programs: list[Program], terminal: Terminal, stop: threading.Event,
        report: Callable[[], list[str]]) -> None:
    """Tell how things are until stop, or until a program ends."""
    while all(program.status is None for program in programs) and not stop.wait(terminal.period):
        terminal.show(report())


def main() -> int:
    """Run until Ctrl-C, or until a program ends by itself; return the exit status."""
    given = options()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    os.environ.setdefault(RANGE, 'LOCALHOST')
    if os.environ.get('ROS_DISTRO') == 'humble' and os.environ[RANGE] == 'LOCALHOST':
        os.environ.setdefault('ROS_LOCALHOST_ONLY', '1')  # the others know the range alone
    terminal = Terminal()
    panel = start_panel(terminal)
    programs: list[Program] = []
    statuses: list[int] = []
    try:
        programs += [*start(given, terminal), panel]
        terminal.say(hints())
        from run_status import watching
        with watching() as report:
            run(programs, terminal, stop, report)
    finally:
        terminal.end_status()
        for program in programs or [panel]:
            with contextlib.suppress(ProcessLookupError):
                statuses.append(program.end())
    ended = (f'{program.name} {status}'
             for program, status in zip(programs, statuses, strict=False))
    terminal.say(f'\nEnded, with exit status: {", ".join(ended)}.')
    return max((abs(status) for status in statuses), default=1)


if __name__ == '__main__':
    sys.exit(main())
