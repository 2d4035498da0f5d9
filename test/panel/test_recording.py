# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The recording pane in a real browser, with the session node, and the bags that it makes."""
from collections.abc import Iterator
import contextlib
import json
from pathlib import Path
import re

from browser import browser, needs_browser, Page
from node_process import NodeProcess, scope_node
from panel_process import panel
import pytest
from recording_folders import scenes, write_miniscope_daq
from recording_sessions import messages, only_bag, write_session
from virtual_daq import BoxConfig, VirtualDaq

pytestmark = needs_browser


@contextlib.contextmanager
def session(folder: Path) -> Iterator[NodeProcess]:
    """Run a session node that records /miniscope into folders below bags."""
    file = write_session(folder, {'miniscope': {}})
    process = NodeProcess(python=['-m', 'miniscope_ros.commands.session_node', str(file)])
    try:
        yield process
        assert process.stop() == 0, process.output
    finally:
        if process.alive:
            process.kill()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Page]:
    """Yield the page of a panel that has found a scope and a session node."""
    with scope_node({'source': 'simulated', 'led': 20.0}), session(tmp_path), \
            panel(tmp_path / 'data') as served, browser(served.address) as page:
        page.wait_until_live()
        page.press('4')
        page.wait_for_text('#record-state', 'idle')
        yield page


def test_recording_by_its_buttons(desk: Page, tmp_path: Path) -> None:
    desk.wait(lambda: desk.run('return document.getElementById("field-animal").value') == 'm1',
              'the form has what the session file says')
    desk.find('#field-experiment').send_keys('open field')
    desk.find('#record-name').send_keys('day one')
    desk.click('#record-start')
    desk.wait_for_text('#record-badge', 'REC')
    desk.press('n')
    desk.find('#note').send_keys('it turned left\n')
    desk.wait_for_text('#notice', 'noted')
    desk.wait_until_live()
    desk.click('#record-stop')
    desk.wait_for_text('#finished', 'complete, 0 messages lost')
    bag = tmp_path / 'bags' / 'day one'
    assert str(bag) in desk.text('#finished')
    assert 'export_bag' in desk.text('#finished')
    assert not desk.find('#record-badge').is_displayed()
    assert json.loads((bag / 'certificate.json').read_text())['verdict'] == 'complete'
    recorded = messages(bag)
    indices = [message.frame_index for message in recorded['/miniscope/frame_info']]
    assert indices == list(range(len(indices))) and indices
    assert 'it turned left' in [note.text for note in recorded['/session/notes']]
    told = json.loads(recorded['/session/metadata'][-1].data)['session']
    assert told == {'researcher': 'Ada', 'animal': 'm1', 'experiment': 'open field'}


def test_refusal_is_shown(desk: Page, tmp_path: Path) -> None:
    (tmp_path / 'bags' / 'taken').mkdir(parents=True)
    desk.find('#record-name').send_keys('taken')
    desk.click('#record-start')
    desk.wait_for_text('#notice', 'exists already')
    desk.wait(lambda: desk.find('#record-start').is_enabled(), 'it can be tried again')


def test_recording_ends_after_its_duration(desk: Page) -> None:
    desk.find('#record-minutes').send_keys('0.03')
    desk.click('#record-start')
    desk.wait_for_text('#record-badge', 'REC')
    desk.wait_for_text('#finished', 'complete')


def test_without_a_session_node(tmp_path: Path) -> None:
    with panel(tmp_path / 'data') as served, browser(served.address) as page:
        page.press('4')
        page.wait_for_text('#panes', 'There is no node /session')
        assert not page.find('#record-start').is_enabled()
        with session(tmp_path):
            page.wait(lambda: page.find('#record-start').is_enabled(), 'it was found')


def test_room_on_the_disk_is_shown_before_a_recording(desk: Page) -> None:
    desk.wait(lambda: re.search(r'[1-9][\d.]* [kMGT]B ?free', desk.text('#record-state')),
              'the room on the disk is shown')
    assert 'not known yetper second' in desk.text('#record-state')
    desk.press('2')
    desk.wait(lambda: re.search(r'[1-9][\d.]* [kMGT]B ?free', desk.text('#panes')),
              'it is shown beside what else shows whether all is well')


def test_recording_of_a_replay(tmp_path: Path) -> None:
    folder = tmp_path / 'recording' / 'My_scope'
    write_miniscope_daq(folder, scenes(90, 120, 160), [50.0 * number for number in range(90)])
    with scope_node({'source': 'replay', 'replay.path': str(folder), 'replay.loop': True}), \
            session(tmp_path), panel(tmp_path / 'data') as served, \
            browser(served.address) as page:
        page.wait_until_live()
        page.press('4')
        page.wait_for_text('#record-state', 'idle')
        assert not page.find('#record-trigger').is_displayed(), 'a replay has no inputs'
        page.click('#record-start')
        page.wait_for_text('#record-badge', 'REC')
        page.wait_until_live()
        page.click('#record-stop')
        page.wait_for_text('#finished', '0 messages lost')
    recorded = messages(only_bag(tmp_path / 'bags'))
    indices = [message.frame_index for message in recorded['/miniscope/frame_info']]
    assert indices == list(range(len(recorded['/miniscope/image_raw']))) and indices


def choose_trigger(page: Page, number: int) -> None:
    """Choose a digital input as the trigger, as a hand does; -1: none."""
    from selenium.webdriver.support.ui import Select
    Select(page.find('#record-trigger')).select_by_value(str(number))


def test_trigger_that_the_scope_lacks_is_refused(desk: Page) -> None:
    desk.wait(lambda: desk.find('#record-trigger').is_displayed(), 'there is a choice')
    choose_trigger(desk, 0)
    desk.wait_for_text('#notice', 'this source has no digital inputs')
    desk.wait(lambda: desk.find('#record-trigger').get_attribute('value') == '-1',
              'what is in force is shown again')


def test_trigger_starts_and_stops_a_recording(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(open_ephys=True, rate=30.0)]) as rig, \
            scope_node({'led': 20.0, 'device': rig.box.by_path}), session(tmp_path), \
            panel(tmp_path / 'data') as served, browser(served.address) as page:
        page.wait_until_live()
        page.press('4')
        page.wait(lambda: page.find('#record-trigger').is_displayed(), 'there is a choice')
        choose_trigger(page, 1)
        page.wait_for_text('#notice', 'Start waits for digital input 1')
        page.click('#record-start')
        page.wait_for_text('#record-badge', 'waits for trigger')
        rig.box.trigger(0b10)
        page.wait_for_text('#record-badge', 'REC')
        rig.box.trigger(0)
        page.wait_for_text('#record-badge', 'waits for trigger')  # the next one
        page.click('#record-stop')
        page.wait(lambda: not page.find('#record-badge').is_displayed(), 'it waits no more')
        choose_trigger(page, -1)
        page.wait_for_text('#notice', 'no trigger')
