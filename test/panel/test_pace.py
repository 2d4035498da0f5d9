# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Pictures come at the pace of the one who looks, and are never old."""
import asyncio
import json
from pathlib import Path
import struct
from typing import Any

import aiohttp
from listening import Listener, stamp_ns
from node_process import PATIENCE, scope_node
from panel_process import panel
from slowness import slowness

WAITED = 20  # frames that a slow page lets pass
PERIOD_MS = 1000 / 30


async def next_picture(page: Any) -> dict[str, Any]:
    """Return the header of the next picture."""
    while True:
        message = await page.receive()
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        if message.type is aiohttp.WSMsgType.BINARY:
            [length] = struct.unpack_from('<I', message.data)
            header = json.loads(message.data[4:4 + length])
            assert message.data[4 + length:][:2] == b'\xff\xd8'
            return dict(header)


async def watch(page: Any, scope: str) -> None:
    """Look at a scope, as soon as the panel has found it."""
    while True:
        message = await page.receive_json()
        if message['type'] == 'scopes' and scope in message['names']:
            await page.send_json({'type': 'watch', 'scopes': [scope]})
            return


def test_slow_page_gets_fewer_pictures_and_the_newest(tmp_path: Path) -> None:
    async def look(address: str, ear: Listener) -> None:
        infos = ear.listen('frame_info')
        async with aiohttp.ClientSession() as client, client.ws_connect(
                f'{address}socket', headers={'Origin': address.rstrip('/')}) as page:
            await watch(page, '/miniscope')
            first = await next_picture(page)
            # It is shown at last when so many frames have passed: none of them was sent.
            seen = len(infos)
            await asyncio.get_running_loop().run_in_executor(
                None, ear.wait_for, infos, seen + WAITED)
            newest_ms = stamp_ns(infos[-1]) / 1e6
            await page.send_json({'type': 'shown', 'scope': '/miniscope'})
            second = await next_picture(page)
            assert second['number'] > first['number']
            # The panel may have heard of the newest frame later than we, on a busy computer.
            assert second['stampMs'] >= newest_ms - WAITED / 2 * PERIOD_MS * slowness()

    with scope_node({'source': 'simulated'}), Listener() as ear, panel(tmp_path) as served:
        asyncio.run(asyncio.wait_for(look(served.address, ear), PATIENCE))
