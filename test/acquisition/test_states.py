# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The states of a capture engine, and what is said while it waits."""
from miniscope_ros.acquisition import states as module
from miniscope_ros.acquisition.reconnect import Reconnector
from miniscope_ros.acquisition.states import CaptureState, CaptureStates, TRANSITIONS
import pytest


def test_every_state_has_its_transitions_and_stands_in_the_diagram() -> None:
    assert set(TRANSITIONS) == set(CaptureState)
    for state, following in TRANSITIONS.items():
        assert state not in following
        assert state.name in (module.__doc__ or '')
        assert CaptureState.CLOSED in following or state is CaptureState.CLOSED
    assert {state for following in TRANSITIONS.values() for state in following} == set(
        CaptureState)


def test_only_what_the_table_allows_is_entered() -> None:
    for before in CaptureState:
        for after in CaptureState:
            states = CaptureStates()
            states.state = before
            if after in TRANSITIONS[before] or after is before:
                states.enter(after, 'why')
                assert (states.state, states.reason) == (after, 'why')
            else:
                with pytest.raises(RuntimeError, match=f'{after} may not follow {before}'):
                    states.enter(after)
                assert states.state is before


def test_states_are_shown_in_a_word() -> None:
    assert str(CaptureState.ACTIVE) == f'{CaptureState.ACTIVE}' == 'active'
    assert CaptureState.ACTIVE == 'active'


@pytest.mark.parametrize(('before', 'after', 'news'), [
    ('no frame for 1.0 s: frozen', 'no frame for 1.3 s: frozen', False),
    ('no whole frame for 12 s', 'no whole frame for 9.5 s', False),
    ('no DAQ box at USB port 1-1', 'no DAQ box at USB port 1-2', True),
    ('no frame for 1.0 s: frozen', 'no permission', True),
    ('no permission', 'no permission', False)])
def test_durations_are_no_news(before: str, after: str, news: bool) -> None:
    reconnector = Reconnector()
    reconnector.begin('lost')
    assert reconnector.is_news(before)
    assert reconnector.is_news(after) is news
