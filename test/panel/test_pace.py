# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Pictures come at the pace of the one who looks, and are never old."""
import asyncio
import json
from pathlib import Path
import struct
from typing import Any

import aiohttp
from node_process import PATIENCE, scope_node
from panel_process import panel

WAITED = 20  # pictures that a slow page lets pass


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


async def let_pass(page: Any, scope: str, number: int) -> int:
    """Show every picture at once until the panel has so many; return the newest one's number."""
    while True:
        await page.send_json({'type': 'shown', 'scope': scope})
        newest = int((await next_picture(page))['number'])
        if newest >= number:
            return newest


async def watch(page: Any, scope: str) -> None:
    """Look at a scope, as soon as the panel has found it."""
    while True:
        message = await page.receive_json()
        if message['type'] == 'scopes' and scope in message['names']:
            await page.send_json({'type': 'watch', 'scopes': [scope]})
            return


def test_slow_page_gets_fewer_pictures_and_the_newest(tmp_path: Path) -> None:
    async def look(address: str) -> None:
        origin = {'Origin': address.rstrip('/')}
        async with (aiohttp.ClientSession() as client,
                    client.ws_connect(f'{address}socket', headers=origin) as slow,
                    client.ws_connect(f'{address}socket', headers=origin) as quick):
            await watch(slow, '/miniscope')
            first = await next_picture(slow)
            # It is shown at last when the panel has so many more, as another page tells.
            await watch(quick, '/miniscope')
            await next_picture(quick)
            newest = await let_pass(quick, '/miniscope', first['number'] + WAITED)
            await slow.send_json({'type': 'shown', 'scope': '/miniscope'})
            second = await next_picture(slow)
            assert second['number'] >= newest, 'none of those between was sent, and none is old'

    with scope_node({'source': 'simulated'}), panel(tmp_path) as served:
        asyncio.run(asyncio.wait_for(look(served.address), PATIENCE))
