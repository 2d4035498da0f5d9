# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The page in a real browser: how late its pictures are, and what node and panel pay for them."""
from collections.abc import Iterator
import os
from pathlib import Path
import socket
import tempfile
import time

from browser import browser, Page
import numpy as np

from .effort import Effort
from .processes import Process
from .report import Row
from .session import run, Session, Setting, Times, WARM_UP, Window

LATENCY_MS = 100.0  # of 99 % of the pictures, at 30 frames/s
NODE_SHARE, PANEL_SHARE = 0.03, 0.15  # of a core
ENTRY_POINT = 'from miniscope_ros.commands.panel import main; main()'


def page(effort: Effort) -> Iterator[Row]:
    """Figure 9: from the end of a frame to the pixels on the page."""
    with tempfile.TemporaryDirectory() as folder, run(Setting('node', ())) as session:
        alone = session.watch(effort.cost)
        port = _free_port()
        environment = {**os.environ, 'XDG_DATA_HOME': folder}
        panel = Process(
            ['-c', ENTRY_POINT, '--port', str(port)], Path(folder) / 'panel.log', environment)
        with panel:
            panel.wait_for('Panel: ')
            with browser(f'http://127.0.0.1:{port}/') as shown:
                window, panel_share, times = _watch(session, panel, shown, effort.latency)
        notes = session.end()
    late_ms = notes.with_page(times).latencies_ms('page', window)
    yield from _rows(late_ms, alone, window, panel_share)


def _watch(session: Session, panel: Process, shown: Page, seconds: float,
           ) -> tuple[Window, float, Times]:
    """Return the window, the panel's share of a core in it, and (stamp, shown) of pictures."""
    shown.wait(lambda: shown.run(
        'const one = document.querySelector(".curtain"); return one && one.hidden'), 'it is live')
    time.sleep(WARM_UP)
    begun, panel_ns = session.begin(), panel.cpu_ns
    time.sleep(seconds)
    window = session.window(begun)
    share = (panel.cpu_ns - panel_ns) / (window.end_ns - window.start_ns)
    milliseconds = shown.run('return window.panelTimes.map(([, stamp, shown]) => [stamp, shown])')
    return window, share, (np.array(milliseconds) * 1e6).astype(np.int64)


def _rows(late_ms: np.ndarray, alone: Window, window: Window, panel_share: float) -> Iterator[Row]:
    middle, most = np.percentile(late_ms, [50, 99])
    seconds = (window.end_ns - window.start_ns) / 1e9
    yield Row(9, 'frame complete to pixels on the page, median / 99 %',
              f'{middle:.0f} / {most:.0f} ms', '', f'99 % <= {LATENCY_MS:g} ms',
              bool(most <= LATENCY_MS), {'ms': late_ms.tolist()})
    yield Row(9, 'pictures shown on the page', f'{len(late_ms) / seconds:.1f} /s')
    node_share = window.share - alone.share
    yield Row(9, 'CPU of the node because of the page', f'{node_share:.1%} of a core', '',
              f'<= {NODE_SHARE:.0%}', node_share <= NODE_SHARE,
              {'with': window.share, 'without': alone.share})
    yield Row(9, 'CPU of the panel', f'{panel_share:.1%} of a core', '', f'<= {PANEL_SHARE:.0%}',
              panel_share <= PANEL_SHARE, {'share': panel_share})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])
