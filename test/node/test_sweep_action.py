# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""~/sweep of a running node: its curve and files, refusals, cancel, and what ends it early."""
from collections.abc import Iterator
import contextlib
import csv
import json
import math
import os
from pathlib import Path
import re
import subprocess
import sys

from action_msgs.msg import GoalStatus
from listening import Listener, stamp_ns
from miniscope_msgs.msg import ControlChange
from node_process import NodeProcess, scope_node
import numpy as np
import pytest
from sweeping import Sweeper

Scope = tuple[NodeProcess, Listener, Sweeper]
SUCCEEDED, CANCELED, ABORTED = (
    GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED)
LONG = {'from_value': -100.0, 'to_value': 100.0, 'step': 1.0, 'frames': 5}
OLD = 7  # focus
AT_START = {'focus': OLD, 'gain': 1.0, 'led': 20.0}


@pytest.fixture(scope='module')
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of the node's user."""
    return tmp_path_factory.mktemp('home')


@contextlib.contextmanager
def running(home: Path, name: str) -> Iterator[Scope]:
    """Run a node that is not configured."""
    given = {'source': 'simulated', **AT_START, 'max_led': 50.0, 'auto_start': False}
    with scope_node(given, remap={'__node': name}, environment={'HOME': str(home)}) as node, \
            Listener(f'/{name}') as ear:
        yield node, ear, Sweeper(ear)


@pytest.fixture(scope='module')
def shared(home: Path) -> Iterator[Scope]:
    """Run the node of most tests; to be taken through the fixture `scope`."""
    with running(home, 'miniscope') as scope:
        yield scope


@pytest.fixture
def scope(shared: Scope) -> Scope:
    """Return the shared node; it is active and has its first values, whatever was before."""
    _, ear, _ = shared
    if ear.state == 'unconfigured':
        assert ear.change_state('configure')
    if ear.state == 'inactive':
        assert ear.change_state('activate')
    # This also ends a sweep that a failed test has left.
    assert all(result.successful for result in ear.set_each(**AT_START))
    return shared


@pytest.fixture(scope='module')
def shared_changes(shared: Scope) -> list[ControlChange]:
    """Listen to the shared node's changes all the time: a late listener hears old ones first."""
    return shared[1].listen('control_changes')


@pytest.fixture
def own(home: Path) -> Iterator[Scope]:
    """Run a node for one test."""
    with running(home, 'own') as scope:
        yield scope


def set_and_hear(ear: Listener, changes: list[ControlChange], focus: int) -> None:
    """Set the focus to a value that it has not, and return when that is heard of."""
    assert ear.set_each(focus=focus)[0].successful
    wait_restored(ear, changes, 'focus', focus)


def wait_restored(ear: Listener, changes: list[ControlChange], name: str, value: float) -> None:
    """Return when the last value that was sent of a control is this one."""
    ear.wait_until(
        lambda: [c.value for c in changes if c.control == name][-1:] == [value],
        f'{name} is {value} again')


def wait_for_feedback(ear: Listener, sweeper: Sweeper, count: int = 1) -> None:
    """Return when values were taken; frames are heard of meanwhile."""
    frames = ear.listen('frame_info')
    ear.wait_until(lambda: len(sweeper.feedback) >= count, 'values are taken')
    ear.hush(frames)


def test_it_is_refused_unless_active(own: Scope) -> None:
    node, ear, sweeper = own
    status, result = sweeper.sweep()
    assert status == ABORTED and not result.success
    assert result.message == 'refused: the node is not configured; activate it first'
    assert ear.change_state('configure')
    _, result = sweeper.sweep()
    assert result.message == (
        'refused: the node is inactive: frames are taken while it is active')
    node.wait_for_output('WARN.*sweep refused: the node is not configured')


@pytest.mark.parametrize(('fields', 'reason'), [
    ({'control': 'frame_rate'}, "control cannot be 'frame_rate': it is one of focus, gain, led"),
    ({'control': ''}, "control cannot be ''"),
    ({'step': 0.0}, 'step cannot be 0'),
    ({'step': 1e-300}, 'a step of 1e-300 makes too many values'),
    ({'step': 0.5}, 'focus cannot be -7.5: it is a whole number'),
    ({'to_value': 500.0}, 'focus cannot be 500'),
    ({'control': 'led', 'from_value': 40.0, 'to_value': 60.0}, 'max_led'),
    ({'frames': 0}, 'frames cannot be 0'),
    ({'keep': 'some'}, "keep cannot be 'some': it is one of average, all"),
    ({'format': 'png'}, "format cannot be 'png': it is one of tiff, none"),
    ({'keep': 'all', 'format': 'none'}, 'keep all needs files'),
    ({'format': 'tiff', 'folder': '/proc/nowhere'}, '/proc/nowhere cannot be written'),
    ({'format': 'tiff', 'folder': '~nobody_has_this_name/x'}, 'give an absolute path'),
])
def test_goals_that_cannot_be_are_refused(
        scope: Scope, shared_changes: list[ControlChange], fields: dict[str, object],
        reason: str) -> None:
    _, ear, sweeper = scope
    changes = shared_changes
    set_and_hear(ear, changes, OLD + 2)  # what was set before comes before this
    begin = len(changes)
    status, result = sweeper.sweep(**fields)
    assert status == ABORTED and not result.success and len(result.values) == 0
    assert result.message.startswith('refused: ') and reason in result.message
    assert math.isnan(result.best_value) and math.isnan(result.restored_value)
    set_and_hear(ear, changes, OLD + 1)
    assert [(c.control, c.value) for c in changes[begin:]
            if c.reason == ControlChange.REASON_USER] == [('focus', OLD + 1)], (
                'nothing was sent but what the test has set')


