# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Scopes and panels that come, hang, end and return, as the page shows them."""
from pathlib import Path
import signal

from browser import browser, needs_browser
from node_process import scope_node
from panel_process import panel

pytestmark = needs_browser


def test_node_that_hangs(tmp_path: Path) -> None:
    with scope_node({'source': 'simulated', 'led': 20.0}) as scope, panel(tmp_path) as served, \
            browser(served.address) as page:
        page.wait_until_live()
        scope.send_signal(signal.SIGSTOP)
        try:
            page.wait_for_text('.curtain', 'NOT LIVE')
            page.click('#lights-out')
            page.wait_for_text('#notice', 'THE LIGHT MAY BE ON')
            page.wait_for_text('#light-state', 'UNCONFIRMED')
        finally:
            scope.send_signal(signal.SIGCONT)
        page.wait_until_live()


def test_panel_lost_and_back(tmp_path: Path) -> None:
    with scope_node({'source': 'simulated', 'led': 20.0}), panel(tmp_path) as first, \
            browser(first.address) as page:
        page.wait_until_live()
        assert first.process.stop() == 0
        page.wait(lambda: page.find('#alarm').is_displayed(), 'the page says so')
        assert not page.is_live()
        assert 'no connection' in page.text('.curtain')
        page.wait_for_text('#light-state', 'UNCONFIRMED')
        page.press('l')
        page.wait_for_text('#notice', 'THE LIGHT MAY BE ON')
        with panel(tmp_path, port=first.port):
            page.wait_until_live()
            page.wait(lambda: not page.find('#alarm').is_displayed(), 'all is well again')


def test_scopes_come_and_go(tmp_path: Path) -> None:
    with panel(tmp_path) as served, browser(served.address) as page:
        page.wait(lambda: page.find('#none').is_displayed(), 'there is none')
        with scope_node({'source': 'simulated', 'led': 5.0}, remap={'__ns': '/one'}):
            page.wait_until_live('/one/miniscope')
            with scope_node({'source': 'simulated', 'led': 7.0}, remap={'__ns': '/two'}):
                page.wait_until_live('/two/miniscope')
                page.wait_until_live('/one/miniscope')
                page.press('1')
                page.wait(lambda: page.value('led') == '5', 'the first is selected')
                page.press(']')
                page.wait(lambda: page.value('led') == '7', 'the second is selected')
                page.press('l')
                page.wait_for_text('#notice', '/one/miniscope: set to 0, dark')
                page.wait_for_text('#notice', '/two/miniscope: set to 0, dark')
            page.wait(lambda: not page.all('[data-scope="/two/miniscope"]'), 'it has gone')
        page.wait(lambda: page.find('#none').is_displayed(), 'all have gone')
        with scope_node({'source': 'simulated', 'led': 9.0}, remap={'__ns': '/one'}):
            page.wait_until_live('/one/miniscope')
            page.wait(lambda: page.value('led') == '9', 'it is asked anew')


def test_killed_node_leaves_its_light_unconfirmed(tmp_path: Path) -> None:
    with scope_node({'source': 'simulated', 'led': 20.0}) as scope, panel(tmp_path) as served, \
            browser(served.address) as page:
        page.wait_for_text('#light-state', 'LIT')
        scope.kill()
        page.wait_for_text('#light-state', 'UNCONFIRMED')
        page.wait(lambda: not page.is_live(), 'its picture is not live')
        page.wait_for_text('.tile .head', 'gone')
        page.press('l')
        page.wait_for_text('#notice', 'Its node is gone')
        page.click('.tile .head button:last-child')
        page.wait(lambda: page.find('#none').is_displayed(), 'it was dismissed')
