# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What each test process needs: virtual DAQ boxes and a DDS domain of its own."""
import contextlib
import itertools
import os

from domain_coordinator import domain_id
import pytest
from virtual_daq import reexec_preloaded

_domain = contextlib.ExitStack()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--soak', action='store_true', help='run the tests that take minutes, too')


def pytest_configure(config: pytest.Config) -> None:
    """Give this run its virtual DAQ boxes, and keep it apart from every other on this network."""
    reexec_preloaded(config)
    # Starts at a number of its own, lest it meet what the last run left behind.
    numbers = itertools.count(os.getpid())
    domain = _domain.enter_context(domain_id(lambda: next(numbers) % 100 + 1))
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    if os.environ.get('ROS_DISTRO') == 'humble':
        os.environ['ROS_LOCALHOST_ONLY'] = '1'  # the others know it, too, but complain


def pytest_unconfigure(config: pytest.Config) -> None:
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
