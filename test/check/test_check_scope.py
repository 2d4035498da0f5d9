# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""check_scope on virtual boxes: a good one passes, and each fault makes its own line fail."""
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
import subprocess

from checked_scope import check, Checked, OnLine
from miniscope_ros.check.table import CHECKS
from miniscope_ros.daq.catalogue import load_catalogue
import pytest
from virtual_daq import Box, BoxConfig, Fault
import yaml

CATALOGUE = Path(__file__).parents[2] / 'miniscope_ros' / 'daq' / 'device_types.yaml'
V4 = load_catalogue()['Miniscope_V4_BNO']
ALONGSIDE = 8  # runs wait most of their time
USER = {'turn left', 'nose down', 'tilt right'}


def every(frames: int, fault: Fault) -> Callable[[Box], None]:
    """Return what lets a fault befall every so many-th frame."""
    def begin(box: Box) -> None:
        size = len(box.state['plan'])
        box.plan(dict.fromkeys(range(0, size, frames), fault))
    return begin


def always(fault: Fault) -> Callable[[Box], None]:
    """Return what lets a fault befall every frame."""
    return lambda box: box.always(fault)


class LightsUp:
    """
    Somebody else's command that lights the scope after a program has left it.

    It comes after the line of one check, at the so many-th time that the box is left.
    """

    def __init__(self, line: str, time: int) -> None:
        self._line = line
        self._time = time

    def __call__(self, box: Box, line: str, program: 'subprocess.Popen[str]') -> None:
        if f' {self._line}  ' not in line:
            return
        # Starts of the stream are counted: a short pause between two could be overlooked.
        last = int(box.state['streams']) + self._time - box.streaming
        box.wait(lambda: box.state['streams'] >= last, 60)
        box.wait(lambda: not box.streaming, 60)
        box.leave_packets(V4.controls['led'].packets(40.0))


def freeze_readings(box: Box, line: str, program: 'subprocess.Popen[str]') -> None:
    """Freeze the orientation at a good reading, as soon as the scope was set up."""
    if ' link  ' in line:
        box.always(Fault.QUAT_FROZEN)


def after(line: str, act: Callable[[Box], None]) -> OnLine:
    """Return what acts once the scope was dark and lit again, after the line of one check."""
    def on_line(box: Box, said: str, program: 'subprocess.Popen[str]') -> None:
        if f' {line}  ' in said:
            box.wait(lambda: box.led == 0.0, 60)
            box.wait(lambda: box.led > 0.0, 60)
            box.wait_frames(20)
            act(box)
    return on_line


@dataclass
class Case:
    """A fault, and the lines that it makes fail."""

    fails: set[str]
    config: dict[str, object]
    begin: Callable[[Box], None] | None = None
    on_line: OnLine | None = None
    arguments: tuple[str, ...] = ()
    own_type: str = ''  # what replaces what in the entry of the catalogue
    answers: str | None = None


