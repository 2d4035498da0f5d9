# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The page with a box that is unplugged, and with a recording that is replayed."""
from pathlib import Path

from browser import browser, needs_browser
from node_process import scope_node
from panel_process import panel
from recording_folders import scenes, write_miniscope_daq
from virtual_daq import BoxConfig, VirtualDaq

pytestmark = needs_browser


def test_unplugged_and_back(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(kernel='fixed_firmware')]) as rig, \
            scope_node({'led': 20.0, 'diagnostics_period': 0.2}), panel(tmp_path) as served, \
            browser(served.address) as page:
        page.wait_until_live()
        page.wait_for_text('#light-state', 'LIT')
        rig.box.unplug()
        page.wait(lambda: not page.is_live(), 'the picture is not live')
        page.wait_for_text('.curtain', 'NOT LIVE')
        page.wait_for_text('#light-state', 'UNCONFIRMED')
        page.press('l')
        page.wait_for_text('#notice', 'THE LIGHT MAY BE ON')
        rig.box.plug()
        page.wait_until_live()
        page.wait_for_text('#light-state', 'DARK')
        assert not rig.box.led, 'led is 0 now, so it stays dark'
        page.wait_for_text('#notice', 'The light is off now')


def test_replay(tmp_path: Path) -> None:
    folder = tmp_path / 'recording' / 'My_scope'
    write_miniscope_daq(folder, scenes(90, 120, 160), [50.0 * number for number in range(90)])
    with scope_node({'source': 'replay', 'replay.path': str(folder), 'replay.loop': True}), \
            panel(tmp_path) as served, browser(served.address) as page:
        page.wait_until_live()
        page.wait_for_text('#light-state', 'no light')
        page.wait(lambda: page.all(page.control('replay.path')), 'its parameters are shown')
        assert not page.all(page.control('led'))
        page.press('l')
        page.wait_for_text('#notice', 'has no light')
        size = page.run('const one = document.querySelector("canvas.image");'
                        'return [one.width, one.height]')
        assert size == [160, 120]
