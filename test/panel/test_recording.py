# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The recording pane in a real browser, with something that has a session node's interface."""
from collections.abc import Iterator
import contextlib
from pathlib import Path

from browser import browser, needs_browser, Page
from node_process import NodeProcess
from panel_process import panel
import pytest
import session_stand_in

pytestmark = needs_browser


@contextlib.contextmanager
def session(folder: Path) -> Iterator[NodeProcess]:
    """Run the stand-in."""
    process = NodeProcess(python=[str(Path(session_stand_in.__file__)), str(folder)])
    try:
        process.wait_for_output('ready')
        yield process
    finally:
        process.kill()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[tuple[Page, NodeProcess]]:
    with session(tmp_path) as process, panel(tmp_path / 'data') as served, \
            browser(served.address) as page:
        page.press('4')
        page.wait_for_text('#record-state', 'idle')
        yield page, process


def test_recording_by_its_buttons(desk: tuple[Page, NodeProcess], tmp_path: Path) -> None:
    page, process = desk
    page.wait(lambda: page.run('return document.getElementById("field-animal").value')
              == 'from the file', 'the form has what the session file says')
    page.find('#field-researcher').send_keys('Ada')
    page.find('#record-name').send_keys('day one')
    page.click('#record-start')
    page.wait_for_text('#record-badge', 'REC')
    line = process.wait_for_output("start 'day one'")
    assert 'researcher: Ada' in line and 'animal: from the file' in line
    page.press('n')
    page.find('#note').send_keys('it turned left\n')
    process.wait_for_output("note 'it turned left'")
    page.click('#record-stop')
    page.wait_for_text('#finished', 'complete, 0 messages lost in 1 topics')
    assert str(tmp_path / 'day one') in page.text('#finished')
    assert 'export_bag' in page.text('#finished')
    assert not page.find('#record-badge').is_displayed()


def test_refusal_is_shown(desk: tuple[Page, NodeProcess]) -> None:
    page, _ = desk
    page.find('#record-name').send_keys('refused')
    page.click('#record-start')
    page.wait_for_text('#notice', 'the disk is full')
    page.wait(lambda: page.find('#record-start').is_enabled(), 'it can be tried again')


def test_recording_ends_after_its_duration(desk: tuple[Page, NodeProcess]) -> None:
    page, process = desk
    page.find('#record-minutes').send_keys('0.03')
    page.click('#record-start')
    process.wait_for_output('^stop')
    page.wait_for_text('#finished', 'complete')


def test_without_a_session_node(tmp_path: Path) -> None:
    with panel(tmp_path) as served, browser(served.address) as page:
        page.press('4')
        page.wait_for_text('#panes', 'There is no node /session')
        assert not page.find('#record-start').is_enabled()
        with session(tmp_path):
            page.wait(lambda: page.find('#record-start').is_enabled(), 'it was found')