def test_curve_and_files_are_those_of_the_frames(scope: Scope, home: Path) -> None:
    tifffile = pytest.importorskip('tifffile')
    _, ear, sweeper = scope
    raw: dict[int, np.ndarray] = {}
    images = ear.listen('image_raw', keep=lambda image: raw.update({
        stamp_ns(image): np.frombuffer(image.data, np.uint8).reshape(608, 608)}))
    frames, changes = ear.listen('frame_info'), ear.listen('control_changes')
    ear.wait_for(images), ear.wait_for(frames)
    status, result = sweeper.sweep(
        from_value=-40.0, to_value=40.0, step=40.0, frames=4, keep='all', format='tiff')
    assert status == SUCCEEDED and result.success, result.message
    assert list(result.values) == [-40.0, 0.0, 40.0] and result.best_value == 0.0
    assert result.sharpness[1] == max(result.sharpness)
    assert result.restored_value == OLD and ear.get('focus') == OLD
    wait_restored(ear, changes, 'focus', OLD)
    assert [(f.step, f.steps, f.value, f.sharpness) for f in sweeper.feedback] == [
        (n + 1, 3, result.values[n], result.sharpness[n]) for n in range(3)]

    mean, *every, table = map(Path, result.files)
    assert {path.parent for path in (mean, *every, table)} == {home / 'miniscope_sweeps'}
    assert len(list(mean.parent.iterdir())) == 5, 'nothing is left over'
    ear.wait_until(lambda: frames[-1].capture_index > result.last_capture_index[-1], 'all came')
    stamps = {info.capture_index: stamp_ns(info) for info in frames}
    needed = {stamp for index, stamp in stamps.items()
              if result.first_capture_index[0] <= index <= result.last_capture_index[-1]}
    ear.wait_until(lambda: needed <= raw.keys(), 'the images of all of them came')
    assert [path.stem.rpartition('_')[2] for path in every] == ['-40', '0', '40']
    with tifffile.TiffFile(mean) as means:
        assert len(means.pages) == 3
        for step, page in enumerate(means.pages):
            first, last = result.first_capture_index[step], result.last_capture_index[step]
            indices = [index for index in sorted(stamps) if first <= index <= last]
            taken = [raw[stamps[index]] for index in indices]
            assert len(taken) == 4
            with tifffile.TiffFile(every[step]) as stack:
                for image, kept in zip(taken, stack.pages, strict=True):
                    assert np.array_equal(kept.asarray(), image)
            pixels = page.asarray()
            assert pixels.dtype == np.float32
            assert np.allclose(pixels, np.mean(taken, axis=0), atol=1e-3)
            about = json.loads(page.description)
            assert (about['control'], about['value']) == ('focus', result.values[step])
            assert (about['first_capture_index'], about['last_capture_index']) == (first, last)
    with open(table) as file:
        rows = list(csv.DictReader(file))
    assert [float(row['focus']) for row in rows] == list(result.values)
    assert [float(row['sharpness']) for row in rows] == list(result.sharpness)
    # Each frame was taken when the value held, by the node's own word.
    told = {c.value: c.first_capture_index for c in changes
            if c.control == 'focus' and c.reason == ControlChange.REASON_USER}
    assert all(first >= told[value] >= 0 for value, first in zip(
        result.values, result.first_capture_index, strict=True))
    ear.hush(images, frames, changes)


def test_files_in_a_relative_folder_are_named_by_their_whole_path(
        scope: Scope, tmp_path: Path) -> None:
    _, ear, sweeper = scope
    frames = ear.listen('frame_info')
    _, result = sweeper.sweep(format='tiff', folder=os.path.relpath(tmp_path))
    assert result.success and len(result.files) == 2
    assert {Path(file).parent.resolve() for file in result.files} == {tmp_path}
    assert all(Path(file).is_absolute() for file in result.files)
    ear.hush(frames)