CASES = {
    'good': Case(set(), {}, arguments=('--loopback', '--transport', 'usb')),
    'current kernel': Case(set(), {'kernel': 'new_kernel'}),
    'usb 2 speed': Case({'usb speed'}, {'speed': '480'}),
    'usb 2 port': Case({'usb identity'}, {'product_id': '00f8', 'speed': '480'}),
    'narrow controls': Case({'control ranges'}, {'control_maximum': 255}),
    'no link': Case({'link'}, {'link': 'none'}),
    'old interface': Case({'firmware'}, {'interface_version': 1}),
    'no pan and tilt': Case({'firmware'}, {'pan_tilt': False, 'kernel': 'fixed_firmware'}),
    'late first frame': Case({'first frame'}, {'start_delay': 2.5}),
    'wrong rate': Case({'frame rates'}, {'rate_factor': 1.1}),
    'jitter': Case({'jitter'}, {'jitter': 0.0025}),
    'lost': Case({'lost frames'}, {}, every(32, Fault.LOST)),
    'unfinished': Case({'lost frames'}, {}, every(32, Fault.UNFINISHED)),
    'damaged': Case({'damaged frames'}, {}, every(32, Fault.ERROR_FLAG)),
    'bad readings': Case({'orientation norm'}, {}, always(Fault.QUAT_BAD)),
    'frozen readings': Case(
        USER, {'kernel': 'fixed_firmware'}, on_line=freeze_readings, answers=8 * '\n'),
    'stale readings': Case(
        {'readings over v4l2'}, {'kernel': 'old_kernel'}, on_line=freeze_readings),
    'no light in the picture': Case({'led ladder'}, {'image': 'ramp'}),
    'gains exchanged': Case(
        {'gain ladder'}, {}, own_type='{1: 225, 2: 228, 3.5: 36} -> {1: 36, 2: 228, 3.5: 225}'),
    'covered': Case({'pictures'}, {}, on_line=after('focus sweep', Box.cover)),
    'restart': Case({'head stage'}, {}, on_line=after('pictures', Box.restart_head_stage)),
    'lit after stop': Case({'dark after stop'}, {}, on_line=LightsUp('head stage', 1)),
    'lit after SIGTERM': Case(
        {'dark after SIGTERM'}, {}, on_line=LightsUp('dark after stop', 1)),
    'lit after lights_off': Case(
        {'dark after kill -9'}, {}, on_line=LightsUp('dark after SIGTERM', 3)),
    'no loop': Case({'sync output'}, {}, arguments=('--loopback', '--transport', 'usb')),
    'away after a reset': Case({'hard reset'}, {'reset_time': 60.0}),
}
# What is left out on request.
UNTOLD_BY_GOOD = {
    'good': {'unplug', *USER}, 'current kernel': {'unplug', *USER, 'sync output'}}


def run_case(folder: Path, name: str) -> Checked:
    case = CASES[name]
    arguments = list(case.arguments)
    if case.own_type:
        arguments += ['--device-type', 'Own', '--device-catalog', str(own(folder, case.own_type))]
    if case.answers is None:
        arguments.append('--unattended')

    def begin(box: Box) -> None:
        box.loop_sync(name != 'no loop')
        if case.begin is not None:
            case.begin(box)

    return check(
        folder, BoxConfig(**{'image': 'stripes', **case.config}), '--quick', *arguments,
        begin=begin, on_line=case.on_line, answers=case.answers)


def own(folder: Path, change: str) -> Path:
    """Write a catalogue with a changed V4 and return its path."""
    before, _, after = change.partition(' -> ')
    entry = yaml.safe_load(CATALOGUE.read_text())['Miniscope_V4_BNO']
    gains = yaml.safe_load(after)
    assert entry['controls']['gain']['choices'] == yaml.safe_load(before)
    entry['controls']['gain']['choices'] = gains
    path = folder / 'own.yaml'
    path.write_text(yaml.safe_dump({'Own': entry}))
    return path


@pytest.fixture(scope='module')
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, 'Future[Checked]']]:
    """Run the cases that are collected, some at a time: they wait most of the time."""
    collected = {item.callspec.params.get('name') for item in request.session.items
                 if hasattr(item, 'callspec')}
    with ThreadPoolExecutor(ALONGSIDE) as pool:
        yield {name: pool.submit(run_case, tmp_path_factory.mktemp('checked'), name)
               for name in CASES if name in collected}


@pytest.mark.timeout(900)
@pytest.mark.parametrize('name', CASES)
def test_a_fault_makes_its_line_fail_and_no_other(
        runs: dict[str, 'Future[Checked]'], name: str) -> None:
    done = runs[name].result()
    assert done.failed == CASES[name].fails, done.output + done.errors
    assert [line['name'] for line in done.report['checks']] == [one.name for one in CHECKS]
    # What is away at the end cannot be made dark, and that is a failure of its own.
    assert done.status == bool(done.failed), done.errors
    assert done.led == 0.0
    assert not done.protocol_faults
    if name in UNTOLD_BY_GOOD:
        # On a busy computer what comes over transport usb is told to be no evidence.
        busy = {'jitter', 'lost frames'}
        assert done.named('CANNOT TELL') - busy == UNTOLD_BY_GOOD[name], done.output
