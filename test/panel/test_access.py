# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Nobody else's website lights an LED, and nothing that is sent brings the panel down."""
import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
import json
from pathlib import Path
import socket
from typing import Any

import aiohttp
from node_process import PATIENCE
from panel_process import Panel, panel
import pytest

FLOOD = 1000
LARGE = 10_000_000  # bytes


@pytest.fixture(scope='module')
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    with panel(tmp_path_factory.mktemp('panel')) as running:
        yield running


@pytest.fixture(scope='module')
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    """Return a panel that serves others, too: on loopback, which is all that a test has."""
    with panel(tmp_path_factory.mktemp('guarded'), '--host', '127.0.0.1') as running:
        yield running


def base(where: Panel) -> str:
    return f'http://127.0.0.1:{where.port}'


def run(job: Callable[[aiohttp.ClientSession], Awaitable[Any]]) -> Any:
    """Return what a job returns that is given a client."""
    async def within() -> Any:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
            return await asyncio.wait_for(job(client), PATIENCE)

    return asyncio.run(within())


def status(where: Panel, path: str, headers: Mapping[str, str], method: str = 'GET') -> int:
    """Return the status of an answer."""
    async def ask(client: aiohttp.ClientSession) -> int:
        async with client.request(
                method, base(where) + path, headers=headers, allow_redirects=False) as answer:
            return answer.status

    return int(run(ask))


def socket_status(where: Panel, headers: Mapping[str, str]) -> int:
    """Return the status with which a page's connection is answered; 101: it was taken."""
    async def ask(client: aiohttp.ClientSession) -> int:
        try:
            async with client.ws_connect(f'{base(where)}/socket', headers=headers):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status

    return int(run(ask))


def own(where: Panel) -> dict[str, str]:
    """Return the headers of the panel's own page."""
    return {'Origin': base(where)}


async def say(where: Panel, client: aiohttp.ClientSession, *messages: str | bytes) -> list[Any]:
    """Return the answers to messages of a page, and whether it is still connected at last."""
    answers = []
    async with client.ws_connect(f'{base(where)}/socket', headers=own(where)) as page:
        for message in messages:
            send = page.send_bytes if isinstance(message, bytes) else page.send_str
            try:
                await send(message)
            except (ConnectionError, aiohttp.ClientError):
                return [*answers, aiohttp.WSMsgType.CLOSED]
            while True:
                heard = await page.receive()
                if heard.type is not aiohttp.WSMsgType.TEXT:
                    return [*answers, heard.type]
                if (answer := json.loads(heard.data))['type'] == 'answer':
                    answers.append(answer)
                    break
    return answers


def test_own_page_is_served(served: Panel) -> None:
    for path in ('/', '/main.js', '/style.css'):
        assert status(served, path, {}) == 200
    assert status(served, '/', {'Host': f'localhost:{served.port}'}) == 200
    assert socket_status(served, own(served)) == 101


def test_only_files_of_the_page_are_served(served: Panel) -> None:
    for path in ('/../server.py', '/%2e%2e/server.py', '/page/main.js', '/main.py', '/socket'):
        assert status(served, path, {}) in (400, 404), path


@pytest.mark.parametrize('origin', [
    'http://evil.example', 'http://127.0.0.1:1', 'http://localhost:8642', 'null', '',
    'http://[', 'https://127.0.0.1.evil.example'])
def test_foreign_origin_is_refused(served: Panel, origin: str) -> None:
    assert socket_status(served, {'Origin': origin}) == 403
    assert status(served, '/', {'Origin': origin}) == 403


def test_socket_without_origin_is_refused(served: Panel) -> None:
    assert socket_status(served, {}) == 403
    assert status(served, '/', {}, 'POST') == 403


@pytest.mark.parametrize('host', [
    'evil.example', 'evil.example:{port}', '127.0.0.1.evil.example:{port}', '192.0.2.1:{port}',
    '[', ''])
def test_rebound_name_is_refused(served: Panel, host: str) -> None:
    # As a browser sends it whose evil.example resolves to this computer: Origin fits Host.
    host = host.format(port=served.port)
    assert status(served, '/', {'Host': host}) in (400, 403)
    assert socket_status(served, {'Host': host, 'Origin': f'http://{host}'}) in (400, 403)


def test_embedding_site_is_refused(served: Panel) -> None:
    assert status(served, '/main.js', {'Sec-Fetch-Site': 'cross-site',
                                       'Sec-Fetch-Mode': 'no-cors'}) == 403

    async def ask(client: aiohttp.ClientSession) -> Any:
        async with client.get(base(served)) as answer:
            return dict(answer.headers)

    headers = run(ask)
    assert "frame-ancestors 'none'" in headers['Content-Security-Policy']
    assert headers['Cross-Origin-Resource-Policy'] == 'same-origin'


def test_serves_this_computer_alone(served: Panel) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(('192.0.2.1', 9))  # sends nothing; tells the address of this computer
        address = probe.getsockname()[0]
    if address.startswith('127.'):
        pytest.skip('this computer has no other address')
    with pytest.raises(OSError), socket.create_connection((address, served.port), 5):
        pass


def test_without_token_nothing_is_served(guarded: Panel) -> None:
    assert len(guarded.token) >= 20
    for path in ('/', '/main.js', '/?token=', '/?token=wrong', '/?token=\u00e4'):
        assert status(guarded, path, {}) == 401, path
    assert socket_status(guarded, own(guarded)) == 401
    assert socket_status(guarded, {**own(guarded), 'Cookie': 'miniscope_panel=wrong'}) == 401