def test_lines_of_the_topics_page_run(scope: Scope, tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / 'docs' / 'topics.md'
    code, = re.findall(r'```python\n(.*?)```', page.read_text(), re.S)
    *curve, message, mean, table = subprocess.run(
        [sys.executable, '-c', code], check=True, capture_output=True, text=True, timeout=60,
        cwd=tmp_path).stdout.splitlines()
    assert [float(line.split()[0]) for line in curve] == list(range(-40, 41, 8))
    assert re.search('11 values of focus were taken; .* sharpest at (-8|0|8)$', message)
    assert Path(mean).exists() and Path(table).exists()


def test_choices_of_the_gain_need_no_step(scope: Scope) -> None:
    _, ear, sweeper = scope
    status, result = sweeper.sweep(control='gain', from_value=1.0, to_value=3.5, step=0.0)
    assert status == SUCCEEDED and list(result.values) == [1.0, 2.0, 3.5]
    assert list(result.brightness) == sorted(result.brightness)


def test_a_second_goal_is_refused_and_the_first_can_be_canceled(scope: Scope) -> None:
    _, ear, sweeper = scope
    changes = ear.listen('control_changes')
    first = sweeper.send(**LONG)
    status, result = sweeper.sweep()
    assert status == ABORTED
    assert result.message == 'refused: a sweep of focus is running; cancel it first'
    assert sweeper.cancel(first)
    status, result = sweeper.result(first)
    assert status == CANCELED and result.message == 'canceled' and not result.success
    assert len(result.values) < 201 and result.restored_value == OLD
    wait_restored(ear, changes, 'focus', OLD)
    ear.hush(changes)


def test_files_of_a_canceled_sweep_hold_what_was_taken(scope: Scope, tmp_path: Path) -> None:
    tifffile = pytest.importorskip('tifffile')
    _, ear, sweeper = scope
    goal = sweeper.send(**LONG, format='tiff', folder=str(tmp_path))
    wait_for_feedback(ear, sweeper, 2)
    assert sweeper.cancel(goal)
    _, result = sweeper.result(goal)
    with tifffile.TiffFile(result.files[0]) as means:
        assert len(means.pages) == len(result.values) >= 2


def test_a_user_who_sets_the_control_ends_it(scope: Scope) -> None:
    _, ear, sweeper = scope
    changes = ear.listen('control_changes')
    goal = sweeper.send(**LONG)
    wait_for_feedback(ear, sweeper)
    assert ear.set_each(focus=33)[0].successful
    status, result = sweeper.result(goal)
    assert status == ABORTED and result.message == 'focus was set to 33'
    assert result.restored_value == 33
    wait_restored(ear, changes, 'focus', 33)
    ear.hush(changes)


def test_a_user_who_sets_the_value_that_is_being_taken_ends_it(scope: Scope) -> None:
    _, ear, sweeper = scope
    changes = ear.listen('control_changes')
    goal = sweeper.send(from_value=44.0, to_value=44.0, frames=1000)
    ear.wait_until(lambda: [c for c in changes if c.value == 44.0], 'the value is sent')
    assert ear.set_each(focus=44)[0].successful
    status, result = sweeper.result(goal)
    assert status == ABORTED and result.message == 'focus was set to 44'
    ear.hush(changes)


def test_darkness_ends_a_sweep_of_the_light(scope: Scope) -> None:
    _, ear, sweeper = scope
    changes = ear.listen('control_changes')
    goal = sweeper.send(control='led', from_value=0.0, to_value=50.0, step=0.5)
    wait_for_feedback(ear, sweeper)
    assert ear.set_each(led=0.0)[0].successful
    _, result = sweeper.result(goal)
    assert result.message == 'led was set to 0'
    wait_restored(ear, changes, 'led', 0.0)
    ear.hush(changes)


def test_another_control_that_is_set_ends_it(scope: Scope) -> None:
    _, ear, sweeper = scope
    goal = sweeper.send(**LONG)
    wait_for_feedback(ear, sweeper)
    assert ear.set_each(gain=2.0)[0].successful
    status, result = sweeper.result(goal)
    assert status == ABORTED and result.message == 'gain was set to 2'


def test_deactivation_ends_it(scope: Scope) -> None:
    _, ear, sweeper = scope
    changes = ear.listen('control_changes')
    goal = sweeper.send(**LONG)
    wait_for_feedback(ear, sweeper)
    assert ear.change_state('deactivate')
    status, result = sweeper.result(goal)
    assert status == ABORTED and result.message == 'the node was deactivated'
    assert ear.change_state('activate')
    wait_restored(ear, changes, 'focus', OLD)
    assert sweeper.sweep()[1].success, 'the next one goes'
    ear.hush(changes)


def test_the_end_of_the_node_ends_it(own: Scope) -> None:
    node, ear, sweeper = own
    assert ear.change_state('configure', 'activate')
    goal = sweeper.send(**LONG)
    wait_for_feedback(ear, sweeper)
    answer = ear.in_its_thread(goal.get_result_async)
    assert ear.get('focus') == OLD  # the request above was sent before this one
    assert node.stop() == 0
    result = ear.answer(answer).result
    assert not result.success and result.message == 'the node was shut down'
