# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The page with a box that is unplugged, and with a recording that is replayed."""
from pathlib import Path
import re

from browser import browser, needs_browser, Page
from listening import Listener
from miniscope_ros.model import Content
from node_process import scope_node
from panel_process import panel
from picture_bank import make_bank
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


def test_faulty_pictures_are_counted_although_nobody_looked(tmp_path: Path) -> None:
    bank, _ = make_bank()
    with VirtualDaq(tmp_path, [BoxConfig(image=bank, rate=30.0)]), Listener() as ear, \
            scope_node({'led': 20.0, 'diagnostics_period': 0.2}):
        infos = ear.listen('frame_info')
        ear.wait_until(lambda: len({info.content for info in infos} - {int(Content.OK)}) == 3,
                       'three kinds of faults have come')
        ear.hush(infos)
        with panel(tmp_path) as served, browser(served.address) as page:
            page.wait_until_live()
            page.press('2')
            page.wait(lambda: re.fullmatch(
                r'\d+ blocks misplaced, \d+ dark, \d+ repeated', fact(page, 'faulty pictures')),
                'the faults are shown')
            assert is_warning(page, 'faulty pictures')


def test_restarts_of_the_head_stage_are_counted(tmp_path: Path) -> None:
    with VirtualDaq(tmp_path, [BoxConfig(image='lit', rate=0.0)]) as rig, \
            scope_node({'led': 20.0, 'diagnostics_period': 0.2}), panel(tmp_path) as served, \
            browser(served.address) as page:
        page.wait_until_live()
        page.press('2')
        page.wait(lambda: fact(page, 'head stage restarts') == '0', 'there was none')
        assert fact(page, 'faulty pictures') == 'none'
        assert not is_warning(page, 'head stage restarts')
        rig.box.restart_head_stage()
        page.wait(lambda: fact(page, 'head stage restarts') == '1', 'it is counted')
        assert is_warning(page, 'head stage restarts')
        # Frames until all values are back are dark.
        page.wait(lambda: re.fullmatch(r'\d+ dark', fact(page, 'faulty pictures')),
                  'its dark frames are counted')


def fact(page: Page, title: str) -> str:
    """Return the value of one fact of the pane Trust; empty: there is none."""
    return str(page.run(f'{_FACT} return one ? one.querySelector("b").textContent : "";', title))


def is_warning(page: Page, title: str) -> bool:
    """Return whether a fact is marked."""
    return bool(page.run(f'{_FACT} return one.classList.contains("warning");', title))


_FACT = ('const one = [...document.querySelectorAll(".fact")].find('
         '(each) => each.querySelector("small").textContent === arguments[0]);')


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
