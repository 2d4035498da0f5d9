# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Scenarios that run at once, each a test of its own.

What takes long with a node is waiting for the pauses of the protocol. A module has its scenarios
in a dict by name, and

    outcomes = run_at_once(SCENARIOS, workers=4)

    @pytest.mark.parametrize('scenario', SCENARIOS)
    def test_that(scenario: str, outcomes: Outcomes) -> None:
        outcomes[scenario].result()

A scenario gets its name, as the namespace of its nodes.
"""
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

Scenario = Callable[[str], None]
Outcomes = Mapping[str, Future[None]]


def run_at_once(scenarios: Mapping[str, Scenario], workers: int) -> Any:
    """Return a fixture that runs those of the scenarios that are asked for."""

    @pytest.fixture(scope='module')
    def outcomes(request: pytest.FixtureRequest) -> Iterator[Outcomes]:
        wanted = [
            item.callspec.params['scenario'] for item in request.session.items
            if item.module is request.module and 'outcomes' in item.fixturenames]
        with ThreadPoolExecutor(workers) as pool:
            yield {name: pool.submit(scenarios[name], name) for name in wanted}

    return outcomes