def test_token_opens_the_page_and_leaves_the_address(guarded: Panel) -> None:
    async def ask(client: aiohttp.ClientSession) -> None:
        async with client.get(f'{base(guarded)}/?token={guarded.token}') as answer:
            assert answer.status == 200 and 'token' not in str(answer.url)
            cookie = answer.history[0].headers['Set-Cookie']
            assert 'HttpOnly' in cookie and 'SameSite=Strict' in cookie
        async with client.ws_connect(f'{base(guarded)}/socket', headers=own(guarded)):
            pass

    run(ask)


def test_token_does_not_excuse_a_foreign_origin(guarded: Panel) -> None:
    cookie = {'Cookie': f'miniscope_panel={guarded.token}'}
    assert socket_status(guarded, {**own(guarded), **cookie}) == 101
    assert socket_status(guarded, {'Origin': 'http://evil.example', **cookie}) == 403
    host = f'evil.example:{guarded.port}'
    assert socket_status(
        guarded, {'Host': host, 'Origin': f'http://{host}', **cookie}) == 403


def test_thousand_connections_do_not_lock_the_page_out(served: Panel) -> None:
    with ExitStack() as stack:
        for _ in range(FLOOD):
            stack.enter_context(socket.create_connection(('127.0.0.1', served.port), PATIENCE))
        assert status(served, '/', {}) == 200
        assert run(lambda client: say(served, client, '{"type": "lightsOut", "id": 1}'))[0]['id']


def test_page_survives_a_flood_of_connections(served: Panel) -> None:
    async def ask(client: aiohttp.ClientSession) -> dict[str, Any]:
        async with client.ws_connect(f'{base(served)}/socket', headers=own(served)) as page:
            with ExitStack() as stack:
                for _ in range(FLOOD):
                    stack.enter_context(
                        socket.create_connection(('127.0.0.1', served.port), PATIENCE))
                    await asyncio.sleep(0)
                await page.send_str('{"type": "lightsOut", "id": 7}')
                while (answer := await page.receive_json()).get('id') != 7:
                    continue
                return dict(answer)

    assert run(ask)['type'] == 'answer'


def test_more_pages_than_allowed_are_told_so(served: Panel) -> None:
    async def ask(client: aiohttp.ClientSession) -> int:
        pages = []
        try:
            while len(pages) < FLOOD:
                pages.append(
                    await client.ws_connect(f'{base(served)}/socket', headers=own(served)))
        except aiohttp.WSServerHandshakeError as error:
            return error.status
        finally:
            for page in pages:
                await page.close()
        return 101

    assert run(ask) == 503
    assert status(served, '/', {}) == 200


@pytest.mark.parametrize('message', ['x' * LARGE, b'x' * LARGE], ids=['text', 'bytes'])
def test_large_message_ends_its_own_connection_only(
        served: Panel, message: str | bytes) -> None:
    [ended] = run(lambda client: say(served, client, message))
    assert ended in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    assert socket_status(served, own(served)) == 101


MALFORMED: list[str | bytes] = [
    '', '{', '[]', '1', 'null', '"text"', '{}', '{"type": 1}', '{"type": "nonsense"}',
    '{"type": "set"}', '{"type": "set", "scope": 1, "name": [], "value": {}}',
    '{"type": "set", "scope": "/nobody", "name": "led", "value": 1e999}',
    '{"type": "watch", "scopes": "all"}', '{"type": "watch", "scopes": [1]}',
    '{"type": "trigger", "scope": "/nobody", "service": "rm"}',
    '{"type": "transition", "scope": "/nobody", "transition": 4}',
    '{"type": "recordStart", "form": {"a": 1}}', '{"type": "recordStart", "minutes": -1}',
    '{"type": "shown", "scope": null}', '{"type": "note", "text": "a\\u0000b", "id": true}',
    '[' * 50_000, b'\xff\xfe', b'{}']


@pytest.mark.parametrize('message', MALFORMED, ids=[repr(one)[:40] for one in MALFORMED])
def test_malformed_message_is_answered_with_why(served: Panel, message: str | bytes) -> None:
    first, second = run(lambda client: say(
        served, client, message, '{"type": "lightsOut", "id": 3}'))
    assert not first['ok'] and first['text']
    assert second['id'] == 3, 'the connection goes on'


def test_too_many_malformed_messages_end_the_connection(served: Panel) -> None:
    answers = run(lambda client: say(served, client, *(['{'] * 100)))
    assert len(answers) < 100 and answers[-1] is not None and not isinstance(answers[-1], dict)
    assert status(served, '/', {}) == 200


@pytest.mark.parametrize('request_bytes', [
    b'\x00' * 1000, b'GET / HTTP/9.9\r\n\r\n', b'GET ' + b'a' * 100_000 + b' HTTP/1.1\r\n\r\n',
    b'POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\nx'],
    ids=['zeros', 'version', 'long', 'length'])
def test_malformed_request_is_survived(served: Panel, request_bytes: bytes) -> None:
    with socket.create_connection(('127.0.0.1', served.port), PATIENCE) as connection:
        connection.sendall(request_bytes)
        assert connection.recv(100)[:9] in (b'HTTP/1.1 ', b'HTTP/1.0 ', b'')
    assert status(served, '/', {}) == 200


def test_form_is_kept_from_run_to_run(tmp_path: Path) -> None:
    form = '{"type": "keepForm", "id": 1, "form": {"animal": "M7", "own field": "\u00e4"}}'
    with panel(tmp_path) as first:
        assert run(lambda client: say(first, client, form))[0]['ok']

    async def read(where: Panel, client: aiohttp.ClientSession) -> dict[str, str]:
        async with client.ws_connect(f'{base(where)}/socket', headers=own(where)) as page:
            while (message := await page.receive_json())['type'] != 'recording':
                continue
            return dict(message['form'])

    with panel(tmp_path) as second:
        fields = run(lambda client: read(second, client))
    assert fields['animal'] == 'M7' and fields['own field'] == '\u00e4'
