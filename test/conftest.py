# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What each test process needs: virtual DAQ boxes and a DDS domain of its own."""
from collections.abc import Iterator, Sequence
import contextlib
import itertools
import os
from pathlib import Path
import signal
from typing import Any

from box_client import Client, Connect, FAST, MakeRig
from domain_coordinator import domain_id
from hypothesis import settings
import pytest
import shared_memory
from virtual_daq import BoxConfig, is_preloaded, reexec_preloaded, VirtualDaq

# How long an example takes says how busy this computer is.
settings.register_profile('untimed', deadline=None)
settings.load_profile('untimed')

_domain = contextlib.ExitStack()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--soak', action='store_true', help='run the tests that take minutes, too')


def pytest_configure(config: pytest.Config) -> None:
    """Give this run its virtual DAQ boxes, and keep it apart from every other on this network."""
    reexec_preloaded(config)
    if not is_preloaded():
        # Most of what these tests are for would not be tested.
        raise pytest.UsageError(
            'the virtual DAQ box cannot be built without a C compiler: apt install gcc')
    # A shell that starts the tests in the background has them ignore Ctrl-C, and so all that they
    # start, `ros2 launch` for one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Starts at a number of its own, lest it meet what the last run left behind.
    numbers = itertools.count(os.getpid())
    domain = _domain.enter_context(domain_id(lambda: next(numbers) % 100 + 1))
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    if os.environ.get('ROS_DISTRO') == 'humble':
        os.environ['ROS_LOCALHOST_ONLY'] = '1'  # the others know it, too, but complain


def pytest_unconfigure(config: pytest.Config) -> None:
    shared_memory.remove_noted(at_end=True)
    _domain.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption('--soak'):
        for item in items:
            if 'soak' in item.keywords:
                item.add_marker(pytest.mark.skip(reason='takes minutes; run with --soak'))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run without a test, which `colcon test` would call a success."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[MakeRig]:
    """Return a function that plugs boxes in for this process, without a list a fast one."""
    rigs: list[VirtualDaq] = []

    def make(boxes: Sequence[BoxConfig] | None = None, **config: Any) -> VirtualDaq:
        rig = VirtualDaq(
            tmp_path, [BoxConfig(**{'rate': FAST, **config})] if boxes is None else boxes)
        rig.__enter__()
        rigs.append(rig)
        return rig

    yield make
    for rig in reversed(rigs):
        rig.__exit__()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return a function that opens a rig's box."""
    clients: list[Client] = []

    def make(rig: VirtualDaq, index: int = 0, flags: int = os.O_NONBLOCK) -> Client:
        clients.append(Client(rig.boxes[index].path, flags))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
