# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""check_scope as a command: arguments, Ctrl-C, what it asks of the user, its report."""
import json
import math
from pathlib import Path
import platform
import re
import signal
import subprocess

from checked_scope import check, plain
from miniscope_ros.check import report
from miniscope_ros.check.finding import judged, Outcome
from miniscope_ros.check.orientation import judge_turn, turn_between
from miniscope_ros.check.run import Account, Line
from miniscope_ros.check.settings import Settings
from miniscope_ros.check.table import CHECKS
import pytest
from virtual_daq import Box, BoxConfig

HALF = math.sqrt(0.5)


@pytest.mark.parametrize(('arguments', 'status', 'text'), [
    (['--help'], 0, 'Exit status: 0 nothing failed'),
    (['--devicetype', 'Miniscope_V3'], 2, 'unrecognized arguments'),
    (['--device-typ', 'Miniscope_V3'], 2, 'unrecognized arguments'),
    (['/dev/video0', 'more'], 2, 'unrecognized arguments'),
    (['--device-type', 'V5'], 1, 'device type V5 is unknown; there are Mini'),
    (['--only', 'everything'], 1, 'there is no check everything; there are usb identity'),
    (['--report', '/nonexistent/report'], 1, '/nonexistent/report.md'),
])
def test_arguments(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int,
        text: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = plain(arguments)
    assert done.returncode == status, done.stderr
    assert text in done.stdout + done.stderr


def test_without_a_box_it_fails_and_says_what_to_look_at(tmp_path: Path) -> None:
    done = check(tmp_path / 'run', BoxConfig(plugged=False), '--unattended')
    assert done.status == 1
    assert done.failed == {'usb identity'}
    assert 'check cable and power' in done.output


def test_a_simulated_scope_fails_nothing(tmp_path: Path) -> None:
    done = plain(['--source', 'simulated', '--quick', '--unattended',
                  '--report', str(tmp_path / 'simulated')])
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((tmp_path / 'simulated.json').read_text())
    assert len(content['checks']) == len(CHECKS)
    passed = {one['name'] for one in content['checks'] if one['outcome'] == 'PASS'}
    assert passed >= {'link', 'led ladder', 'gain ladder', 'dark after stop', 'hard reset'}


@pytest.mark.parametrize(('after', 'number'), [
    ('link', signal.SIGINT), ('dark level', signal.SIGTERM), ('dark after stop', signal.SIGINT)])
def test_a_signal_ends_it_in_the_dark(tmp_path: Path, after: str, number: int) -> None:
    def end(box: Box, line: str, program: 'subprocess.Popen[str]') -> None:
        if f' {after}  ' in line:
            if after != 'link':
                box.wait(lambda: box.led > 0, 60)
            program.send_signal(number)

    names = ['link', 'led ladder', 'dark level', 'first lit frame', 'dark after stop',
             'dark after SIGTERM']
    only = [part for name in names for part in ('--only', name)]
    done = check(tmp_path / 'run', BoxConfig(image='stripes'), '--quick', '--unattended', *only,
                 on_line=end)
    assert done.led == 0.0
    assert done.status == 1
    assert 'ended before all checks had run' in done.errors
    assert done.report['ended_early']
    assert [one['name'] for one in done.report['checks']] == names[:names.index(after) + 1]
    assert not done.failed


def test_a_box_that_is_unplugged_as_asked_comes_back(tmp_path: Path) -> None:
    def obey(box: Box, line: str, program: 'subprocess.Popen[str]') -> None:
        if 'Unplug the USB cable' in line:
            box.unplug()
        elif 'Plug it into the same port' in line:
            box.plug()

    done = check(tmp_path / 'run', BoxConfig(image='stripes'), '--interactive', '--only', 'unplug',
                 on_line=obey)
    assert done.status == 0, done.output + done.errors
    assert done.named('PASS') == {'unplug'}
    assert done.led == 0.0


def test_a_cable_that_was_not_unplugged_is_a_failure(tmp_path: Path) -> None:
    done = check(tmp_path / 'run', BoxConfig(image='stripes'), '--interactive', '--only', 'unplug',
                 answers='\n')
    assert done.failed == {'unplug'}


@pytest.mark.parametrize(('after', 'axis', 'outcome'), [
    ((HALF, 0, 0, HALF), 2, Outcome.PASS),
    ((HALF, 0, HALF, 0), 1, Outcome.PASS),
    ((HALF, HALF, 0, 0), 0, Outcome.PASS),
    ((-HALF, 0, 0, -HALF), 2, Outcome.PASS),  # the same rotation
    ((HALF, 0, 0, -HALF), 2, Outcome.FAIL),  # the other way round
    ((HALF, 0, HALF, 0), 2, Outcome.FAIL),  # about another axis
    ((HALF, HALF, 0, 0), 2, Outcome.FAIL),
    ((0, 0, HALF, HALF), 2, Outcome.FAIL),  # the order z, y, x, w
    ((1, 0, 0, 0.001), 2, Outcome.FAIL),  # it did not follow
    ((math.cos(0.2), 0, 0, math.sin(0.2)), 2, Outcome.CANNOT_TELL),
])
def test_turns(after: tuple[float, ...], axis: int, outcome: Outcome) -> None:
    w, x, y, z = after
    assert judge_turn(turn_between((1.0, 0.0, 0.0, 0.0), (w, x, y, z)), axis).outcome is outcome


def test_a_turn_is_about_the_axes_of_the_body() -> None:
    # First nose down; a turn about the body's x axis then is not one about the world's.
    before = (HALF, 0.0, HALF, 0.0)
    after = (0.5, 0.5, 0.5, -0.5)  # before, then 90 degrees about the new x
    assert turn_between(before, after) == pytest.approx((math.pi / 2, 0, 0), abs=1e-9)


def test_the_report_names_no_people_and_no_computer(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('LOGNAME', 'gretel')
    monkeypatch.setenv('HOME', '/home/gretel')
    computer = platform.node()
    text = f'/home/gretel/x.yaml on {computer.upper()}, held by gretel; gretels | 3'
    line = Line('link', judged(False, text, 'none', held=['gretel']), 1.0)
    account = Account((line,), False, '')
    markdown, data = report.write(
        str(tmp_path / 'a.md'), account,
        Settings(device='/home/gretel/box', device_catalog='/home/gretel/own.yaml'))
    assert (markdown.name, data.name) == ('a.md', 'a.json')
    for written in (markdown.read_text(), data.read_text()):
        assert 'gretel ' not in written and 'gretel"' not in written and 'gretel/' not in written
        assert not re.search(rf'\b{re.escape(computer)}\b', written, re.IGNORECASE)
    assert '| FAIL | link | NAME/x.yaml on NAME, held by NAME; gretels \\| 3 | none |' \
        in markdown.read_text()
    content = json.loads(data.read_text())
    assert content['checks'][0]['data'] == {'held': ['NAME']}
    assert content['counts'] == {'PASS': 0, 'FAIL': 1, 'CANNOT TELL': 0}
